import { type BackoffPolicy, createBackoff } from './backoff.ts';
import { pauseWith, type Time } from './time.ts';

export interface RecheckNeeds {
  /** @returns whether all is well, so that the next check can wait. Must not throw. */
  readonly check: (signal: AbortSignal) => Promise<boolean>;
  /** Back-off between checks until all is well. */
  readonly retryPolicy: BackoffPolicy;
  /** Approximate interval once all is well, in milliseconds. */
  readonly intervalMs: number;
  /** Shortest time between two checks, in milliseconds. */
  readonly leastGapMs?: number;
  readonly time: Time;
}

/** Repeats a check: with back-off until all is well, then at a long interval, and soon after a hint. */
export function createRecheck(needs: RecheckNeeds) {
  const { jitter, timer } = needs.time;
  const pause = pauseWith(timer);
  const leastGapMs = needs.leastGapMs ?? 0;
  let hinted = new AbortController();
  return {
    /** Ends the current pause, after a hint that something changed. */
    soon: () => hinted.abort(),
    async run(signal: AbortSignal): Promise<void> {
      const backoff = createBackoff(needs.retryPolicy, jitter);
      while (!signal.aborted) {
        hinted = new AbortController();
        const isWell = await needs.check(signal);
        if (isWell) backoff.reset();
        const waitMs = isWell ? needs.intervalMs * (0.9 + 0.2 * jitter()) : backoff.next();
        if (leastGapMs > 0) await pause(Math.min(leastGapMs, waitMs), signal);
        if (waitMs > leastGapMs) await pause(waitMs - leastGapMs, AbortSignal.any([signal, hinted.signal]));
      }
    },
  };
}
