import type { ClusterTrustBundle } from '../../signer/kube/types.ts';
import { type CertificateView, certificateViews } from './certificates.ts';

/** A ClusterTrustBundle of a signer. */
export interface BundleView {
  readonly name: string;
  readonly signer: string;
  /** `preview` is for pods that select it. */
  readonly canarying: string;
  /** Label of the trust domain that its roots verify; null for roots of no trust domain. */
  readonly peer: string | null;
  readonly roots: readonly CertificateView[];
}

/** What the bundles hold. Labels are shown as they are, and decide nothing. Pure. */
export function bundlesIn(bundles: readonly ClusterTrustBundle[]): BundleView[] {
  return bundles
    .map(({ metadata: { name, labels = {} }, spec }) => ({
      ...{ name, signer: spec.signerName ?? '', roots: certificateViews(spec.trustBundle) },
      canarying: labels['k8s.spiffe.io/canarying'] ?? labels['kubespiffe.io/canarying'] ?? 'live',
      peer: labels['k8s.spiffe.io/peer-trust-domain'] ?? null,
    }))
    .sort((one, other) => one.name.localeCompare(other.name));
}
