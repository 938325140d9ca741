import { readdir, readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join, relative } from 'node:path';
import type { Entry } from './tar.ts';

/** The rooms that run in the image. */
const rooms = ['signer', 'tools'];

/** Files of a package that Node can load, and its licence. Types, maps, sources and documents stay outside. */
const isWanted = (path: string): boolean =>
  /(\.(js|cjs|mjs|json|node|wasm)|(^|\/)(licen[cs]e|notice)[^/]*)$/i.test(path);

/** Parts of packages that nothing of ours loads. */
const unused: readonly { readonly path: RegExp; readonly reason: string }[] = [
  {
    path: /^node_modules\/@kubernetes\/client-node\/dist\/gen\/(apis|models|types)\//,
    reason: 'the generated API models: signer/kube/kubeconfig.ts loads the KubeConfig without them',
  },
  {
    path: /\/(test|tests|docs|examples|benchmarks?|\.github)\//,
    reason: 'packages that ship their own tests',
  },
];

/**
 * Our code and the production dependencies below `app/`. TypeScript is stripped of its types once, here: Node would
 * do it at every start, at a cost of 38 MB of resident memory. Lines and columns stay where they were.
 *
 * @param root the checkout, with its dependencies installed
 */
export async function applicationEntries(root: string): Promise<Entry[]> {
  const entries: Entry[] = [await plainFile(root, 'package.json'), command];
  for (const room of rooms) {
    for (const path of await filesBelow(root, room)) {
      if (path.endsWith('.ts') && !path.endsWith('.d.ts')) entries.push(await stripped(root, path));
    }
  }
  for (const folder of await productionPackages(root)) {
    for (const path of await filesBelow(root, folder)) {
      if (isWanted(path) && !unused.some((one) => one.path.test(path)))
        entries.push(await plainFile(root, path));
    }
  }
  return entries;
}

/**
 * `kubespiffe` on the PATH, for `kubectl exec`. There is no shell in the image, so Node runs it directly. The signer
 * itself is started by the entry point, with limits on its heap.
 */
const command: Entry = {
  path: 'usr/local/bin/kubespiffe',
  mode: 0o755,
  content: Buffer.from("#!/usr/local/bin/node\nimport '/app/tools/main.js';\n"),
};

/** Folders of the packages that the lock file needs in production: neither for development nor optional. */
async function productionPackages(root: string): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: true; optional?: true; devOptional?: true }>;
  };
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path !== '' && !entry.dev && !entry.optional && !entry.devOptional)
    .map(([path]) => path);
}

/** Paths relative to the root; of a package without the packages nested in it, which have entries of their own. */
async function filesBelow(root: string, folder: string): Promise<string[]> {
  const found = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.slice(folder.length).includes('/node_modules/'));
}

async function plainFile(root: string, path: string): Promise<Entry> {
  return { path: `app/${path}`, mode: 0o644, content: await readFile(join(root, path)) };
}

async function stripped(root: string, path: string): Promise<Entry> {
  const source = await readFile(join(root, path), 'utf8');
  const code = stripTypeScriptTypes(source).replace(/(?<=['"]\.{1,2}\/[^'"\n]*)\.ts(?=['"])/g, '.js');
  return { path: `app/${path.replace(/\.ts$/, '.js')}`, mode: 0o644, content: Buffer.from(code) };
}
