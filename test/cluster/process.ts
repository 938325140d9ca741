import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** A program that lives no longer than this process. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves, never rejects, with how the program ended: `exit code 1`, `signal SIGKILL`. */
  readonly exited: Promise<string>;
  hasExited(): boolean;
  /** Sends the signal and waits for the end; SIGKILL follows after `graceMs` (5 s). */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<void>;
  /** User and system CPU seconds of all its threads so far. */
  cpuSeconds(): number;
  lastLines(count?: number): string;
}

/**
 * Starts a program with its output in a file. When this process ends, even by SIGKILL, the kernel kills the
 * child with it (PR_SET_PDEATHSIG, set by setpriv(1)), so that no test leaves a server behind. The child
 * does not keep this process alive: a test file that forgets to stop it still ends.
 *
 * @param options.stdoutFile takes standard output in place of `logFile`; it may be a named pipe.
 */
export function startChild(
  name: string,
  command: readonly string[],
  options: { logFile: string; stdoutFile?: string; env?: NodeJS.ProcessEnv; cwd?: string },
): Child {
  const log = openSync(options.logFile, 'a');
  const stdout = openSync(options.stdoutFile ?? options.logFile, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
    stdio: ['ignore', stdout, log],
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  closeSync(log);
  closeSync(stdout);
  child.unref();
  const exited = endOf(child);
  let ended = false;
  void exited.then(() => {
    ended = true;
  });
  return {
    name,
    pid: child.pid ?? 0,
    logFile: options.logFile,
    exited,
    hasExited: () => ended,
    stop: (signal = 'SIGTERM', graceMs = 5_000) => stop(child, exited, signal, graceMs),
    cpuSeconds: () => cpuSecondsOf(child.pid ?? 0),
    lastLines: (count = 15) => lastLines(options.logFile, count),
  };
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('exit', (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`));
  });
}

async function stop(child: ChildProcess, exited: Promise<string>, signal: NodeJS.Signals, graceMs: number) {
  child.ref();
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(timer);
}

/** Fields 14 and 15 of /proc/PID/stat, in the clock ticks of Linux' user interface: 100 a second. */
export function cpuSecondsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

function lastLines(file: string, count: number): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
}

/** How long a test waits for what has to come. Only a test that fails waits so long, so it is for the slowest of machines. */
export const usualTimeoutMs = 120_000;

/**
 * Waits until `check` gives something other than undefined or false, trying again every `everyMs`. Gives up
 * after `timeoutMs` (`usualTimeoutMs`), or at once when one of the `needs` has ended, and says which and why.
 */
export async function waitFor<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  options: { timeoutMs?: number; everyMs?: number; needs?: readonly Child[] } = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? usualTimeoutMs;
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      lastError = error;
    }
    for (const child of options.needs ?? []) {
      if (!child.hasExited()) continue;
      const how = await child.exited;
      throw new Error(
        `waiting for ${what}: ${child.name} ended (${how}); its last lines:\n${child.lastLines()}`,
      );
    }
    if (performance.now() > deadline) {
      const log = (options.needs ?? []).map((child) => `\n${child.name}: ${child.lastLines(5)}`).join('');
      throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}${log}`, { cause: lastError });
    }
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 50));
  }
}
