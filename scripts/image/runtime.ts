import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DebianPackage, databaseEntries, debianPackagesOf } from './debian.ts';
import type { Entry } from './tar.ts';

const run = promisify(execFile);

/** The account that the image runs under where nobody chooses another. */
export const account = { name: 'nonroot', id: 65532 };

/** Where the parts of a runtime are on this machine. */
export interface RuntimeParts {
  /** Folder of the npm package with Node. */
  readonly node: string;
  /** The shared libraries and the dynamic loader: the path in the image, without the leading slash, and the file here. */
  readonly libraries: readonly { readonly path: string; readonly file: string }[];
  /** The owners of the libraries. */
  readonly packages: readonly DebianPackage[];
}

/**
 * The parts on this machine, for its own architecture.
 *
 * @param node folder of the npm package with Node
 */
export async function nativeRuntime(node: string): Promise<RuntimeParts> {
  const paths = await librariesOf(join(node, 'bin/node'));
  return {
    node,
    // At the same paths as here, since that is where this machine's dynamic loader looks.
    libraries: paths.map((path) => ({ path: path.slice(1), file: path })),
    packages: await debianPackagesOf(paths),
  };
}

/**
 * Node, the shared libraries that it is linked with, what scanners know the libraries by, and the two files that give
 * our account its name. Nothing else: no shell, no package manager, nothing to run but Node.
 *
 * Node may be executed and not be read. Linux gives such a process no core dump, and keeps its memory from other
 * processes of the same account: both would show keys (proc(5), PR_SET_DUMPABLE).
 */
export async function runtimeEntries({ node, libraries, packages }: RuntimeParts): Promise<Entry[]> {
  const { name, id } = account;
  const text = (path: string, content: string): Entry => ({
    path,
    mode: 0o644,
    content: Buffer.from(content),
  });
  return [
    { path: 'usr/local/bin/node', mode: 0o711, content: await readFile(join(node, 'bin/node')) },
    ...(await Promise.all(
      libraries.map(async ({ path, file }) => ({ path, mode: 0o755, content: await readFile(file) })),
    )),
    text('etc/passwd', `root:x:0:0:root:/:/sbin/nologin\n${name}:x:${id}:${id}:${name}:/:/sbin/nologin\n`),
    text('etc/group', `root:x:0:\n${name}:x:${id}:\n`),
    { path: 'tmp', mode: 0o1777, folder: true },
    ...(await databaseEntries(packages)),
  ];
}

/** Absolute paths of the libraries and of the dynamic loader, as ldd finds them. */
async function librariesOf(binary: string): Promise<string[]> {
  const { stdout } = await run('ldd', [binary]);
  const missing = /^\s*(\S+) => not found/m.exec(stdout);
  if (missing) throw new Error(`${binary} needs ${missing[1]}, which is not on this machine`);
  const paths = [...stdout.matchAll(/^\s*(?:\S+ => )?(\/\S+) \(0x/gm)].flatMap(([, path]) => path ?? []);
  if (!paths.some((path) => path.includes('/ld-')))
    throw new Error(`ldd found no dynamic loader for ${binary}`);
  return [...new Set(paths)];
}
