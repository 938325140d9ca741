import type { Seconds } from '../../spiffe/pki/time.ts';
import { type BackoffPolicy, backoffMs } from '../kube/backoff.ts';
import { conditionIn } from '../kube/conditions.ts';
import type { FederationReason } from '../observe/federation-outcomes.ts';
import type { FederatedTrustDomain } from './federated-trust-domain.ts';
import { isStaleAt, secondsOf } from './federation-status.ts';
import { heldBundle } from './foreign-bundle.ts';

/** Why nothing is tried for a resource; undefined where its bundle is fetched or read. */
export type Idle = { readonly reason: FederationReason; readonly detail: string } | undefined;

/** What decides whether an attempt is due, and what was known at the last one. */
export interface Attempted {
  readonly generation: number;
  readonly refreshRequest: string | undefined;
  /** The reason why nothing was tried. */
  readonly idle: FederationReason | undefined;
  /** When the next one is due, in epoch milliseconds. */
  readonly nextAt: number;
  /** From when on it may be made together with others. */
  readonly earliestAt: number;
}

/** The interval where a bundle has no refresh hint, in seconds (SPIFFE Federation 4.1.2). */
const usualHintSeconds = 300;
/** Up to this share of an interval is taken off at random, so that peers are not fetched all at once. */
const jitterShare = 0.05;

/**
 * How long before it is due an attempt is made if another one is due, in milliseconds. Twenty fetches one after another take two
 * thirds of the CPU of twenty by a process that was idle before each.
 */
const togetherMs = 5_000;

/** A change of keys is written to a ClusterTrustBundle, and to a ConfigMap in each namespace that takes roots. */
const mostChangesAtOnce = 10;
const secondsPerChange = 600;

const idleReasons: readonly string[] = [
  'Paused',
  'FederationSpecInvalid',
  'OwnTrustDomain',
  'TrustDomainConflict',
];

/** Why nothing is tried. Pure. @param first the resource that counts for the trust domain. */
export function idleOf(
  resource: FederatedTrustDomain,
  first: FederatedTrustDomain | undefined,
  ownTrustDomain: string,
): Idle {
  const { origin, trustDomain, isSelf } = resource;
  if (isSelf && trustDomain !== ownTrustDomain) {
    const detail = `spec.peerOf is self, and spec.trustDomain is ${trustDomain}, not ${ownTrustDomain}, that of this cluster`;
    return { reason: 'FederationSpecInvalid', detail };
  }
  if (!isSelf && trustDomain === ownTrustDomain) return { reason: 'OwnTrustDomain', detail: trustDomain };
  if (!isSelf && first && first.uid !== resource.uid)
    return { reason: 'TrustDomainConflict', detail: first.name };
  if (!origin.ok) return { reason: 'FederationSpecInvalid', detail: origin.reason };
  return resource.isPaused ? { reason: 'Paused', detail: '' } : undefined;
}

/** The last attempt of any replica, from the status. Pure. */
export function attemptedIn({ status, refresh }: FederatedTrustDomain): Attempted | undefined {
  const { observedGeneration, observedRefresh, nextAttemptTime, lastSuccessTime } = status;
  if (typeof observedGeneration !== 'number') return undefined;
  const reason = conditionIn(status, 'Ready')?.reason;
  const isIdle = typeof reason === 'string' && idleReasons.includes(reason);
  const nextAt = (secondsOf(nextAttemptTime) ?? 0) * 1000;
  const shortestAt = ((secondsOf(lastSuccessTime) ?? 0) + refresh.minSeconds) * 1000;
  return {
    generation: observedGeneration,
    refreshRequest: typeof observedRefresh === 'string' ? observedRefresh : undefined,
    idle: isIdle ? (reason as FederationReason) : undefined,
    nextAt,
    earliestAt: earliestAt(nextAt, reason === 'BundleTaken' ? shortestAt : nextAt),
  };
}

/** Whether the resource has to be looked at now. Pure. @param now epoch milliseconds. */
export function isDue(
  resource: FederatedTrustDomain,
  idle: Idle,
  attempted: Attempted | undefined,
  now: number,
): boolean {
  if (!attempted || attempted.generation !== resource.generation) return true;
  if (attempted.refreshRequest !== resource.refreshRequest || attempted.idle !== idle?.reason) return true;
  if (idle) return idle.reason === 'Paused' && isStaleUnsaid(resource, Math.floor(now / 1000));
  // A clock that was set back must not stop it.
  const longestWaitMs = 2 * resource.refresh.maxSeconds * 1000;
  return now >= attempted.nextAt || attempted.nextAt > now + longestWaitMs;
}

/** Whether a bundle has become stale, and the status does not show it yet. */
function isStaleUnsaid(resource: FederatedTrustDomain, now: Seconds): boolean {
  if (conditionIn(resource.status, 'Stale')?.status === 'True') return false;
  const interval = intervalSeconds(resource, heldBundle(resource, now)?.refreshHintSeconds);
  return isStaleAt(resource.status, interval, now);
}

/** How often the bundle is fetched, in seconds: as its publisher asks, within the bounds of the resource. Pure. */
export function intervalSeconds(
  { refresh, origin }: Pick<FederatedTrustDomain, 'refresh' | 'origin'>,
  hintSeconds: number | undefined,
): number {
  // The document changes with the resource only. It is read again because roots expire.
  if (origin.ok && origin.value.kind === 'document') return refresh.maxSeconds;
  return Math.min(Math.max(hintSeconds ?? usualHintSeconds, refresh.minSeconds), refresh.maxSeconds);
}

/** How long to wait after an attempt, in milliseconds. Pure. @param failures in a row, this one included; 0 for success. */
export function waitMs(interval: number, minSeconds: number, failures: number, jitter: () => number): number {
  if (failures > 0) {
    const policy: BackoffPolicy = {
      baseMs: 2 * minSeconds * 1000,
      maxMs: Math.max(interval, 2 * minSeconds) * 1000,
    };
    return backoffMs(policy, failures - 1, jitter);
  }
  return Math.max(minSeconds, interval * (1 - jitterShare * jitter())) * 1000;
}

/** From when on an attempt may be made together with others, in epoch milliseconds. Pure. @param notBefore bounds it. */
export function earliestAt(nextAt: number, notBefore: number): number {
  return Math.min(nextAt, Math.max(notBefore, nextAt - togetherMs));
}

/**
 * Counts a change of the keys of a peer. Times are in seconds of a clock that never goes back. Pure.
 *
 * @param allowedAgainAt when it may change as often as at first again; 0 for a peer that has not changed.
 */
export function countChange(allowedAgainAt: Seconds, now: Seconds): Seconds {
  return Math.max(allowedAgainAt, now) + secondsPerChange;
}

/** How long a peer is not fetched that has changed so often: ten changes at once are taken, then one in ten minutes. Pure. */
export function pauseMs(allowedAgainAt: Seconds, now: Seconds): number {
  return allowedAgainAt - now >= mostChangesAtOnce * secondsPerChange ? secondsPerChange * 1000 : 0;
}
