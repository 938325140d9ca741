import { constants, open, readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import type { SignalTarget } from './config.ts';

/** A process of this PID namespace. */
export interface Process {
  readonly pid: number;
  /** When it was started, in milliseconds since the epoch; to a hundredth of a second. */
  readonly startedAt: number;
}

export const shareHint =
  'set shareProcessNamespace: true in the pod, or run the helper in the container of the program';

/** @throws KubespiffeError RELOAD_FAILED if there is no such process, or several, or only the helper itself. */
export async function findProcess(target: SignalTarget): Promise<Process> {
  const { pid, startTicks } =
    'pidFile' in target ? await inPidFile(target.pidFile) : await withName(target.process);
  const upMs = Number((await readFile('/proc/uptime', 'latin1')).split(' ')[0]) * 1000;
  return { pid, startedAt: Date.now() - upMs + startTicks * tickMs };
}

/** The clock ticks of Linux' user interface: 100 a second. */
const tickMs = 10;

/** The state of a process that has ended. */
const zombie = 'Z';

interface Stat {
  readonly pid: number;
  /** What the kernel calls it, and what it was started as. */
  readonly names: readonly string[];
  readonly parent: number;
  readonly startTicks: number;
}

/**
 * proc(5): the name is in parentheses and may have parentheses itself. Linux keeps 15 bytes of it, and programs may change it: that of
 * Node.js is MainThread. So the program of the command line counts too.
 */
async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  const [, name, rest] = /^[0-9]+ \((.*)\) (.*)$/s.exec(text) ?? [];
  const fields = rest?.split(' ');
  if (name === undefined || !fields || fields[0] === zombie) return undefined;
  const [program = ''] = (await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')).split('\0');
  return {
    pid,
    names: [name, basename(program)],
    parent: Number(fields[1]),
    startTicks: Number(fields[19]),
  };
}

/** For a server with workers of the same name, the process that started them. */
async function withName(name: string): Promise<Stat> {
  const pids = (await readdir('/proc')).filter((entry) => /^[0-9]+$/.test(entry)).map(Number);
  const stats = await Promise.all(pids.map(statOf));
  const wanted = Buffer.from(name).toString('latin1');
  const named = stats.filter((stat) => stat?.names.includes(wanted) && stat.pid !== process.pid) as Stat[];
  const pidsOfName = new Set(named.map(({ pid }) => pid));
  const [found, ...others] = named.filter(({ parent }) => !pidsOfName.has(parent));
  if (!found) throw new KubespiffeError('RELOAD_FAILED', `no process is named ${name}`, { hint: shareHint });
  if (others.length === 0) return found;
  const all = [found, ...others].map(({ pid }) => pid).join(', ');
  const hint = 'use pidFile; the signal might end another program';
  throw new KubespiffeError('RELOAD_FAILED', `several processes are named ${name}: ${all}`, { hint });
}

async function inPidFile(path: string): Promise<Stat> {
  const pid = await readPidFile(path);
  const stat = await statOf(pid);
  if (stat && pid !== process.pid) return stat;
  const what = stat ? 'which is the helper itself' : 'which does not exist';
  throw new KubespiffeError('RELOAD_FAILED', `${path} names process ${pid}, ${what}`, { hint: shareHint });
}

/**
 * Another program writes the pid file, and must not lead the helper astray: kill(2) takes numbers below 1 for groups of
 * processes, and a named pipe might never give anything.
 */
async function readPidFile(path: string): Promise<number> {
  let text: string;
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(64), 0, 64, null);
    text = buffer.toString('latin1', 0, bytesRead);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? messageOf(error);
    const hint = 'share the folder of the pid file between both containers';
    throw new KubespiffeError('RELOAD_FAILED', `pid file ${path} cannot be read (${reason})`, { hint });
  }
  // Other lines may follow, as in the file of PostgreSQL.
  const [, digits] = /^\s*([1-9][0-9]{0,9})\s*?(?:\n|$)/.exec(text) ?? [];
  if (digits !== undefined) return Number(digits);
  const message = `pid file ${path} does not begin with the number of a process`;
  throw new KubespiffeError('RELOAD_FAILED', message, { hint: 'check pidFile' });
}
