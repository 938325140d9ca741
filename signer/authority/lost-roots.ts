import type { Seconds } from '../../spiffe/pki/time.ts';
import type { Pool } from './pool.ts';
import { type PoolProblem, poolProblem } from './problem.ts';

/** A root that verifiers have: its SHA-256 in hex, and when it ends. */
export interface KnownRoot {
  readonly sha256Hex: string;
  readonly notAfter: Seconds;
}

/**
 * The published roots that a pool would take away by mistake: those that it does not name. A root that the pool names
 * in any state is its operator's decision, `retired` included; one that has ended verifies nothing.
 */
export function lostRoots<R extends KnownRoot>(pool: Pool, published: Iterable<R>, now: Seconds): R[] {
  const named = new Set(pool.authorities.map(({ root }) => root.sha256Hex));
  return [...published].filter((root) => root.notAfter > now && !named.has(root.sha256Hex));
}

/** `ca restore` takes a fingerprint only whole, and an Event has room for few. */
const mostShown = 3;

/** Why a pool may not take the place of what is published; undefined where it loses no root. */
export function lostRootsProblem(
  pool: Pool,
  published: Iterable<KnownRoot>,
  now: Seconds,
): PoolProblem | undefined {
  const lost = lostRoots(pool, published, now);
  if (lost.length === 0) return undefined;
  const shown = lost.slice(0, mostShown).map(({ sha256Hex }) => sha256Hex);
  const more = lost.length > shown.length ? ` and ${lost.length - shown.length} more` : '';
  return poolProblem(
    'PoolRootsMissing',
    'pool.authorities',
    `published roots are missing (SHA-256 ${shown.join(', ')}${more}), and certificates in use may need them`,
    'if they are yours, put a copy back with `kubespiffe ca restore`, which keeps every published root; to remove ' +
      'a root that another writer added, give that command `--drop-authority SHA-256 --force-drop`',
  );
}
