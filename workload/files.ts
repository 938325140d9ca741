import { readFile, readlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { messageOf } from '../spiffe/errors.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';

/** The calls to the file system, which a test may delay. */
export interface FileSystem {
  readonly readFile: (path: string) => Promise<Buffer>;
  readonly readlink: (path: string) => Promise<string>;
}

const fileSystem: FileSystem = { readFile: (path) => readFile(path), readlink: (path) => readlink(path) };

/** Longest file that is read, in bytes: that of the longest trust bundle. */
const maxBytes = 4 * 1024 * 1024;

/**
 * Reads files of a folder as they were at one moment. kubelet writes a volume into a new folder, swaps the symbolic link
 * `..data` to it, and then removes the old folder. So all files are read through one value of the link, and again when
 * that folder was removed meanwhile. In other folders, without `..data`, each file is read by itself. Never throws.
 *
 * @param names relative to the folder, or absolute.
 */
export async function readFiles(
  folder: string,
  names: readonly string[],
  files: FileSystem = fileSystem,
): Promise<Result<string>[]> {
  const data = join(folder, '..data');
  const target = () => files.readlink(data).catch(() => undefined);
  let before = await target();
  for (;;) {
    const from = before === undefined ? folder : resolve(folder, before);
    const read = await Promise.all(names.map((name) => readOne(resolve(from, name), name, files)));
    if (read.every(({ ok }) => ok)) return read;
    const after = await target();
    if (after === before) return read;
    before = after;
  }
}

async function readOne(path: string, name: string, files: FileSystem): Promise<Result<string>> {
  try {
    const bytes = await files.readFile(path);
    if (bytes.length > maxBytes) return failure(`${name} is longer than ${maxBytes} bytes`);
    return success(bytes.toString('utf8'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return failure(`${name} cannot be read (${code ?? messageOf(error)})`);
  }
}
