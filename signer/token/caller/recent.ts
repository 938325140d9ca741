/** Remembers for a while that something was so. */
export interface Recent {
  add(key: string): void;
  has(key: string): boolean;
}

const maxEntries = 20_000;

/** @param needs lifetimeMs: how long; 0 remembers nothing. monotonic: milliseconds. */
export function createRecent(needs: {
  readonly lifetimeMs: number;
  readonly monotonic: () => number;
}): Recent {
  const { lifetimeMs, monotonic } = needs;
  const until = new Map<string, number>();
  return {
    add(key) {
      if (lifetimeMs <= 0) return;
      until.delete(key);
      until.set(key, monotonic() + lifetimeMs);
      // All last equally long, so the first in is the first to end.
      for (const [oldest, end] of until) {
        if (until.size <= maxEntries && end > monotonic()) break;
        until.delete(oldest);
      }
    },
    has: (key) => (until.get(key) ?? Number.NEGATIVE_INFINITY) > monotonic(),
  };
}
