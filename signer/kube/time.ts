/** What a part knows of time, and its randomness. One object, so that a test can give its own. */
export interface Time {
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Milliseconds that never go back, for durations. */
  readonly monotonic: () => number;
  /** Uniform in [0, 1), to spread what would otherwise happen everywhere at once. */
  readonly jitter: () => number;
  readonly timer: SetTimer;
}

/** Calls `run` once after `ms` milliseconds. @returns a function that cancels it. */
export type SetTimer = (run: () => void, ms: number) => () => void;

/** Longest time that Node.js can wait at once. It would run a longer timer after 1 ms. */
const longestMs = 2 ** 31 - 1;

/** A time that is not a number is a bug; it must not become a busy loop. */
const setTimer: SetTimer = (run, ms) => {
  let timer: NodeJS.Timeout;
  const wait = (leftMs: number) => {
    const isLast = leftMs <= longestMs;
    timer = setTimeout(() => (isLast ? run() : wait(leftMs - longestMs)), isLast ? leftMs : longestMs);
  };
  wait(Number.isNaN(ms) ? longestMs : ms);
  return () => clearTimeout(timer);
};

export const realTime: Time = {
  now: Date.now,
  monotonic: () => performance.now(),
  jitter: Math.random,
  timer: setTimer,
};

/** Waits `ms` milliseconds. Resolves early, and never rejects, when the signal is aborted. */
export type Pause = (ms: number, signal?: AbortSignal) => Promise<void>;

/** Makes a Pause from a timer. */
export function pauseWith(timer: SetTimer): Pause {
  return (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = () => {
        cancel();
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const cancel = timer(end, ms);
      signal?.addEventListener('abort', end, { once: true });
    });
}
