import { hash } from 'node:crypto';
import type { Psat } from './psat.ts';

/** Tokens that the API server found good a moment ago. Holds hashes of tokens, never tokens. */
export interface ReviewCache {
  get(token: string): Psat | undefined;
  put(token: string, psat: Psat): void;
  /** Forgets every token of a pod. */
  forgetPod(uid: string): void;
  readonly size: number;
}

const maxEntries = 20_000;

interface Entry {
  readonly psat: Psat;
  /** Monotonic milliseconds. */
  readonly until: number;
}

/** @param needs lifetimeMs: how long a review counts; 0 keeps nothing. */
export function createReviewCache(needs: {
  readonly lifetimeMs: number;
  readonly monotonic: () => number;
}): ReviewCache {
  const { lifetimeMs, monotonic } = needs;
  const entries = new Map<string, Entry>();
  const byPod = new Map<string, Set<string>>();

  function drop(key: string, entry: Entry): void {
    entries.delete(key);
    const keys = byPod.get(entry.psat.pod.uid);
    keys?.delete(key);
    if (keys?.size === 0) byPod.delete(entry.psat.pod.uid);
  }

  return {
    get(token) {
      const key = keyOf(token);
      const entry = entries.get(key);
      if (!entry) return undefined;
      if (entry.until > monotonic()) return entry.psat;
      drop(key, entry);
      return undefined;
    },
    put(token, psat) {
      if (lifetimeMs <= 0) return;
      const key = keyOf(token);
      const known = entries.get(key);
      if (known) drop(key, known);
      entries.set(key, { psat, until: monotonic() + lifetimeMs });
      const keys = byPod.get(psat.pod.uid);
      if (keys) keys.add(key);
      else byPod.set(psat.pod.uid, new Set([key]));
      // All live equally long, so the first in is the first to end.
      for (const [oldest, entry] of entries) {
        if (entries.size <= maxEntries && entry.until > monotonic()) break;
        drop(oldest, entry);
      }
    },
    forgetPod(uid) {
      for (const key of [...(byPod.get(uid) ?? [])]) {
        const entry = entries.get(key);
        if (entry) drop(key, entry);
      }
    },
    get size() {
      return entries.size;
    },
  };
}

function keyOf(token: string): string {
  return hash('sha256', token, 'base64');
}
