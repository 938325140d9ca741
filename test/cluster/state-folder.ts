import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const prefix = 'kubespiffe-';

/**
 * A folder for the state of one cluster. Names are short, because unix sockets lie below it and their paths
 * hold 107 bytes. Folders whose owner has died without removing them are removed here.
 */
export async function makeStateFolder(): Promise<string> {
  await removeStaleFolders();
  const folder = join(tmpdir(), prefix + randomBytes(4).toString('hex'));
  await mkdir(folder, { mode: 0o700 });
  await writeFile(join(folder, 'owner'), await processMark(process.pid));
  return folder;
}

export async function removeStateFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

async function removeStaleFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!/^kubespiffe-[0-9a-f]{8}$/.test(name)) continue;
    const folder = join(tmpdir(), name);
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
