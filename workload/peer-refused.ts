import { KubespiffeError } from '../spiffe/errors.ts';
import type { X509Rule } from '../spiffe/x509-verify.ts';

/** What a peer was refused for: a rule for its certificate chain, what TLS found, or the authorizer. */
export type PeerRule = X509Rule | 'tls' | 'authorizer';

/**
 * A peer was not accepted. Its message names the rule and both IDs.
 *
 * @example
 * ```js
 * import { exactly } from 'kubespiffe/authorize';
 * import { PeerRefusedError } from 'kubespiffe/peer-refused';
 * import { createTlsClient } from 'kubespiffe/tls-client';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const client = createTlsClient({ source, authorize: exactly('spiffe://example.org/ns/shop/sa/db') });
 * client.connect({ host: 'localhost', port: 8443 }).on('error', (error) => {
 *   if (error instanceof PeerRefusedError) console.error(`${error.peerId} is refused by ${error.rule}`);
 *   else console.error(error.message);
 * });
 * ```
 */
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
