import { readdir, readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join, relative } from 'node:path';
import { buildPage } from '../../tools/ui/page-files.ts';
import type { LockedPackage } from './sbom.ts';
import type { Entry } from './tar.ts';

/** Source folders that run in the image. */
const sourceFolders = ['signer', 'tools', 'workload', 'dev', 'client', 'spiffe'];

/** Files of a package that Node can load, and its licence. Types, maps, sources and documents stay outside. */
const isWanted = (path: string): boolean =>
  /(\.(js|cjs|mjs|json|node|wasm)|(^|\/)(licen[cs]e|notice)[^/]*)$/i.test(path);

/** Parts of packages that nothing of ours loads. */
const unused: readonly { readonly path: RegExp; readonly reason: string }[] = [
  {
    path: /^node_modules\/@kubernetes\/client-node\/dist\/gen\/(apis|models|types)\//,
    reason: 'the generated API models: signer/kube/client-node.ts loads the KubeConfig without them',
  },
  {
    path: /^node_modules\/preact\/(?!LICENSE|package\.json)/,
    reason: 'what the web view uses of it is in its app.js',
  },
  {
    path: /^node_modules\/@opentelemetry\/(.*\.cjs$|semantic-conventions\/dist\/(experimental|index-incubating))/,
    reason: 'they are imported as ES modules, and use the stable names only',
  },
  {
    path: /\/(test|tests|docs|examples|benchmarks?|\.github)\//,
    reason: 'packages that ship their own tests',
  },
];

export interface Application {
  readonly entries: readonly Entry[];
  /** The npm packages in it. */
  readonly packages: readonly LockedPackage[];
}

/**
 * Packages that nothing loads, by the folder of the package that names them. signer/kube/client-node.ts loads the
 * KubeConfig of client-node without them; the command line of proto-loader and types are not used.
 */
const notLoaded: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  [
    'node_modules/@kubernetes/client-node',
    new Set([
      'form-data',
      'hpagent',
      'isomorphic-ws',
      'jsonpath-plus',
      'socks',
      'socks-proxy-agent',
      'stream-buffers',
      'tar-fs',
      'undici',
      'ws',
    ]),
  ],
  ['node_modules/@grpc/proto-loader', new Set(['yargs'])],
  ['node_modules/@opentelemetry/otlp-transformer', new Set(['@opentelemetry/sdk-logs'])],
  ['node_modules/protobufjs', new Set(['@types/node'])],
  // Node has modules of these names, or what they make.
  ['node_modules/readable-stream', new Set(['abort-controller', 'buffer', 'events'])],
]);

/**
 * Our code and the production dependencies below `app/`. TypeScript is stripped of its types once, here: Node would
 * do it at every start, at a cost of 38 MB of resident memory. Lines and columns stay where they were.
 *
 * @param root the checkout, with its dependencies installed
 */
export async function collectApplication(root: string): Promise<Application> {
  const entries: Entry[] = [await manifest(root), command];
  for (const folder of sourceFolders) {
    for (const path of await filesBelow(root, folder)) {
      if (path.startsWith(`${page}/`)) continue;
      if (path.endsWith('.ts') && !path.endsWith('.d.ts')) entries.push(await stripped(root, path));
      else if (path.startsWith('tools/completion/') || path.endsWith('.proto'))
        entries.push(await plainFile(root, path));
    }
  }
  entries.push(...(await pageEntries(root)));
  const packages = await productionPackages(root);
  for (const { folder } of packages) {
    for (const path of await filesBelow(root, folder)) {
      if (isWanted(path) && !unused.some((one) => one.path.test(path)))
        entries.push(await plainFile(root, path));
    }
  }
  return { entries, packages };
}

/** The web view, built. */
const page = 'tools/ui/page';

async function pageEntries(root: string): Promise<Entry[]> {
  const built = [...(await buildPage())].map(([name, content]) => ({
    ...{ path: `app/${page}/${name}`, mode: 0o644, content },
  }));
  const plain = ['index.html', 'icon.svg'].map((name) => plainFile(root, `${page}/${name}`));
  return [...built, ...(await Promise.all(plain))];
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

interface LockEntry {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** The packages that our code needs in production, and those that these need, without packages that are never loaded. */
async function productionPackages(root: string): Promise<(LockedPackage & { folder: string })[]> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry>;
  };
  const found = new Map<string, LockEntry>();
  const open = [''];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    for (const name of Object.keys(packages[folder]?.dependencies ?? {})) {
      if (notLoaded.get(folder)?.has(name) || name.startsWith('@types/')) continue;
      const place = placeOf(name, folder, packages);
      if (found.has(place)) continue;
      found.set(place, packages[place] as LockEntry);
      open.push(place);
    }
  }
  return [...found].sort().map(([folder, { version, integrity = '', license = '' }]) => ({
    folder,
    name: folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length),
    version,
    integrity,
    license,
  }));
}

/** Where Node finds a package when one in this folder asks for it. */
function placeOf(name: string, from: string, packages: Readonly<Record<string, unknown>>): string {
  for (let folder = from; ; folder = folder.slice(0, Math.max(folder.lastIndexOf('/node_modules/'), 0))) {
    const place = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (place in packages) return place;
    if (folder === '') throw new Error(`package-lock.json has no ${name}, which ${from} needs`);
  }
}

/** Paths relative to the root; of a package without the packages nested in it, which have entries of their own. */
async function filesBelow(root: string, folder: string): Promise<string[]> {
  const found = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.slice(folder.length).includes('/node_modules/'));
}

async function plainFile(root: string, path: string): Promise<Entry & { readonly content: Buffer }> {
  return { path: `app/${path}`, mode: 0o644, content: await readFile(join(root, path)) };
}

/** package.json with the exports of the library, by which programs below /app import `kubespiffe/…`. */
async function manifest(root: string): Promise<Entry> {
  const { path, mode, content } = await plainFile(root, 'package.json');
  return { path, mode, content: Buffer.from(content.toString().replaceAll('*.ts"', '*.js"')) };
}

async function stripped(root: string, path: string): Promise<Entry> {
  const source = await readFile(join(root, path), 'utf8');
  const code = stripTypeScriptTypes(source).replace(/(?<=['"]\.{1,2}\/[^'"\n]*)\.ts(?=['"])/g, '.js');
  return { path: `app/${path.replace(/\.ts$/, '.js')}`, mode: 0o644, content: Buffer.from(code) };
}
