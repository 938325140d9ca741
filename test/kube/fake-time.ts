import type { SetTimer } from '../../signer/kube/timer.ts';

/** A clock and a timer that only move when told to. */
export interface FakeTime {
  readonly monotonic: () => number;
  readonly timer: SetTimer;
  /** Moves on by so many milliseconds; timers that are due run in their order, and what they wake runs too. */
  advance(ms: number): Promise<void>;
  /** Timers that are set. */
  pending(): number;
}

export function createFakeTime(start = 1_000_000): FakeTime {
  let now = start;
  const timers = new Set<{ dueAt: number; run: () => void }>();
  return {
    monotonic: () => now,
    timer: (run, ms) => {
      const entry = { dueAt: now + Math.max(0, ms), run };
      timers.add(entry);
      return () => timers.delete(entry);
    },
    async advance(ms) {
      const end = now + ms;
      await settle();
      while (true) {
        const [next] = [...timers].filter(({ dueAt }) => dueAt <= end).sort((a, b) => a.dueAt - b.dueAt);
        if (!next) break;
        timers.delete(next);
        now = Math.max(now, next.dueAt);
        next.run();
        await settle();
      }
      now = end;
    },
    pending: () => timers.size,
  };
}

/** Lets everything run that waits for promises only. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 5; round += 1) await new Promise((resolve) => setImmediate(resolve));
}
