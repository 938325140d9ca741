import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import type { ObservedBundle } from './bundle.ts';

/** The annotation of the live bundle with the times, as `SHA-256=TIME`, separated by blanks. */
const key = 'kubespiffe.io/added-at';
/** Readers know the clock of the API server to a second or so. */
const clockToleranceSeconds = 60;
const entry = /([0-9a-f]{64})=(\S+)/g;

/**
 * Since when a bundle shows each root, by SHA-256 in hex. `publishedAt` in the pool is when that was decided:
 * while no replica could write the bundle, no pod got the root. A new bundle dates all its roots: the one before it may have been
 * deleted, and nobody knows which roots that had. An authority that is active signs on, whatever the time of its root.
 *
 * @param now seconds since the epoch. A time long after that is not ours, and does not count.
 */
export function addedAtIn(observed: ObservedBundle | undefined, now: Seconds): ReadonlyMap<string, Seconds> {
  const entries = (observed?.annotations[key] ?? '').matchAll(entry);
  const times = [...entries].map(([, root = '', at = '']) => [root, Date.parse(at) / 1000] as const);
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

/**
 * The annotation that a bundle with these roots gets at `now`, in whole seconds since the epoch.
 *
 * @param before the bundle in whose place it comes; undefined for none.
 */
export function addedAtAnnotation(
  roots: ReadonlySet<string>,
  before: ObservedBundle | undefined,
  now: Seconds,
): Record<string, string> {
  const known = addedAtIn(before, now);
  const times = [...roots].flatMap((root) => {
    const at = before?.roots.has(root) ? known.get(root) : now;
    return at === undefined ? [] : [`${root}=${rfc3339(at)}`];
  });
  return times.length === 0 ? {} : { [key]: times.join(' ') };
}
