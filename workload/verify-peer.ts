import { KubespiffeError } from '../spiffe/errors.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Seconds } from '../spiffe/pki/time.ts';
import { verifyX509Svid, type X509Rule } from '../spiffe/x509-verify.ts';
import { type Authorizer, refusalOf } from './authorize.ts';
import type { TrustBundles } from './trust-bundle.ts';

/** What a peer was refused for: a rule for its certificate chain, what TLS found, or the authorizer. */
export type PeerRule = X509Rule | 'tls' | 'authorizer';

/** A peer was not accepted. Its message names the rule and both IDs. */
export class PeerRefusedError extends KubespiffeError {
  readonly rule: PeerRule;
  /** What the certificate of the peer claims. It is verified only where `rule` is `authorizer`. */
  readonly peerId: string | undefined;
  /** The ID of this workload; undefined where it has none. */
  readonly ownId: string | undefined;

  constructor(rule: PeerRule, reason: string, peerId: string | undefined, ownId: string | undefined) {
    const peer = peerId === undefined ? 'the peer' : `the peer ${peerId}`;
    const own = ownId === undefined ? 'this client has no ID' : `own ID ${ownId}`;
    super('PEER_REFUSED', `${peer} is refused by rule "${rule}": ${reason} (${own})`);
    this.rule = rule;
    this.peerId = peerId;
    this.ownId = ownId;
  }
}

/**
 * Verifies the certificate chain of a peer by the bundle of its trust domain, then asks the authorizer.
 *
 * @param chain DER: the leaf, then the intermediates.
 * @throws PeerRefusedError
 */
export function verifyPeer(
  chain: readonly Uint8Array[],
  expected: {
    readonly bundles: TrustBundles;
    readonly authorizer: Authorizer;
    readonly ownId: string | undefined;
    readonly now: Seconds;
  },
): SpiffeId {
  const { bundles, authorizer, ownId, now } = expected;
  const verdict = verifyX509Svid(chain, (trustDomain) => bundles.get(trustDomain)?.roots, now);
  if (!verdict.ok) throw new PeerRefusedError(verdict.rule, verdict.reason, verdict.claimed, ownId);
  const refusal = refusalOf(authorizer, verdict.id);
  if (refusal !== undefined) throw new PeerRefusedError('authorizer', refusal, verdict.id.uri, ownId);
  return verdict.id;
}
