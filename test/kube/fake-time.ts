import { realTime, type Time } from '../../signer/kube/time.ts';

/** The real time, except for what a test says. */
export function timeWith(parts: Partial<Time>): Time {
  return { ...realTime, ...parts };
}

/** A clock and a timer that move only when the test says so. The jitter is 0. */
export interface FakeTime extends Time {
  /** Moves on by so many milliseconds; timers that are due run in their order, and what they wake runs too. */
  advance(ms: number): Promise<void>;
  /** How many timers are set. */
  pending(): number;
}

const start = 1_000_000;

/** @param startsAt what `now()` says at first, in epoch milliseconds. */
export function createFakeTime(startsAt = Date.UTC(2026, 10, 22, 12)): FakeTime {
  let nowMs = start;
  const timers = new Set<{ dueAt: number; run: () => void }>();
  return {
    now: () => startsAt + nowMs - start,
    monotonic: () => nowMs,
    jitter: () => 0,
    timer: (run, ms) => {
      const entry = { dueAt: nowMs + Math.max(0, ms), run };
      timers.add(entry);
      return () => timers.delete(entry);
    },
    async advance(ms) {
      const end = nowMs + ms;
      await settle();
      while (true) {
        const [next] = [...timers].filter(({ dueAt }) => dueAt <= end).sort((a, b) => a.dueAt - b.dueAt);
        if (!next) break;
        timers.delete(next);
        nowMs = Math.max(nowMs, next.dueAt);
        next.run();
        await settle();
      }
      nowMs = end;
    },
    pending: () => timers.size,
  };
}

/** Lets everything run that waits for promises only. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 5; round += 1) await new Promise((resolve) => setImmediate(resolve));
}
