import { hash } from 'node:crypto';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Seconds } from '../spiffe/pki/time.ts';
import { verifyX509Svid } from '../spiffe/x509-verify.ts';
import type { Authorizer } from './authorize.ts';
import { refusalOf } from './authorizer.ts';
import { PeerRefusedError } from './peer-refused.ts';
import type { TrustBundles } from './trust-bundle.ts';

/** What a peer is verified by. All of it is read at each connection. */
export interface Expectations {
  readonly bundles: TrustBundles;
  readonly authorizer: Authorizer;
  readonly ownId: string | undefined;
}

/**
 * Verifies a peer.
 *
 * @param leaf DER. others: the intermediates that the peer sent, DER; asked for only where they are needed.
 * @throws PeerRefusedError
 */
export type VerifyPeer = (leaf: Uint8Array | undefined, others: () => readonly Uint8Array[]) => SpiffeId;

/** How many leaves are remembered. */
const maxVerified = 1_000;

/**
 * Makes what verifies the certificate chain of peers by the bundle of their trust domain, and then asks the authorizer. A
 * leaf that was verified is remembered while the bundles and the dates of all certificates on its path allow it; the
 * authorizer is always asked.
 *
 * @param now seconds since the epoch.
 */
export function createPeerVerifier(
  expectations: () => Expectations,
  now: () => Seconds = () => Math.floor(Date.now() / 1000),
): VerifyPeer {
  let verified = new Map<string, { id: SpiffeId; notBefore: Seconds; notAfter: Seconds }>();
  let verifiedBy: TrustBundles | undefined;

  const verify = (
    leaf: Uint8Array,
    others: () => readonly Uint8Array[],
    expected: Expectations,
  ): SpiffeId => {
    const { bundles, ownId } = expected;
    if (bundles !== verifiedBy) verified = new Map();
    verifiedBy = bundles;
    const fingerprint = hash('sha256', leaf, 'base64');
    const known = verified.get(fingerprint);
    if (known && known.notBefore <= now() && now() <= known.notAfter) return known.id;
    const verdict = verifyX509Svid([leaf, ...others()], (name) => bundles.get(name)?.roots, now());
    if (!verdict.ok) throw new PeerRefusedError(verdict.rule, verdict.reason, verdict.claimed, ownId);
    const { id, path } = verdict;
    const [oldest] = verified.keys();
    if (verified.size >= maxVerified && oldest !== undefined) verified.delete(oldest);
    const notBefore = Math.max(...path.map((one) => one.notBefore));
    verified.set(fingerprint, { id, notBefore, notAfter: Math.min(...path.map((one) => one.notAfter)) });
    return id;
  };

  return (leaf, others) => {
    const expected = expectations();
    const { authorizer, ownId } = expected;
    if (!leaf) throw new PeerRefusedError('certificate', 'it has no certificate', undefined, ownId);
    const id = verify(leaf, others, expected);
    const refusal = refusalOf(authorizer, id);
    if (refusal !== undefined) throw new PeerRefusedError('authorizer', refusal, id.uri, ownId);
    return id;
  };
}
