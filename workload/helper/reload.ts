import { spawn } from 'node:child_process';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import type { ReloadConfig } from './config.ts';
import { findProcess, type Process, shareHint } from './processes.ts';

/** A process may need this long until it handles signals. Before that, SIGHUP would end it. */
const startupMs = 2_000;
/** How exactly the start of a process is known, and more. */
const toleranceMs = 100;

/**
 * Lets programs read the files again: sends the signal, unless the process was started after the files were written, then runs the
 * command.
 *
 * @param writtenAt when the files were written, in milliseconds since the epoch.
 * @param signal ends a command that runs. @param timeoutMs then a command that still runs is ended. Both end its children too.
 * @returns what was done, for the log; undefined where a process was started a moment ago, and all has to be done later.
 * @throws KubespiffeError RELOAD_FAILED
 */
export async function reload(
  { signal: wanted, command }: ReloadConfig,
  writtenAt: number,
  signal: AbortSignal,
  timeoutMs = 30_000,
): Promise<readonly string[] | undefined> {
  const done: string[] = [];
  if (wanted) {
    const found = await findProcess(wanted.target);
    if (found.startedAt <= writtenAt + toleranceMs) {
      if (Date.now() - found.startedAt < startupMs) return undefined;
      send(found, wanted.name);
      done.push(`sent ${wanted.name} to process ${found.pid}`);
    }
  }
  if (command) {
    await run(command, signal, timeoutMs);
    done.push(`ran ${command[0]}`);
  }
  return done;
}

function send({ pid }: Process, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const hint = code === 'EPERM' ? 'give the helper the same runAsUser as the program' : shareHint;
    throw new KubespiffeError('RELOAD_FAILED', `${name} cannot be sent to process ${pid} (${code})`, {
      hint,
    });
  }
}

async function run(
  [program, ...args]: readonly [string, ...string[]],
  signal: AbortSignal,
  timeoutMs: number,
): Promise<void> {
  signal.throwIfAborted();
  // A group of its own, so that a shell does not leave behind what it has started.
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
  const { promise: stopped, resolve: stop } = Promise.withResolvers<string>();
  child.once('error', (error) => stop(messageOf(error)));
  child.once('exit', (code, by) => stop(by === null ? `exit code ${code}` : `signal ${by}`));
  let isLate = false;
  let problem: string | undefined;
  const end = () => {
    problem = endGroup(child.pid);
    if (problem === undefined) return;
    // The helper itself can still end.
    child.unref();
    stop(`it ${problem}`);
  };
  const timer = setTimeout(() => {
    isLate = true;
    end();
  }, timeoutMs);
  signal.addEventListener('abort', end, { once: true });
  const ended = await stopped;
  clearTimeout(timer);
  signal.removeEventListener('abort', end);
  if (ended === 'exit code 0') return;
  const seconds = timeoutMs / 1000;
  const reason = isLate ? `it took longer than ${seconds} s and ${problem ?? 'was ended'}` : ended;
  const hint = `see its own output; it may run for ${seconds} seconds`;
  throw new KubespiffeError('RELOAD_FAILED', `${program} failed: ${reason}`, { hint });
}

/** @returns why it cannot be done: a command that has changed its user takes no signals from the helper (EPERM). */
function endGroup(leader: number | undefined): string | undefined {
  if (leader === undefined) return undefined;
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH') return `cannot be ended (${code})`;
  }
  return undefined;
}
