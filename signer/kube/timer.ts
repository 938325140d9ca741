/** Calls `run` once after `ms` milliseconds. @returns a function that cancels it. A parameter, so that tests can move time. */
export type SetTimer = (run: () => void, ms: number) => () => void;

/** The real timer. */
export const setTimer: SetTimer = (run, ms) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
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

/** The real pause. */
export const pause: Pause = pauseWith(setTimer);
