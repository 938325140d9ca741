import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Resident memory of a process in megabytes (10^6 bytes): now, and at its highest. */
export function residentMegabytes(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024) / 1e6;
  return { now: field('VmRSS'), peak: field('VmHWM') };
}

/** How many TCP connections of a process to a port are open; none when the process was killed in the meantime. */
export function connectionsTo(pid: number, port: number): number {
  try {
    return countConnections(pid, port);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return 0;
    throw error;
  }
}

function countConnections(pid: number, port: number): number {
  const ours = new Set<string>();
  for (const descriptor of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1];
      if (inode) ours.add(inode);
    } catch {
      // Closed between the listing and the look.
    }
  }
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const established = '01';
  return ['tcp', 'tcp6']
    .flatMap((table) => readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trim().split('\n').slice(1))
    .map((row) => row.trim().split(/\s+/))
    .filter(([, , remote, state, , , , , , inode]) => {
      return remote?.endsWith(`:${wanted}`) && state === established && ours.has(inode ?? '');
    }).length;
}
