import type { AuthorityRecord, PoolDocument } from '../signer/authority/document.ts';
import { signsFrom } from '../signer/authority/may-sign.ts';
import { dateTransitions, makeActive } from '../signer/authority/transitions.ts';
import type { Seconds } from '../spiffe/pki/time.ts';

/**
 * How the authorities of a development pool follow each other: with the states and dates of every pool, but in seconds.
 * One authority of each kind signs, and the next one is published already. Pure.
 */

export interface Delays {
  /** How long a root or key is published before it signs, and how long one that was tainted stays published. */
  readonly propagationSeconds: number;
  /** The maximum lifetime of what an authority has signed. */
  readonly lifetimeSeconds: number;
}

/** When the next authorities have been published for long enough to sign. */
export function nextSignsFrom({ authorities }: PoolDocument, { propagationSeconds }: Delays): Seconds {
  const next = authorities.filter(({ state }) => state === 'trusted');
  return Math.max(...next.map((each) => signsFrom(authorities, each, propagationSeconds) ?? 0));
}

/**
 * Lets the next authorities sign, and publishes fresh ones that follow them.
 *
 * @param tainted whether what signed until now is tainted, as after the theft of a key.
 */
export function succeed(
  pool: PoolDocument,
  fresh: readonly AuthorityRecord[],
  { tainted }: { readonly tainted: boolean },
  now: Seconds,
): PoolDocument {
  const marked = pool.authorities.map((each) => (each.state === 'active' ? { ...each, tainted } : each));
  const moved = marked
    .filter(({ state }) => state === 'trusted')
    .reduce((authorities: readonly AuthorityRecord[], next) => makeActive(next, authorities), marked);
  return changed(pool, [...moved, ...fresh.map(asNext)], now);
}

/** An authority that is published and does not sign yet. */
export function asNext({ activatedAt: _, ...record }: AuthorityRecord): AuthorityRecord {
  return { ...record, state: 'trusted' };
}

/** The pool without the authorities whose time is over; the same pool where there are none. */
export function dropEnded(pool: PoolDocument, delays: Delays, now: Seconds): PoolDocument {
  const isEnded = ({ state, tainted, deactivatedAt = '' }: AuthorityRecord) => {
    const keptSeconds = tainted ? delays.propagationSeconds : delays.lifetimeSeconds;
    return state === 'retiring' && Date.parse(deactivatedAt) / 1000 + keptSeconds < now;
  };
  const kept = pool.authorities.filter((each) => !isEnded(each));
  return kept.length === pool.authorities.length ? pool : changed(pool, kept, now);
}

/** What has changed, as lines for people. */
export function describeChange(before: PoolDocument, after: PoolDocument): string[] {
  const earlier = new Map(before.authorities.map((each) => [each.id, each]));
  const later = new Set(after.authorities.map(({ id }) => id));
  const left = before.authorities.filter(({ id }) => !later.has(id));
  return [
    ...after.authorities.flatMap(({ id, state, tainted }) => {
      if (earlier.get(id)?.state === state) return [];
      if (state === 'active') return [`${id} signs now`];
      if (state === 'trusted') return [`${id} is published and signs next`];
      return [tainted ? `${id} is tainted and signs no more` : `${id} signs no more`];
    }),
    ...left.map(({ id }) => `${id} is no longer trusted`),
  ];
}

function changed(pool: PoolDocument, authorities: readonly AuthorityRecord[], now: Seconds): PoolDocument {
  return dateTransitions({ ...pool, sequence: pool.sequence + 1, authorities }, { pool }, now);
}
