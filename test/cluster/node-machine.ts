import { existsSync } from 'node:fs';
import { findCgroups, removeCgroup } from './cgroups.ts';
import { cniPlugins } from './node-config.ts';
import { isStateIdInUse } from './state-folder.ts';

export const cgroupPrefix = 'kubespiffe-';

/** Groups of nodes whose owners were killed before they could remove them. */
export async function removeStaleCgroups(): Promise<void> {
  for (const name of await findCgroups(cgroupPrefix)) {
    const id = name.slice(cgroupPrefix.length).split('-')[0] ?? '';
    if (!isStateIdInUse(id)) await removeCgroup(name).catch(() => {});
  }
}

/** Throws what is missing to run a node here, and what to do about it. */
export async function checkMachine(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('a node needs root: it makes namespaces, mounts and cgroups');
  const needed = [
    '/usr/bin/containerd',
    '/usr/sbin/runc',
    `${cniPlugins}/bridge`,
    '/bin/busybox',
    '/usr/sbin/nft',
  ];
  const missing = needed.filter((path) => !existsSync(path));
  if (missing.length > 0)
    throw new Error(`a node needs ${missing.join(', ')}: run scripts/debian-packages.sh`);
}
