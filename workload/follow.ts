import { EventEmitter } from 'node:events';
import { watch } from 'node:fs';
import { resolve } from 'node:path';
import type { KubespiffeError } from '../spiffe/errors.ts';

/** The events of a source. */
export interface SourceEvents {
  /** What the source holds has changed. */
  update: [];
  /** Something is wrong and the last good value stays. Emitted once for each problem until it is solved. */
  problem: [KubespiffeError];
}

export interface SourceOptions {
  /** Ends the source, as `Symbol.asyncDispose` does. */
  readonly signal?: AbortSignal;
  /** How often files are read and dates are checked although no change was reported, in milliseconds. Default 5000. */
  readonly pollMs?: number;
  /** The time, in milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** What one reading found. Without a value, the last one stays. */
export interface Reading<T> {
  readonly value: T | undefined;
  readonly problems: readonly KubespiffeError[];
}

/** Calls `onChange` after each change, until the signal is aborted. */
export type Watch = (onChange: () => void, signal: AbortSignal) => void;

/** A value that follows files, or the responses of a server. */
export interface Followed<T> extends AsyncDisposable {
  readonly value: T;
  readonly events: EventEmitter<SourceEvents>;
}

/**
 * Follows a value: reads it at once, after each change, and every `pollMs`, since not every file system reports changes and
 * certificates expire without one. The timer does not keep the process alive.
 *
 * @param read gets the last good value, and returns the same one where nothing has changed.
 * @throws the first problem, where the first reading gives no value.
 */
export async function follow<T>(
  watchChanges: Watch,
  read: (last: T | undefined) => Promise<Reading<T>>,
  options: SourceOptions = {},
): Promise<Followed<T>> {
  const { signal, pollMs = 5_000 } = options;
  signal?.throwIfAborted();
  const events = new EventEmitter<SourceEvents>();
  const ended = new AbortController();
  let current: T | undefined;
  let reported = new Set<string>();
  let reading: Promise<void> | undefined;
  let again = false;

  /** @returns the problems, which the first reading throws, and every other one reports. */
  const readOnce = async (): Promise<readonly KubespiffeError[]> => {
    const { value, problems } = await read(current);
    const isNew = value !== undefined && value !== current && !ended.signal.aborted;
    if (!isNew) return problems;
    current = value;
    callListeners(() => events.emit('update'));
    return problems;
  };
  const report = (problems: readonly KubespiffeError[]) => {
    const fresh = problems.filter(({ message }) => !reported.has(message));
    reported = new Set(problems.map(({ message }) => message));
    if (ended.signal.aborted) return;
    for (const problem of fresh) callListeners(() => events.emit('problem', problem));
  };
  const readAgain = async () => {
    try {
      while (again && !ended.signal.aborted) {
        again = false;
        report(await readOnce());
      }
    } finally {
      reading = undefined;
    }
  };
  const onChange = () => {
    again = true;
    if (current !== undefined) reading ??= readAgain();
  };

  const timer = setInterval(onChange, pollMs).unref();
  const end = () => {
    ended.abort();
    clearInterval(timer);
    signal?.removeEventListener('abort', end);
  };
  signal?.addEventListener('abort', end, { once: true });
  watchChanges(onChange, ended.signal);

  const problems = await readOnce();
  if (current === undefined) {
    end();
    signal?.throwIfAborted();
    throw problems[0] ?? new TypeError('a reading gives a value or a problem');
  }
  // Nobody listens yet: what is wrong now is reported by the next reading. So is a change during this one.
  if (again || problems.length > 0) setImmediate(onChange);
  return {
    get value() {
      return current as T;
    },
    events,
    async [Symbol.asyncDispose]() {
      end();
      await reading;
    },
  };
}

/**
 * Emits an event of a source. What a listener throws is an uncaught exception of the application, and not a failure of the source,
 * which goes on if the application does.
 */
export function callListeners(emit: () => void): void {
  try {
    emit();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Watches the folders that files are in, which does not keep the process alive. @param names of files as for `readFiles`. */
export function watchFiles(folder: string, names: readonly string[]): Watch {
  const folders = new Set(names.map((name) => resolve(folder, name, '..')));
  return (onChange, signal) => {
    for (const folder of folders) watchFolder(folder, onChange, signal);
  };
}

function watchFolder(folder: string, onChange: () => void, signal: AbortSignal): void {
  try {
    // Where the watch ends with an error, the timer goes on.
    watch(folder, { persistent: false, signal }, onChange).on('error', () => undefined);
  } catch {
    // A folder that cannot be watched, or does not exist yet.
  }
}
