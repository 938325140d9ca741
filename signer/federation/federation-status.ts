import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { conditionsAfter, type StatusCondition } from '../kube/conditions.ts';
import {
  explainFederation,
  type FederationReason,
  federationOutcomes,
} from '../observe/federation-outcomes.ts';
import type { FederatedTrustDomain } from './federated-trust-domain.ts';
import type { ForeignBundle } from './foreign-bundle.ts';

/** The result of an attempt to get a bundle. */
export type AttemptOutcome =
  /** `text`: as it is kept. `isChanged`: it is another one than before, `hasOtherKeys`: not only by its sequence or hint. */
  | {
      readonly kind: 'taken';
      readonly bundle: ForeignBundle;
      readonly text: string;
      readonly isChanged: boolean;
      readonly hasOtherKeys: boolean;
    }
  /** It is still the one that is in the status, by which `detail` was said of it. */
  | {
      readonly kind: 'confirmed';
      readonly reason: 'BundleTaken';
      readonly detail: string;
      readonly refreshHintSeconds: number | undefined;
    }
  | { readonly kind: 'failed'; readonly reason: FederationReason; readonly detail: string }
  /** Nothing was tried. */
  | { readonly kind: 'idle'; readonly reason: FederationReason; readonly detail: string };

/** The status of a FederatedTrustDomain, as docs/reference/crds.md describes it. In a merge patch, null removes a member. */
export interface FederationStatus {
  readonly observedGeneration: number;
  readonly observedRefresh: string | null;
  readonly conditions: readonly StatusCondition<FederationConditionType>[];
  readonly nextAttemptTime: string | null;
  readonly lastAttemptTime?: string;
  readonly lastSuccessTime?: string;
  readonly bundleGeneration?: number;
  readonly sequence?: number | null;
  readonly x509Keys?: number;
  readonly jwtKeys?: number;
  readonly firstExpiryTime?: string | null;
  readonly clusterTrustBundle?: string | null;
  readonly bundle?: string;
}

type FederationConditionType = 'Ready' | 'Stale' | 'BundleInvalid' | 'Unreachable';

/** A bundle that was not confirmed for so many refresh intervals is stale. */
const staleIntervals = 3;

/**
 * What is to be in the status after an attempt. Members that stay are left out, such as the last good bundle after a
 * failure. Pure.
 */
export function federationStatus(
  resource: FederatedTrustDomain,
  outcome: AttemptOutcome,
  at: {
    readonly now: Seconds;
    /** Undefined where nothing is tried. */
    readonly next: Seconds | undefined;
    readonly intervalSeconds: number;
    /** The ClusterTrustBundle in which the roots are published. */
    readonly clusterTrustBundle: string;
    /** Whether all roots of the bundle that is in the status have expired. */
    readonly haveHeldExpired?: boolean | undefined;
    /** Whether it changes so often that it is fetched less often. */
    readonly isPausing?: boolean;
  },
): FederationStatus {
  const { generation, status } = resource;
  const nowText = rfc3339(at.now);
  const isSuccess = outcome.kind === 'taken' || outcome.kind === 'confirmed';
  const lastSuccess = isSuccess ? at.now : secondsOf(status.lastSuccessTime);
  const isUsable = isSuccess || (typeof status.bundle === 'string' && !at.haveHeldExpired);
  const isConfirming = outcome.kind !== 'idle' || outcome.reason === 'Paused';
  const isStale = !isSuccess && isConfirming && isStaleAt(status, at.intervalSeconds, at.now);
  const condition = conditionsAfter<FederationConditionType>(status, generation, nowText);
  const [reason, text] = said(outcome, isUsable);
  const message = at.isPausing ? `${text} ${pausing}` : text;
  const isReady = isUsable && !isStale && isConfirming;
  const held = isStale ? 'BundleStale' : 'BundleHeld';
  const raised = outcome.kind === 'failed' ? federationOutcomes[outcome.reason].condition : 'none';
  const confirmed = lastSuccess === undefined ? 'never' : `last at ${rfc3339(lastSuccess)}`;
  return {
    observedGeneration: generation,
    observedRefresh: resource.refreshRequest ?? null,
    conditions: [
      outcome.kind === 'failed' && isUsable
        ? condition('Ready', isReady, held, explainFederation(held, message))
        : condition('Ready', isReady, reason, message),
      condition(
        'Stale',
        isStale,
        isStale ? 'BundleStale' : 'Fresh',
        `The bundle was confirmed ${confirmed}.`,
      ),
      raised === 'BundleInvalid'
        ? condition('BundleInvalid', true, reason, message)
        : condition('BundleInvalid', false, 'Valid', 'No bundle was refused at the last attempt.'),
      raised === 'Unreachable'
        ? condition('Unreachable', true, reason, message)
        : condition(
            'Unreachable',
            false,
            'Reachable',
            'The endpoint answered at the last attempt, or was not needed.',
          ),
    ],
    nextAttemptTime: at.next === undefined ? null : rfc3339(at.next),
    ...(outcome.kind !== 'idle' && { lastAttemptTime: nowText }),
    ...(outcome.kind === 'taken' && ofBundle(outcome, at.clusterTrustBundle)),
    ...(isSuccess && { lastSuccessTime: nowText, bundleGeneration: generation }),
  };
}

/** Whether a bundle is held that was not confirmed for three intervals. Pure. */
export function isStaleAt(
  { bundle, lastSuccessTime }: FederatedTrustDomain['status'],
  intervalSeconds: number,
  now: Seconds,
): boolean {
  const last = secondsOf(lastSuccessTime) ?? Number.NEGATIVE_INFINITY;
  return typeof bundle === 'string' && now - last > staleIntervals * intervalSeconds;
}

const pausing = 'Its keys change so often that it is fetched every 10 minutes at most.';

function said(outcome: AttemptOutcome, isUsable: boolean): [reason: FederationReason, message: string] {
  if (outcome.kind === 'taken')
    return ['BundleTaken', explainFederation('BundleTaken', heldDetail(outcome.bundle))];
  const { reason } = outcome;
  if (reason === 'Paused') {
    return [
      reason,
      explainFederation(
        reason,
        isUsable ? 'The bundle that was taken last stays' : 'No bundle is held that can be used',
      ),
    ];
  }
  return [reason, explainFederation(reason, outcome.detail)];
}

/** What the condition says of a bundle that is held. */
export function heldDetail({ sequence, roots, jwtKeys, ignored }: ForeignBundle): string {
  const numbered = sequence === undefined ? 'without a sequence' : `sequence ${sequence}`;
  const left = ignored.length === 0 ? '' : `; left out: ${ignored.slice(0, 3).join('; ')}`;
  return `held: ${numbered}, X.509 roots: ${roots.length}, JWT keys: ${jwtKeys.size}${left}`;
}

function ofBundle({ bundle, text }: Extract<AttemptOutcome, { kind: 'taken' }>, clusterTrustBundle: string) {
  const { roots } = bundle;
  const first = Math.min(...roots.map(({ notAfter }) => notAfter));
  return {
    sequence: bundle.sequence ?? null,
    x509Keys: roots.length,
    jwtKeys: bundle.jwtKeys.size,
    firstExpiryTime: roots.length > 0 ? rfc3339(first) : null,
    clusterTrustBundle: roots.length > 0 ? clusterTrustBundle : null,
    bundle: text,
  };
}

/** Seconds since the epoch of an RFC 3339 time; undefined for anything else. */
export function secondsOf(value: unknown): Seconds | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
}
