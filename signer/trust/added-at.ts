import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import type { ObservedBundle } from './bundle.ts';

/** The annotation of the live bundle with the times, as `SHA-256=TIME` or `kid=TIME`, separated by blanks. */
const key = 'kubespiffe.io/added-at';
/** Readers know the clock of the API server to a second or so. */
const clockToleranceSeconds = 60;
const entry = /(?<=^| )([0-9a-f]{64}|[A-Za-z0-9_-]{43})=(\S+)/g;
/** A `kid`: the SHA-256 of a JWT key in base64url, where that of a root is in hex. */
const isKid = (name: string): boolean => name.length === 43;

/**
 * Reads the times of a bundle: since when it shows each root (SHA-256 in hex), and since when replicas serve each JWT key (`kid`).
 * The pool has `publishedAt` too, but that is when the step was decided. While no replica could write the bundle, no pod got
 * the root, so only the time of the write counts.
 *
 * A bundle that is written where none is gives all its roots the time of that write: an earlier bundle may have been deleted, and
 * its times with it. This delays only authorities that do not sign yet; an active one goes on.
 *
 * @param now seconds since the epoch. A time long after that is not ours, and does not count.
 */
export function addedAtIn(observed: ObservedBundle | undefined, now: Seconds): ReadonlyMap<string, Seconds> {
  const entries = (observed?.annotations[key] ?? '').matchAll(entry);
  const times = [...entries].map(([, name = '', at = '']) => [name, Date.parse(at) / 1000] as const);
  return new Map(times.filter(([, at]) => at <= now + clockToleranceSeconds));
}

/** Since when all of these bundles show a root that was added to one of them. */
export function shownSince(
  bundles: readonly (ObservedBundle | undefined)[],
  now: Seconds,
): ReadonlyMap<string, Seconds> {
  const times = bundles.flatMap((each) => [...addedAtIn(each, now)]);
  return new Map(times.toSorted(([, one], [, other]) => one - other));
}

/** The `kid` of each JWT key that a replica had when it wrote the bundle; none where an older version wrote it. */
export function keysIn(observed: ObservedBundle | undefined, now: Seconds): ReadonlySet<string> {
  return new Set([...addedAtIn(observed, now).keys()].filter(isKid));
}

/**
 * The annotation that a bundle with these roots gets at `now`, in whole seconds since the epoch.
 *
 * @param kids the JWT keys of the same pool. One without a time gets that of the write, as nothing else shows it.
 * @param before the bundle in whose place it comes; undefined for none.
 */
export function addedAtAnnotation(
  roots: ReadonlySet<string>,
  kids: readonly string[],
  before: ObservedBundle | undefined,
  now: Seconds,
): Record<string, string> {
  const known = addedAtIn(before, now);
  const times = [...roots].flatMap((root) => {
    const at = before?.roots.has(root) ? known.get(root) : now;
    return at === undefined ? [] : [`${root}=${rfc3339(at)}`];
  });
  times.push(...kids.map((kid) => `${kid}=${rfc3339(known.get(kid) ?? now)}`));
  return times.length === 0 ? {} : { [key]: times.join(' ') };
}
