import { lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KubespiffeError } from '../spiffe/errors.ts';

/** Marks a folder that `kubespiffe dev` made, and may empty. */
const marker = 'NOT-FOR-PRODUCTION.txt';
const markerText =
  'kubespiffe dev keeps private keys of a development trust domain here, and removes them when it starts and ends.\n' +
  'Nothing outside of this machine should trust them.\n';

/**
 * Where the files are unless a folder is given: the folder of the user's session, else one of the user's own in the
 * folder for temporary files. Short, because the path of a socket has at most 107 bytes.
 */
export function defaultFolder(env: Readonly<Record<string, string | undefined>>, uid: number): string {
  const { XDG_RUNTIME_DIR: session } = env;
  return session ? join(session, 'kubespiffe-dev') : `/tmp/kubespiffe-dev-${uid}`;
}

/**
 * Makes a folder that only its owner can enter, and marks it; or empties one that was made so.
 * @throws KubespiffeError FILE_UNWRITABLE where it is not ours alone, ALREADY_EXISTS where others keep something in it.
 */
export async function openPrivateFolder(folder: string, uid: number): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  // In a folder for all, another user may have been first.
  if (!found.isDirectory() || found.uid !== uid) {
    const hint = 'choose another one with --folder';
    throw new KubespiffeError('FILE_UNWRITABLE', `${folder} is not a folder of yours`, { hint });
  }
  const names = await readdir(folder);
  if (names.length > 0 && !names.includes(marker)) {
    const hint = 'choose an empty folder, or one that does not exist, with --folder';
    throw new KubespiffeError('ALREADY_EXISTS', `${folder} has other files in it`, { hint });
  }
  if ((found.mode & 0o077) !== 0) {
    const hint = `run \`chmod 700 ${folder}\`, or choose another one with --folder`;
    throw new KubespiffeError('FILE_UNWRITABLE', `other users can enter ${folder}`, { hint });
  }
  await emptyPrivateFolder(folder);
  await writeFile(join(folder, marker), markerText);
}

/** Removes all but the mark. */
export async function emptyPrivateFolder(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name !== marker);
  await Promise.all(names.map((name) => rm(join(folder, name), { recursive: true, force: true })));
}
