import type { Time } from '../../kube/time.ts';

const maxEntries = 20_000;

export type Recent<V> = ReturnType<typeof createRecent<V>>;

/** Remembers values for a while. @param needs lifetimeMs: how long a value counts; 0 remembers nothing. */
export function createRecent<V>(needs: { readonly lifetimeMs: number; readonly time: Time }) {
  const { lifetimeMs } = needs;
  const { monotonic } = needs.time;
  const entries = new Map<string, { readonly value: V; readonly until: number }>();
  return {
    set(key: string, value: V): void {
      if (lifetimeMs <= 0) return;
      entries.delete(key);
      entries.set(key, { value, until: monotonic() + lifetimeMs });
      // All last equally long, so the first in is the first to end.
      for (const [oldest, { until }] of entries) {
        if (entries.size <= maxEntries && until > monotonic()) break;
        entries.delete(oldest);
      }
    },
    get(key: string): V | undefined {
      const entry = entries.get(key);
      return entry && entry.until > monotonic() ? entry.value : undefined;
    },
    get size() {
      return entries.size;
    },
  };
}
