import type { Time } from './time.ts';

/** Keys held at most. The least recently used one is dropped first, and starts with a full bucket again. */
const maxKeys = 20_000;

/** A rate for each of many keys, by token buckets. @param needs burst: how many at once; twice `perSecond` by default. */
export function createLimiter(needs: {
  readonly perSecond: number;
  readonly burst?: number;
  readonly time: Time;
}) {
  const { perSecond } = needs;
  const { monotonic } = needs.time;
  const most = Math.max(1, needs.burst ?? perSecond * 2);
  const buckets = new Map<string, { left: number; at: number }>();

  /** @returns the tokens before. */
  function change(key: string, next: (left: number) => number): number {
    const now = monotonic();
    const bucket = buckets.get(key) ?? { left: most, at: now };
    const left = Math.min(most, bucket.left + ((now - bucket.at) / 1000) * perSecond);
    buckets.delete(key);
    buckets.set(key, { left: next(left), at: now });
    const [oldest] = buckets.keys();
    if (buckets.size > maxKeys && oldest !== undefined) buckets.delete(oldest);
    return left;
  }

  return {
    /** Takes one token of the key. @returns 0 if there was one, else the milliseconds until there is. */
    take(key: string): number {
      const left = change(key, (had) => (had >= 1 ? had - 1 : had));
      return left >= 1 ? 0 : ((1 - left) / perSecond) * 1000;
    },
    /** Takes several tokens, even more than are left: the key waits until they are paid back, two bursts at most. */
    charge(key: string, amount: number): void {
      change(key, (left) => Math.max(-most, left - amount));
    },
  };
}

export type Limiter = ReturnType<typeof createLimiter>;
