import { createRequire } from 'node:module';

/**
 * Loads a package of the folder key-backends, which is beside the program and not in its image by default.
 *
 * @throws where it is not installed, with what to do.
 */
export function loadPackage(name: string): unknown {
  const require = createRequire(new URL('../../key-backends/package.json', import.meta.url));
  try {
    return require(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(
      `the package ${name} is not installed: use an image with it (docs/guides/keys.md#what-the-image-needs)`,
    );
  }
}
