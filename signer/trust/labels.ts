import { hash } from 'node:crypto';

/** The label and value that mark an object as ours. */
export const managedBy = { key: 'app.kubernetes.io/managed-by', value: 'kubespiffe' } as const;

/** What Kubernetes allows as the value of a label (apimachinery validation, IsValidLabelValue). */
const labelValue = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;

const hashed = 'sha256-';

/**
 * A trust domain as the value of a label. Trust domains may be longer than 63 characters and may begin or end
 * with `-`, `_` or `.`, which labels may not. Then the value is `sha256-` and the first 40 hex digits of the
 * SHA-256 of the name, so that a labelSelector can still be written by hand (docs/reference/trust-bundles.md). So is a name that
 * begins with `sha256-`, or it could be chosen to have the label of another one.
 */
export function trustDomainLabel(trustDomain: string): string {
  if (labelValue.test(trustDomain) && !trustDomain.startsWith(hashed)) return trustDomain;
  return `${hashed}${hash('sha256', trustDomain, 'hex').slice(0, 40)}`;
}

/** Live bundles are for every pod. The preview bundle has the next roots early, for pods that select it. */
export type Canarying = 'live' | 'preview';

/**
 * The labels of published roots: ours, and those of the SPIFFE filesystem-delivery draft (appendix B), by
 * which a pod's projection selects the ClusterTrustBundle of one peer trust domain. Roots without a trust domain are not
 * SPIFFE roots, so their label `canarying` is ours.
 *
 * @param trustDomain of the pods that use the roots.
 * @param peer the trust domain that the roots verify.
 */
export function bundleLabels(
  trustDomain: string | undefined,
  canarying: Canarying = 'live',
  peer = trustDomain,
): Record<string, string> {
  return {
    [managedBy.key]: managedBy.value,
    ...(trustDomain === undefined && { 'kubespiffe.io/canarying': canarying }),
    ...(trustDomain !== undefined &&
      peer !== undefined && {
        'k8s.spiffe.io/canarying': canarying,
        'k8s.spiffe.io/workload-trust-domain': trustDomainLabel(trustDomain),
        'k8s.spiffe.io/peer-trust-domain': trustDomainLabel(peer),
      }),
  };
}

/** The keys of these labels. */
export const bundleLabelKeys: readonly string[] = Object.keys(bundleLabels(''));
