import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { KubespiffeError, messageOf } from '../spiffe/errors.ts';

/** A file to write. */
export interface FileToWrite {
  readonly name: string;
  /** Permission bits. */
  readonly mode: number;
  /** Undefined where it is not known: then the file stays as it is. */
  readonly content: string | Uint8Array | undefined;
}

/** What the folders with the files begin with. */
const prefix = '..kubespiffe-';
const permissions = 0o777;

/**
 * Replaces the files of a folder, all at one moment, as kubelet does in its volumes: they are written into a new folder
 * below it, and then the symbolic link `..data` is swapped to that. Each name is a link to `..data/name`. After a failure
 * the old files are all there. Nothing else writes into the folder.
 *
 * @param hint what to do where it cannot be written.
 * @returns whether something has changed. @throws KubespiffeError FILE_UNWRITABLE
 */
export async function writeFiles(
  folder: string,
  files: readonly FileToWrite[],
  hint?: string,
): Promise<boolean> {
  const data = join(folder, '..data');
  let fresh: string | undefined;
  try {
    await mkdir(folder, { recursive: true });
    const found = await Promise.all(files.map((file) => compare(join(data, file.name), file)));
    const isSame = found.every(({ hasChanged }) => !hasChanged);
    if (!isSame) {
      fresh = await mkdtemp(join(folder, prefix));
      // mkdtemp lets the owner in only. The mode of each file limits its readers.
      await chmod(fresh, 0o755);
      for (const { name, mode, bytes } of found) if (bytes) await writeOne(join(fresh, name), mode, bytes);
      await replaceLink(basename(fresh), data);
      fresh = undefined;
    }
    for (const { name, bytes } of found) if (bytes) await linkTo(folder, name);
    await removeOld(folder, await readlink(data).catch(() => ''), new Set(files.map(({ name }) => name)));
    return !isSame;
  } catch (error) {
    if (fresh !== undefined) await rm(fresh, { recursive: true, force: true }).catch(() => undefined);
    throw new KubespiffeError('FILE_UNWRITABLE', `${folder}: ${messageOf(error)}`, hint ? { hint } : {});
  }
}

/** What will be in a file, and whether it differs from what is. */
async function compare(path: string, { name, mode, content }: FileToWrite) {
  const old = await readFile(path).catch(() => undefined);
  const oldMode = old && (await stat(path)).mode & permissions;
  if (content === undefined) return { name, mode: oldMode ?? mode, bytes: old, hasChanged: false };
  const bytes = Buffer.from(content);
  return { name, mode, bytes, hasChanged: old === undefined || !old.equals(bytes) || oldMode !== mode };
}

async function writeOne(path: string, mode: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'wx', mode);
  await file.chmod(mode);
  await file.writeFile(bytes);
}

/** A name that another program made, such as a file of spiffe-helper, is replaced by the link at once. */
async function linkTo(folder: string, name: string): Promise<void> {
  const target = join('..data', name);
  const path = join(folder, name);
  if ((await readlink(path).catch(() => undefined)) !== target) await replaceLink(target, path);
}

async function replaceLink(target: string, path: string): Promise<void> {
  // No file is configured with two dots at its beginning.
  const temporary = join(dirname(path), `..${basename(path)}_tmp`);
  await rm(temporary, { force: true });
  await symlink(target, temporary);
  await rename(temporary, path);
}

/** Folders of earlier moments, and links to files that are no longer configured. */
async function removeOld(folder: string, current: string, names: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(folder)) {
    const path = join(folder, entry);
    const isOldFolder = entry.startsWith(prefix) && entry !== current;
    const isOldLink = !names.has(entry) && (await readlink(path).catch(() => '')) === join('..data', entry);
    if (isOldFolder || isOldLink) await rm(path, { recursive: true, force: true });
  }
}
