import type { SigningAuthority } from '../pki/leaf.ts';
import { encodePem } from '../pki/pem.ts';
import type { SubjectKey } from '../pki/spki.ts';
import type { Seconds } from '../pki/time.ts';
import type { SpiffeId } from '../spiffe/id.ts';

export interface LeafPolicy {
  /** Longest lifetime, notBefore to notAfter. */
  readonly maxLifetimeSeconds: number;
  /** How far notBefore lies in the past, for verifiers whose clock is slow; counts towards the lifetime. */
  readonly backdateSeconds: number;
  /** Part of the lifetime after which kubelet is asked to renew, 0 to 1. */
  readonly refreshFraction: number;
  /** Largest part of that time by which a renewal is moved forward at random, so that pods do not renew at once. */
  readonly refreshJitter: number;
}

/** The three times of a PCR's status, whole seconds since the epoch. */
export interface LeafValidity {
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
  readonly beginRefreshAt: Seconds;
}

export interface IssuedLeaf extends LeafValidity {
  /** Leaf, then intermediates; no root. */
  readonly chainPem: string;
  readonly leafDer: Uint8Array;
  /** Lower-case hex. */
  readonly serialHex: string;
}

/** The API server takes no shorter certificate (KEP-4317; validation.go of its certificates API). */
export const minLifetimeSeconds = 3600;
/** beginRefreshAt keeps this distance from both ends (KEP-4317). */
const refreshMarginSeconds = 600;
/** Kubelet begins up to 5 min of its own jitter plus one 2-min pass later than it was asked to. */
const kubeletDelaySeconds = 420;

/**
 * The validity of a leaf. Backdating counts towards the lifetime (notAfter - notBefore <= maxExpirationSeconds),
 * so notAfter follows from notBefore. Neither end lies outside the authority's own validity: a chain that is
 * valid for a part of the time only would fail in the middle of a leaf's life.
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
  const notBefore = Math.max(now - policy.backdateSeconds, input.authorityNotBefore);
  const lifetime = Math.min(policy.maxLifetimeSeconds, input.maxExpirationSeconds);
  const notAfter = Math.min(notBefore + lifetime, input.authorityNotAfter);
  if (notAfter - notBefore < minLifetimeSeconds) return undefined;

  const share = policy.refreshFraction * (1 - policy.refreshJitter * input.jitter);
  const wanted = notBefore + Math.floor((notAfter - notBefore) * share);
  const latest = notAfter - refreshMarginSeconds - kubeletDelaySeconds;
  const beginRefreshAt = Math.max(Math.min(wanted, latest), notBefore + refreshMarginSeconds);
  return { notBefore, notAfter, beginRefreshAt };
}

/**
 * Makes and signs a leaf. With an authority key that signs inline (P-256, Ed25519) the result is there at once,
 * else it is a promise.
 *
 * @param input serial: from `makeSerial`. validity: from `leafValidity` for the same authority.
 */
export function issueLeaf(input: {
  authority: SigningAuthority;
  spiffeId: SpiffeId;
  key: Extract<SubjectKey, { kind: 'supported' }>;
  validity: LeafValidity;
  serial: Uint8Array;
}): IssuedLeaf | Promise<IssuedLeaf> {
  const { authority, validity, serial, key } = input;
  const { template, signer } = authority;
  const tbs = template.build({
    serial,
    notBefore: validity.notBefore,
    notAfter: validity.notAfter,
    spki: key.spki,
    keyId: key.keyId,
    uri: input.spiffeId.uri,
  });
  const finish = (signature: Uint8Array): IssuedLeaf => {
    const leafDer = template.assemble(tbs, signature);
    return {
      ...validity,
      chainPem: encodePem('CERTIFICATE', leafDer) + authority.chainSuffixPem,
      leafDer,
      serialHex: Buffer.from(serial).toString('hex'),
    };
  };
  const signature = signer.sign(tbs);
  return signature instanceof Promise ? signature.then(finish) : finish(signature);
}
