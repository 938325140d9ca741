import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { encodePem } from '../spiffe/pki/pem.ts';
import type { TrustBundles } from './trust-bundle.ts';
import type { X509Svid } from './x509-svid.ts';

/**
 * What a TLS connection is made with. With bundles, OpenSSL verifies the chain of the peer by the roots of all trust
 * domains, beside `verifyPeer`, which does so by those of its own trust domain.
 */
export function contextOptions(
  svid: X509Svid | undefined,
  bundles: TrustBundles | undefined,
): SecureContextOptions & { readonly allowPartialTrustChain: boolean } {
  const roots = [...(bundles?.values() ?? [])].flatMap((bundle) => bundle.roots);
  return {
    ...(svid && { key: svid.privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: svid.chainPem }),
    ca: roots.map(({ der }) => encodePem('CERTIFICATE', der)),
    minVersion: 'TLSv1.2',
    // A root in a bundle may itself be signed by another CA (X509-SVID 6.1).
    allowPartialTrustChain: true,
    // A resumed session would skip the certificate of the peer.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
