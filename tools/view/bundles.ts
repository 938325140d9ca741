import { X509Certificate } from 'node:crypto';
import type { ClusterTrustBundle } from '../../signer/kube/types.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { certificatesIn } from '../cluster-roots.ts';
import { nameText } from '../output.ts';

/** A root that verifiers in the cluster have. Times are RFC 3339. */
export interface RootView {
  readonly subject: string;
  readonly sha256: string;
  readonly notBefore: string;
  readonly notAfter: string;
}

/** A ClusterTrustBundle of a signer. */
export interface BundleView {
  readonly name: string;
  readonly signer: string;
  /** `preview` is for pods that select it. */
  readonly canarying: string;
  /** Label of the trust domain that its roots verify; null for roots of no trust domain. */
  readonly peer: string | null;
  readonly roots: readonly RootView[];
}

/** What the bundles hold. Whoever wrote the labels, they are shown as text. Pure. */
export function bundlesIn(bundles: readonly ClusterTrustBundle[]): BundleView[] {
  return bundles
    .map(({ metadata: { name, labels = {} }, spec }) => ({
      name,
      signer: spec.signerName ?? '',
      canarying: labels['k8s.spiffe.io/canarying'] ?? labels['kubespiffe.io/canarying'] ?? 'live',
      peer: labels['k8s.spiffe.io/peer-trust-domain'] ?? null,
      roots: certificatesIn(spec.trustBundle).map(({ der, sha256Hex, notBefore, notAfter }) => ({
        subject: nameText(new X509Certificate(der).subject),
        sha256: sha256Hex,
        notBefore: rfc3339(notBefore),
        notAfter: rfc3339(notAfter),
      })),
    }))
    .sort((one, other) => one.name.localeCompare(other.name));
}
