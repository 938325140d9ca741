import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import type { KeysByRef } from '../keys/remote-keys.ts';
import type { Secret } from '../kube/types.ts';
import { type KnownRoot, lostRootsProblem } from './lost-roots.ts';
import { type JwtSignable, jwtSigningAt, type Signable, signingAuthorityAt } from './may-sign.ts';
import { type Pool, type PoolResult, parsePool, timeProblem } from './pool.ts';
import { poolProblem, type Refusable } from './problem.ts';
import { markOf, type PoolMark, sequenceProblem } from './sequence.ts';

/**
 * The last good pool beside what the Secret says now.
 *
 * A pool that is missing or unreadable does not replace the last good one, so that no bundle loses a root by a mistake.
 * Nothing is signed while the pool is in this state, because it is unknown what the operator wants signed. The same holds
 * for a pool whose sequence is not raised, and for one that does not name a root that was published. A pool that cannot
 * sign for reasons of time does replace the last good one: otherwise no new root could be published in the old CA's last
 * hour. A replica that has just started compares with the published bundle instead of the last good pool.
 */
export interface PoolHolder {
  /** Receives the Secret as it is now; undefined when there is none. */
  offer(secret: Secret | undefined, now: Seconds): void;
  /** The last good pool. */
  current(): Pool | undefined;
  signable(now: Seconds): Signable;
  /** The key that signs JWT-SVIDs, of those that have been published for so many seconds. */
  jwtSignable(algorithm: JwtSigningAlgorithm, now: Seconds, propagationSeconds: number): JwtSignable;
  /** What the bundles may be made from, as long as it is what the Secret says now; else what is wrong with it. */
  publishable(): Refusable<{ pool: Pool }>;
}

/** What any replica published last, as the ClusterTrustBundle shows it. ConfigMaps do not count: tenants can write them. */
export interface LastPublished {
  /** The mark of the pool that the bundle was made of; undefined if it has none. */
  mark(): PoolMark | undefined;
  /** When each root of the bundle ends, by its SHA-256: empty without a bundle, undefined while that is not known. */
  rootEnds(): ReadonlyMap<string, Seconds> | undefined;
}

export interface PoolHolderNeeds {
  /** Undefined: a pool of no trust domain. */
  readonly trustDomain: string | undefined;
  readonly published: LastPublished;
  /** How long a root must be published before anything is signed under it. */
  readonly rootPropagationSeconds: number;
  /** The keys outside of the pool; without it they sign nothing. */
  readonly keysByRef?: KeysByRef;
  /** Called when the answer of current() or signable() may have changed. */
  readonly onChange: () => void;
}

export function createPoolHolder(needs: PoolHolderNeeds): PoolHolder {
  const { published } = needs;
  let current: Pool | undefined;
  /** The Secret by itself. */
  let read: PoolResult | undefined;
  /** The same, compared with what was published. */
  let latest: PoolResult | undefined;

  /** A replica that has just started knows what was published from the bundle, unless that is of this very pool. */
  const publishedRoots = (candidate: Pool): readonly KnownRoot[] => {
    if (current) return current.roots;
    const mark = published.mark();
    const { sequence, content } = markOf(candidate);
    if (mark?.sequence === sequence && mark.content === content) return [];
    return [...(published.rootEnds() ?? [])].map(([sha256Hex, notAfter]) => ({ sha256Hex, notAfter }));
  };

  const judge = (result: PoolResult, now: Seconds): PoolResult => {
    if (!result.pool) return result;
    const unraised = sequenceProblem(result.pool, [current && markOf(current), published.mark()]);
    if (unraised) return { ok: false, problem: unraised };
    // Where the times are wrong the clock may be: then no root counts as ended.
    const endedBefore = result.ok ? now : Number.NEGATIVE_INFINITY;
    const lost = lostRootsProblem(result.pool, publishedRoots(result.pool), endedBefore);
    return lost ? { ok: false, problem: result.ok ? lost : result.problem } : result;
  };

  const settle = (now: Seconds) => {
    latest = read && judge(read, now);
    // A pool that cannot sign is in no hurry: it waits until it is known what it must not lose.
    const isKnown = current !== undefined || published.rootEnds() !== undefined;
    if (latest?.pool && (latest.ok || isKnown)) current = latest.pool;
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
      read = parsePool(secret, { ...needs, now });
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
      const signingOf = (pool: Pool) => signingAuthorityAt(pool, now, needs.rootPropagationSeconds);
      if (latest.ok) return signingOf(latest.pool);
      return latest.pool ? signingOf(latest.pool) : latest;
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
