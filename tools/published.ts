import { ApiStatusError, isPlain404 } from '../signer/kube/api-error.ts';
import type { Transport } from '../signer/kube/transport.ts';
import { type ClusterTrustBundle, certificatesVersions } from '../signer/kube/types.ts';
import { markIn, toObservedBundle } from '../signer/trust/bundle.ts';
import { bundleLabels } from '../signer/trust/labels.ts';
import { type CertificateFacts, readCertificate } from '../spiffe/pki/certificate.ts';
import { decodePem } from '../spiffe/pki/pem.ts';

const signerName = 'kubespiffe.io/spiffe';

/** The roots of a trust domain that verifiers in the cluster have. */
export interface PublishedRoots {
  readonly roots: readonly CertificateFacts[];
  /** The highest sequence that is shown beside them; 0 for none. */
  readonly sequence: number;
  /** Why they could not be read; undefined where they were. */
  readonly unread?: string;
}

/** Reads the ClusterTrustBundles of our signer for a trust domain. */
export async function readPublished(
  api: Transport,
  trustDomain: string | undefined,
): Promise<PublishedRoots> {
  if (trustDomain === undefined) {
    const unread = 'a pool without a trust domain does not say which ClusterTrustBundles are made from it';
    return { roots: [], sequence: 0, unread };
  }
  const labelSelector = Object.entries(bundleLabels(trustDomain))
    .filter(([key]) => key !== 'k8s.spiffe.io/canarying')
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  try {
    for (const version of certificatesVersions) {
      const bundles = await list<ClusterTrustBundle>(api, {
        path: `/apis/certificates.k8s.io/${version}/clustertrustbundles`,
        resource: 'clustertrustbundles',
        query: { labelSelector, fieldSelector: `spec.signerName=${signerName}` },
      });
      if (!bundles) continue;
      const marks = bundles.map((each) => markIn(toObservedBundle(each), trustDomain)?.sequence ?? 0);
      const roots = bundles.flatMap(({ spec }) => certificatesIn(spec.trustBundle));
      return { roots: distinct(roots), sequence: Math.max(0, ...marks) };
    }
    // Tenants can write the ConfigMaps with roots: a root from there must never get into a pool.
    return { roots: [], sequence: 0, unread: 'the API server serves no ClusterTrustBundles' };
  } catch (error) {
    if (error instanceof ApiStatusError && error.status === 403) {
      return { roots: [], sequence: 0, unread: error.message };
    }
    throw error;
  }
}

/** @returns undefined where the API server does not serve it. */
async function list<T>(
  api: Transport,
  call: { path: string; resource: string; query: Record<string, string> },
): Promise<readonly T[] | undefined> {
  try {
    return (await api.request<{ items: T[] }>({ ...call, method: 'GET' })).body.items;
  } catch (error) {
    if (isPlain404(error)) return undefined;
    throw error;
  }
}

function certificatesIn(pem: string): CertificateFacts[] {
  const blocks = decodePem(pem);
  const read = blocks.ok ? blocks.value.map(({ der }) => readCertificate(der)) : [];
  return read.flatMap((each) => (each.ok ? [each.value] : []));
}

function distinct(roots: readonly CertificateFacts[]): CertificateFacts[] {
  return [...new Map(roots.map((root) => [root.sha256Hex, root])).values()];
}
