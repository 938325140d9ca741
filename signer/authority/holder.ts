import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import type { Secret } from '../kube/types.ts';
import type { Authority } from './authority.ts';
import { type JwtSignable, jwtSigningAt } from './jwt-signing.ts';
import { type KnownRoot, lostRootsProblem, namedRoots } from './lost-roots.ts';
import { type Pool, type PoolResult, parsePool, signingAuthorityAt, timeProblem } from './pool.ts';
import { type PoolProblem, poolProblem } from './problem.ts';
import { markOf, type PublishedMark, sequenceProblem } from './sequence.ts';

/** The authority that signs, or why nothing is signed. */
export type Signable = { ok: true; authority: Authority } | { ok: false; problem: PoolProblem };

/**
 * The last good pool beside what the Secret says now.
 *
 * A pool that is missing, unreadable or cannot sign for reasons of time does not replace the last good one, so that
 * no bundle loses a root by a mistake. While such a pool is there nothing is signed: nobody can say any more what
 * the operator wants signed, and a pool that was taken away on purpose must not go on by accident. A pool whose only
 * fault is time does replace the last good one if it holds all the roots of that: otherwise a new root could not be
 * published once the old authority is in its last hour. A replica that has just started remembers no pool; there what
 * is published takes the place of the last good one. A pool whose sequence does not follow that of what was published
 * is never taken in: what is served of one sequence stays the same, and none goes back. Nor is a pool that does not
 * name a root that was published.
 */
export interface PoolHolder {
  /** Takes in what the Secret is now, undefined when there is none. */
  offer(secret: Secret | undefined, now: Seconds): void;
  /** The last good pool. */
  current(): Pool | undefined;
  signable(now: Seconds): Signable;
  /** The key that signs JWT-SVIDs, of those that have been published for so many seconds. */
  jwtSignable(algorithm: JwtSigningAlgorithm, now: Seconds, propagationSeconds: number): JwtSignable;
  /** What the bundles may be made from, as long as it is what the Secret says now; else what is wrong with it. */
  publishable(): { ok: true; pool: Pool } | { ok: false; problem: PoolProblem };
}

/** What was published last, by any replica, as our own watch shows it. */
export interface Published {
  /** SHA-256 of the roots: empty where there are none, undefined while it is not known. */
  roots(): ReadonlySet<string> | undefined;
  /** The mark of the pool that the ClusterTrustBundle is of; undefined where none is shown. */
  mark(): PublishedMark | undefined;
  /** When each root of the ClusterTrustBundle ends, by its SHA-256: what tenants cannot write. */
  rootEnds(): ReadonlyMap<string, Seconds>;
}

export interface PoolHolderNeeds {
  readonly trustDomain: string;
  readonly published: Published;
  /** Called when current() or signable() may answer otherwise than before. */
  readonly onChange: () => void;
}

export function createPoolHolder(needs: PoolHolderNeeds): PoolHolder {
  const { published } = needs;
  let current: Pool | undefined;
  /** The Secret by itself. */
  let read: PoolResult | undefined;
  /** The same, held against what was published. */
  let latest: PoolResult | undefined;

  /** Whether nobody loses a root by this pool. */
  const losesNoRoot = (candidate: Pool) => {
    const roots = current ? new Set(current.roots.map((root) => root.sha256Hex)) : published.roots();
    return roots?.isSubsetOf(namedRoots(candidate)) ?? false;
  };

  /** A replica that has just started knows what was published from the bundle, unless that is of this very pool. */
  const publishedRoots = (candidate: Pool): readonly KnownRoot[] => {
    if (current) return current.roots;
    const mark = published.mark();
    const { sequence, content } = markOf(candidate);
    if (mark?.sequence === sequence && mark.content === content) return [];
    return [...published.rootEnds()].map(([sha256Hex, notAfter]) => ({ sha256Hex, notAfter }));
  };

  const judge = (result: PoolResult, now: Seconds): PoolResult => {
    if (!result.pool) return result;
    const problem =
      sequenceProblem(result.pool, [current && markOf(current), published.mark()]) ??
      // A pool that cannot sign now is taken in only if it loses no root (settle).
      (result.ok ? lostRootsProblem(result.pool, publishedRoots(result.pool), now) : undefined);
    return problem ? { ok: false, problem } : result;
  };

  const settle = (now: Seconds) => {
    latest = read && judge(read, now);
    if (latest?.ok || (latest?.pool && losesNoRoot(latest.pool))) current = latest.pool;
  };

  /** Time passes, and what is published changes, with no event from the Secret. */
  const ripen = (now: Seconds) => {
    if (!latest || latest.ok || !read?.pool) return;
    const before = { latest, current };
    if (!timeProblem(read.pool, now)) read = { ok: true, pool: read.pool };
    settle(now);
    if (latest.ok || current !== before.current || latest.pool !== before.latest.pool) needs.onChange();
  };

  return {
    offer(secret, now) {
      read = parsePool(secret, { trustDomain: needs.trustDomain, now });
      settle(now);
      needs.onChange();
    },
    current: () => current,
    publishable() {
      if (!latest) return { ok: false, problem: unread };
      if (latest.ok) return latest;
      return latest.pool && latest.pool === current ? { ok: true, pool: latest.pool } : latest;
    },
    signable(now) {
      ripen(now);
      if (!latest) return { ok: false, problem: unread };
      if (latest.ok) return signingAuthorityAt(latest.pool, now);
      return latest.pool ? signingAuthorityAt(latest.pool, now) : latest;
    },
    jwtSignable(algorithm, now, propagationSeconds) {
      ripen(now);
      // A CA that has ended is no reason to refuse tokens, as long as the bundles are made of the same pool.
      if (latest?.pool && latest.pool === current) {
        return jwtSigningAt(current, algorithm, now, propagationSeconds);
      }
      return { ok: false, problem: latest?.ok === false ? latest.problem : unread };
    },
  };
}

const unread = poolProblem(
  'PoolMissing',
  'pool',
  'the Secret has not been read yet',
  'wait; if that takes long, check that the signer can reach the API server and may read the Secret',
);
