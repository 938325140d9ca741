import type { Seconds } from '../../spiffe/pki/time.ts';
import { leafNotBefore, type Validity } from '../authority/issue-leaf.ts';
import { minCertificateSeconds } from '../kube/types.ts';

export interface LeafPolicy {
  /** Maximum lifetime, notBefore to notAfter. */
  readonly maxLifetimeSeconds: number;
  /** Part of the lifetime after which kubelet is asked to renew, 0 to 1. */
  readonly refreshFraction: number;
  /** Largest part of that time by which a renewal is moved forward at random, so that pods do not renew at once. */
  readonly refreshJitter: number;
}

/** The three times of a PCR's status, whole seconds since the epoch. */
export interface LeafValidity extends Validity {
  readonly beginRefreshAt: Seconds;
}

/** The refreshJitter of every signer. */
export const refreshJitter = 0.1;
/** beginRefreshAt keeps this distance from both ends (KEP-4317). */
const refreshMarginSeconds = 600;
/** Kubelet begins up to 5 min of its own jitter plus one 2-min pass later than it was asked to. */
const kubeletDelaySeconds = 420;

/**
 * The validity of a leaf. Backdating counts towards the lifetime (notAfter - notBefore <= maxExpirationSeconds),
 * so notAfter follows from notBefore. Neither end lies outside the authority's own validity: a chain that is
 * valid for a part of the time only would fail in the middle of a leaf's lifetime.
 *
 * Returns undefined where the authority is not valid yet, or less than an hour can be given: the API server
 * would refuse the certificate, so the caller waits for another authority.
 *
 * @param input jitter: a random number in [0, 1).
 */
export function leafValidity(input: {
  now: Seconds;
  maxExpirationSeconds: number;
  policy: LeafPolicy;
  authorityNotBefore: Seconds;
  authorityNotAfter: Seconds;
  jitter: number;
}): LeafValidity | undefined {
  const { policy } = input;
  const now = Math.floor(input.now);
  if (now < input.authorityNotBefore) return undefined;
  const notBefore = leafNotBefore(now, input.authorityNotBefore);
  const lifetime = Math.min(policy.maxLifetimeSeconds, input.maxExpirationSeconds);
  const notAfter = Math.min(notBefore + lifetime, input.authorityNotAfter);
  if (notAfter - notBefore < minCertificateSeconds) return undefined;

  const share = policy.refreshFraction * (1 - policy.refreshJitter * input.jitter);
  const wanted = notBefore + Math.floor((notAfter - notBefore) * share);
  const latest = notAfter - refreshMarginSeconds - kubeletDelaySeconds;
  const beginRefreshAt = Math.max(Math.min(wanted, latest), notBefore + refreshMarginSeconds);
  return { notBefore, notAfter, beginRefreshAt };
}
