import type { AuthorityRecord, PoolDocument } from '../signer/authority/document.ts';
import { signsFrom } from '../signer/authority/may-sign.ts';
import { dateTransitions } from '../signer/authority/transitions.ts';
import type { Seconds } from '../spiffe/pki/time.ts';

/**
 * How authorities of a development pool follow each other, by the states and dates of every pool but in seconds. Pure.
 */

export interface Delays {
  /** How long a root or key is published before it signs, and one that is tainted stays published. */
  readonly propagationSeconds: number;
  /** The longest life of what an authority has signed. */
  readonly lifetimeSeconds: number;
}

/** Publishes authorities that sign later; unchanged where others wait for that already. */
export function publishNext(
  pool: PoolDocument,
  fresh: readonly AuthorityRecord[],
  now: Seconds,
): PoolDocument {
  if (pool.authorities.some(({ state }) => state === 'trusted')) return pool;
  const next = fresh.map(({ activatedAt: _, ...each }): AuthorityRecord => ({ ...each, state: 'trusted' }));
  return changed(pool, [...pool.authorities, ...next], now);
}

/** As after the theft of a key: what signs now is tainted, and fresh authorities sign at once in its place. */
export function taintActive(
  pool: PoolDocument,
  fresh: readonly AuthorityRecord[],
  now: Seconds,
): PoolDocument {
  const kept = pool.authorities.map(
    (each): AuthorityRecord =>
      each.state === 'active' ? { ...each, state: 'retiring', tainted: true } : each,
  );
  return changed(pool, [...kept, ...fresh], now);
}

/** What time alone changes: who signs, and which authorities leave the bundles. The same pool where nothing does. */
export function advance(pool: PoolDocument, delays: Delays, now: Seconds): PoolDocument {
  const { propagationSeconds, lifetimeSeconds } = delays;
  const isReady = (each: AuthorityRecord) =>
    each.state === 'trusted' &&
    (signsFrom(pool.authorities, each, propagationSeconds) ?? Number.POSITIVE_INFINITY) <= now;
  const isEnded = ({ state, tainted, deactivatedAt = '' }: AuthorityRecord) =>
    state === 'retiring' &&
    Date.parse(deactivatedAt) / 1000 + (tainted ? propagationSeconds : lifetimeSeconds) < now;
  const succeeded = new Set(pool.authorities.filter(isReady).map(({ kind }) => kind));
  if (succeeded.size === 0 && !pool.authorities.some(isEnded)) return pool;
  const next = pool.authorities
    .filter((each) => !isEnded(each))
    .map((each): AuthorityRecord => {
      if (isReady(each)) return { ...each, state: 'active' };
      const isSucceeded = each.state === 'active' && succeeded.has(each.kind);
      return isSucceeded ? { ...each, state: 'retiring' } : each;
    });
  return changed(pool, next, now);
}

function changed(pool: PoolDocument, authorities: readonly AuthorityRecord[], now: Seconds): PoolDocument {
  return dateTransitions({ ...pool, sequence: pool.sequence + 1, authorities }, { pool }, now);
}
