import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { CliError } from '../errors.ts';

/** A file of the web view. */
export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

const folder = join(import.meta.dirname, 'page');
const types: Readonly<Record<string, string>> = {
  ...{ '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' },
};

/**
 * The files of the web view by their path. The image has them built; in a checkout they are built now, which takes
 * less than a second.
 *
 * @throws CliError USAGE where they are neither built nor can be.
 */
export async function readPageFiles(): Promise<Map<string, PageFile>> {
  const built = await filesNamed('app.js', 'app.css').catch(buildPage);
  const all = [...built, ...(await filesNamed('index.html', 'icon.svg'))];
  return new Map(
    all.map(([name, body]) => {
      const type = `${types[extname(name)]}; charset=utf-8`;
      return [name === 'index.html' ? '/' : `/${name}`, { type, body }];
    }),
  );
}

async function filesNamed(...names: readonly string[]): Promise<Map<string, Buffer>> {
  const reads = names.map(async (name) => [name, await readFile(join(folder, name))] as const);
  return new Map(await Promise.all(reads));
}

/** Builds `app.js` and `app.css` from the sources beside this file. */
export async function buildPage(): Promise<Map<string, Buffer>> {
  const { build } = await import('esbuild').catch((error: unknown) => {
    const hint = 'run `make setup` (or `npm ci`) in the checkout';
    const what = 'the web view cannot be built: esbuild is not installed';
    throw new CliError('USAGE', what, hint, { cause: error });
  });
  const { outputFiles } = await build({
    entryPoints: { app: join(folder, 'main.tsx') },
    ...{ bundle: true, minify: true, write: false, format: 'esm', target: 'es2024', outdir: folder },
    ...{ jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none', logLevel: 'silent' },
  });
  return new Map(
    outputFiles.map(({ path, contents }) => [path.slice(folder.length + 1), Buffer.from(contents)]),
  );
}
