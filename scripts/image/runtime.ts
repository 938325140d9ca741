import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { type DebianPackage, databaseEntries, debianPackagesOf } from './debian.ts';
import type { Entry } from './tar.ts';

const run = promisify(execFile);

/** The account that the image runs under where nobody chooses another. */
export const account = { name: 'nonroot', id: 65532 };

export interface Runtime {
  readonly entries: readonly Entry[];
  /** The owners of the libraries. */
  readonly packages: readonly DebianPackage[];
}

/**
 * Node, the shared libraries that it is linked with, what scanners know the libraries by, and the two files that give
 * our account its name. Nothing else: no shell, no package manager, nothing to run but Node.
 *
 * Node may be executed and not be read. Linux gives such a process no core dump, and keeps its memory from other
 * processes of the same account: both would show keys (proc(5), PR_SET_DUMPABLE).
 *
 * @param node the binary, dynamically linked against this machine's C library
 */
export async function collectRuntime(node: string): Promise<Runtime> {
  const libraries = await librariesOf(node);
  const packages = await debianPackagesOf(libraries);
  const { name, id } = account;
  const text = (path: string, content: string): Entry => ({
    path,
    mode: 0o644,
    content: Buffer.from(content),
  });
  const entries: Entry[] = [
    { path: 'usr/local/bin/node', mode: 0o711, content: await readFile(node) },
    // At the same paths as here, since that is where this machine's dynamic loader looks.
    ...(await Promise.all(
      libraries.map(async (path) => ({ path: path.slice(1), mode: 0o755, content: await readFile(path) })),
    )),
    text('etc/passwd', `root:x:0:0:root:/:/sbin/nologin\n${name}:x:${id}:${id}:${name}:/:/sbin/nologin\n`),
    text('etc/group', `root:x:0:\n${name}:x:${id}:\n`),
    { path: 'tmp', mode: 0o1777, folder: true },
    ...(await databaseEntries(packages)),
  ];
  return { entries, packages };
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
