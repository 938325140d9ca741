import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../errors.ts';

/** A file of the web view. */
export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

const folder = join(import.meta.dirname, 'page');
const types = { 'app.js': 'text/javascript', 'app.css': 'text/css', 'icon.svg': 'image/svg+xml' } as const;

/**
 * The files of the web view by their path. The image has them built; in a checkout they are built now, which takes
 * less than a second.
 *
 * @throws CliError USAGE where they are neither built nor can be.
 */
export async function readPageFiles(): Promise<Map<string, PageFile>> {
  const built = await builtFiles().catch(() => buildPage());
  const index = await readFile(join(folder, 'index.html'));
  const icon = await readFile(join(folder, 'icon.svg'));
  const files = Object.entries(types).map(([name, type]) => {
    const body = name === 'icon.svg' ? icon : built.get(name);
    return [`/${name}`, { type: `${type}; charset=utf-8`, body: body ?? Buffer.from('') }] as const;
  });
  return new Map<string, PageFile>([['/', { type: 'text/html; charset=utf-8', body: index }], ...files]);
}

async function builtFiles(): Promise<Map<string, Buffer>> {
  const names = ['app.js', 'app.css'];
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
  );
}

/** Builds `app.js` and `app.css` from the sources beside this file. */
export async function buildPage(): Promise<Map<string, Buffer>> {
  const { build } = await import('esbuild').catch((error: unknown) => {
    const hint = 'run `make setup` (or `npm ci`) in the checkout';
    throw new CliError('USAGE', 'the web view cannot be built: esbuild is not installed', hint, {
      cause: error,
    });
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
