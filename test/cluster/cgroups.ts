import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const mountPoint = '/sys/fs/cgroup';

/** Makes the group that one kubelet works in, in each hierarchy of cgroup v1 or in the one of v2. */
export async function createCgroup(name: string): Promise<void> {
  for (const hierarchy of await hierarchies()) {
    await mkdir(join(hierarchy, name), { recursive: true });
    // A v1 cpuset starts empty, and no process can enter it.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (!hierarchy.endsWith('cpuset')) continue;
      await writeFile(join(hierarchy, name, file), await readFile(join(hierarchy, file)));
    }
  }
}

/** Removes the group with all below it. All of its processes must have ended. */
export async function removeCgroup(name: string): Promise<void> {
  for (const hierarchy of await hierarchies()) await removeTree(join(hierarchy, name));
}

/** Names of groups at the top that begin with the prefix. */
export async function findCgroups(prefix: string): Promise<string[]> {
  const names = new Set<string>();
  for (const hierarchy of await hierarchies()) {
    for (const name of await readdir(hierarchy)) if (name.startsWith(prefix)) names.add(name);
  }
  return [...names];
}

async function hierarchies(): Promise<string[]> {
  if (existsSync(join(mountPoint, 'cgroup.controllers'))) return [mountPoint];
  const names = await readdir(mountPoint, { withFileTypes: true });
  return names.filter((entry) => entry.isDirectory()).map((entry) => join(mountPoint, entry.name));
}

/**
 * rm -r cannot be used: the files in a group cannot be removed, only the folders. Another process may be at it at
 * the same time, so what is gone is as good as removed.
 */
async function removeTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(folder, entry.name));
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}
