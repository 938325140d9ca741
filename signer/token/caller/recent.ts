import type { Time } from '../../kube/time.ts';
/** Remembers values for a while. */
export interface Recent<V> {
  set(key: string, value: V): void;
  get(key: string): V | undefined;
  readonly size: number;
}

const maxEntries = 20_000;

/** @param needs lifetimeMs: how long a value counts; 0 remembers nothing. monotonic: milliseconds. */
export function createRecent<V>(needs: { readonly lifetimeMs: number; readonly time: Time }): Recent<V> {
  const { lifetimeMs } = needs;
  const { monotonic } = needs.time;
  const entries = new Map<string, { readonly value: V; readonly until: number }>();
  return {
    set(key, value) {
      if (lifetimeMs <= 0) return;
      entries.delete(key);
      entries.set(key, { value, until: monotonic() + lifetimeMs });
      // All last equally long, so the first in is the first to end.
      for (const [oldest, { until }] of entries) {
        if (entries.size <= maxEntries && until > monotonic()) break;
        entries.delete(oldest);
      }
    },
    get(key) {
      const entry = entries.get(key);
      return entry && entry.until > monotonic() ? entry.value : undefined;
    },
    get size() {
      return entries.size;
    },
  };
}
