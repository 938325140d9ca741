import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Does not depend on TMPDIR: from the folders here it is known which bridges and cgroups still have an owner.
 */
const parent = '/tmp';
const prefix = 'kubespiffe-';
const gonePrefix = 'kubespiffe-gone-';

/**
 * A folder for the state of one cluster. Names are short, because unix sockets lie below it and their paths
 * hold 107 bytes. Folders whose owner has died without removing them are removed here.
 */
export async function makeStateFolder(): Promise<string> {
  await removeStaleFolders();
  const folder = join(parent, prefix + randomBytes(4).toString('hex'));
  await mkdir(folder, { mode: 0o700 });
  // Whole from the start: others take a folder for stale whose owner is not alive.
  const written = join(folder, 'owner.new');
  await writeFile(written, await processMark(process.pid));
  await rename(written, join(folder, 'owner'));
  return folder;
}

/** Renames it first: from then on it is nobody's, even if its removal is cut short or done twice at once. */
export async function removeStateFolder(folder: string): Promise<void> {
  const gone = join(parent, gonePrefix + stateId(folder));
  await rename(folder, gone);
  await rm(gone, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

/** The part of the folder's name that its bridge and cgroups carry too. */
export function stateId(folder: string): string {
  return folder.slice(join(parent, prefix).length);
}

export function isStateIdInUse(id: string): boolean {
  return existsSync(join(parent, prefix + id));
}

async function removeStaleFolders(): Promise<void> {
  for (const name of await readdir(parent)) {
    const folder = join(parent, name);
    if (name.startsWith(gonePrefix)) await rm(folder, { recursive: true, force: true }).catch(() => {});
    if (!/^kubespiffe-[0-9a-f]{8}$/.test(name)) continue;
    const mark = await readFile(join(folder, 'owner'), 'utf8').catch(() => undefined);
    if (mark === undefined || (await isAlive(mark))) continue;
    await removeStateFolder(folder).catch(() => {});
  }
}

async function isAlive(mark: string): Promise<boolean> {
  const pid = Number(mark.split(' ')[0]);
  return (await processMark(pid).catch(() => undefined)) === mark;
}

/** Process id and start time in ticks since boot: a reused process id does not pass for the old owner. */
async function processMark(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
}
