import type { Command } from 'commander';
import { ApiStatusError, isPlain404 } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { type ClusterTrustBundle, certificatesVersions } from '../../signer/kube/types.ts';
import { serviceDns } from '../../signer/signers/service-dns.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import { addedAtIn, keysIn } from '../../signer/trust/added-at.ts';
import { bundleName, markIn, toObservedBundle } from '../../signer/trust/bundle.ts';
import { bundleLabels, type Canarying } from '../../signer/trust/labels.ts';
import { type CertificateFacts, readableCertificates } from '../../spiffe/pki/certificate.ts';
import { subjectText } from '../output.ts';

/** The roots of a trust domain, or of the signer service-dns, that verifiers in the cluster have. */
export interface ClusterRoots {
  readonly roots: readonly CertificateFacts[];
  /** SHA-256 of each in hex; undefined where they could not be read. */
  readonly fingerprints: ReadonlySet<string> | undefined;
  /** Since when the bundle shows each root (by SHA-256), and replicas serve each JWT key (by `kid`). Seconds since the epoch. */
  readonly addedAt: (now: number) => ReadonlyMap<string, number>;
  /** The JWT keys of the pool that the bundle was made from, by `kid`. */
  readonly kids: (now: number) => ReadonlySet<string>;
  /** The sequence that stands beside them; 0 for none. */
  readonly sequence: number;
  /** Why roots may have been missed, for people. */
  readonly warnings: readonly string[];
}

export function withBundleSuffix(command: Command): Command {
  return command.option(
    '--bundle-suffix <suffix>',
    'The setting bundleSuffix of the signer: which ClusterTrustBundle has the roots that are published.',
    'roots',
  );
}

/**
 * Reads the live ClusterTrustBundle of our signer, or the one for previews. It is found by its name, which only the signer may write: labels can be
 * on any bundle, and a root from there must not get into a pool.
 */
export async function readClusterRoots(
  api: Transport,
  trustDomain: string | undefined,
  suffix: string,
  canarying: Canarying = 'live',
): Promise<ClusterRoots> {
  // service-dns is the only profile without a trust domain.
  const { signerName } = trustDomain === undefined ? serviceDns : spiffe;
  const name = bundleName(signerName, suffix, canarying);
  const labels = Object.entries(bundleLabels(trustDomain, canarying));
  const labelSelector = labels.map(([key, value]) => `${key}=${value}`).join(',');
  const query = { labelSelector, fieldSelector: `spec.signerName=${signerName}` };
  try {
    const bundles = await listBundles(api, query);
    // Tenants can write the ConfigMaps with roots: a root from there must never get into a pool.
    if (!bundles) return unread('the API server serves no ClusterTrustBundles');
    const bundle = bundles.find(({ metadata }) => metadata.name === name);
    if (!bundle) return { ...nothing, fingerprints: new Set(), warnings: others(name, bundles) };
    const observed = toObservedBundle(bundle);
    const roots = readableCertificates(bundle.spec.trustBundle);
    return {
      roots,
      fingerprints: new Set(roots.map(({ sha256Hex }) => sha256Hex)),
      addedAt: (now) => addedAtIn(observed, now),
      kids: (now) => keysIn(observed, now),
      sequence: markIn(observed, trustDomain)?.sequence ?? 0,
      warnings: [],
    };
  } catch (error) {
    if (error instanceof ApiStatusError && error.status === 403) return unread(error.message);
    throw error;
  }
}

const nothing: Omit<ClusterRoots, 'warnings'> = {
  ...{ roots: [], fingerprints: undefined, sequence: 0 },
  addedAt: () => new Map(),
  kids: () => new Set(),
};

function unread(why: string): ClusterRoots {
  const warning = `it was not checked which roots are published (${why}); signers refuse a pool that lacks one of them`;
  return { ...nothing, warnings: [warning] };
}

function others(name: string, bundles: readonly ClusterTrustBundle[]): string[] {
  if (bundles.length === 0) return [];
  const found = bundles.map(({ metadata }) => metadata.name).join(', ');
  return [
    `there is no ClusterTrustBundle ${name}, and ${found} is not read; if that is the one of the signer, give its setting ` +
      'bundleSuffix with --bundle-suffix',
  ];
}

/** @returns undefined where the API server serves none. */
async function listBundles(
  api: Transport,
  query: Record<string, string>,
): Promise<readonly ClusterTrustBundle[] | undefined> {
  for (const version of certificatesVersions) {
    const path = `/apis/certificates.k8s.io/${version}/clustertrustbundles`;
    const call = { method: 'GET', path, query, resource: 'clustertrustbundles' } as const;
    try {
      return (await api.request<{ items: ClusterTrustBundle[] }>(call)).body.items;
    } catch (error) {
      if (!isPlain404(error)) throw error;
    }
  }
  return undefined;
}

/** Some roots in words: enough to recognise each, and to name it with --drop-authority. */
export function describeRoots(roots: readonly CertificateFacts[]): string {
  return roots.map((root) => `SHA-256 ${root.sha256Hex} (${subjectText(root) || 'no subject'})`).join(', ');
}
