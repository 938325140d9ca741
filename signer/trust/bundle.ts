import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { poolLimits } from '../authority/document.ts';
import type { PoolMark } from '../authority/sequence.ts';
import type { InformerSpec } from '../kube/informer.ts';
import { clusterTrustBundles } from '../kube/resources.ts';
import { type CertificatesVersion, type ClusterTrustBundle, metadataFields } from '../kube/types.ts';
import { endsIn, fingerprintsOf } from './fingerprints.ts';
import { bundleLabels, type Canarying, trustDomainLabel } from './labels.ts';

/** A desired ClusterTrustBundle. */
export interface DesiredBundle {
  readonly name: string;
  readonly signerName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Identifies what it is made from. */
  readonly annotations: Readonly<Record<string, string>>;
  /** PEM of the roots, in the order of the pool. */
  readonly trustBundle: string;
  /** SHA-256 of each root's DER in hex. */
  readonly roots: ReadonlySet<string>;
  /** Further annotations, by the bundle in whose place it comes. A difference in these alone is not repaired. */
  readonly annotationsAfter?: (before: ObservedBundle | undefined) => Readonly<Record<string, string>>;
}

/** The API server's limit (validation.go, ValidateClusterTrustBundle): 1 MiB of PEM. */
const maxBundleBytes = 1024 * 1024;

/** How two annotations of a bundle record a mark. */
export const markAnnotations = (keys: { readonly [Part in keyof PoolMark]: string }) => ({
  annotationsOf: ({ sequence, content }: PoolMark): Record<string, string> => ({
    [keys.sequence]: String(sequence),
    [keys.content]: content,
  }),
  /** A sequence that no pool can exceed is ignored: it would make every later pool invalid. */
  read(observed: ObservedBundle | undefined): PoolMark | undefined {
    const { [keys.sequence]: text = '', [keys.content]: content = '' } = observed?.annotations ?? {};
    const sequence = /^\d{1,15}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
    return sequence < poolLimits.sequence && content !== '' ? { sequence, content } : undefined;
  },
});

/** Identifies the pool of the roots, for replicas that have not seen that pool. */
const poolMark = markAnnotations({
  sequence: 'kubespiffe.io/sequence',
  content: 'kubespiffe.io/content-sha256',
});

/** The name of a signer-linked ClusterTrustBundle: the signer name with `:` for `/`, then the suffix. */
export function bundleName(signerName: string, suffix: string, canarying: Canarying = 'live'): string {
  return `${signerName.replace('/', ':')}:${suffix}${canarying === 'live' ? '' : '-preview'}`;
}

/**
 * A bundle of a pool's roots. The API server's rules are checked first, so that the error is ours and nothing invalid
 * is sent. An empty pool yields no bundle: a bundle is never emptied.
 */
export function desiredBundle(input: {
  readonly signerName: string;
  readonly suffix: string;
  readonly trustDomain: string | undefined;
  readonly canarying: Canarying;
  readonly roots: readonly CertificateFacts[];
  readonly mark: PoolMark;
  /** Further annotations. */
  readonly more?: Readonly<Record<string, string>>;
}): Result<DesiredBundle> {
  const pem = trustBundleOf(input.roots);
  if (!pem.ok) return pem;
  return success({
    name: bundleName(input.signerName, input.suffix, input.canarying),
    signerName: input.signerName,
    labels: bundleLabels(input.trustDomain, input.canarying),
    annotations: { ...poolMark.annotationsOf(input.mark), ...input.more },
    ...pem.value,
  });
}

/** The content of a bundle: each root once, in this order. */
export function trustBundleOf(
  certificates: readonly CertificateFacts[],
): Result<Pick<DesiredBundle, 'trustBundle' | 'roots'>> {
  const roots = new Map(certificates.map((root) => [root.sha256Hex, root]));
  if (roots.size === 0) return failure('there is no root to publish');
  for (const root of roots.values()) {
    if (!root.isCa) return failure(`the root with SHA-256 ${root.sha256Hex} is not a CA certificate`);
  }
  const trustBundle = certificatesPem(roots.values());
  if (trustBundle.length > maxBundleBytes) {
    return failure(`the roots take ${trustBundle.length} bytes of PEM; a ClusterTrustBundle holds 1 MiB`);
  }
  return success({ trustBundle, roots: new Set(roots.keys()) });
}

/** What we keep of a ClusterTrustBundle that the watch shows. */
export interface ObservedBundle {
  readonly name: string;
  readonly resourceVersion: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** SHA-256 of each certificate's DER in hex. */
  readonly roots: ReadonlySet<string>;
  /** notAfter of each, by its SHA-256. */
  readonly ends: ReadonlyMap<string, Seconds>;
}

/** Projects a bundle of the API server to what we keep of it. */
export function toObservedBundle(wire: ClusterTrustBundle): ObservedBundle {
  return {
    name: wire.metadata.name,
    resourceVersion: wire.metadata.resourceVersion,
    labels: wire.metadata.labels ?? {},
    annotations: wire.metadata.annotations ?? {},
    roots: fingerprintsOf(wire.spec.trustBundle),
    ends: endsIn(wire.spec.trustBundle),
  };
}

/** The bundles of one signer name. */
export function bundlesOf(
  signerName: string,
): InformerSpec<ClusterTrustBundle, ObservedBundle, CertificatesVersion> {
  return {
    resource: clusterTrustBundles,
    fieldSelector: `spec.signerName=${signerName}`,
    fields: {
      metadata: { ...metadataFields, labels: true, annotations: true },
      spec: { trustBundle: true },
    },
    project: toObservedBundle,
  };
}

/** How an observed bundle differs from the desired one, in words; undefined when it does not. */
export function differenceOf(
  desired: DesiredBundle,
  observed: ObservedBundle | undefined,
): string | undefined {
  if (!observed) return 'the bundle is missing';
  const missing = desired.roots.difference(observed.roots).size;
  if (missing > 0) return `${missing} of ${desired.roots.size} roots are missing`;
  const foreign = observed.roots.difference(desired.roots).size;
  if (foreign > 0) return `${foreign} certificates are not roots of the pool`;
  for (const kind of ['label', 'annotation'] as const) {
    const held = observed[`${kind}s`];
    const wrong = Object.entries(desired[`${kind}s`]).find(([key, value]) => held[key] !== value);
    if (wrong) return `the ${kind} ${wrong[0]} is not ${wrong[1]}`;
  }
  return undefined;
}

/** The pool that a bundle was made from; undefined if it cannot be read or the trust domain differs. */
export function markIn(
  observed: ObservedBundle | undefined,
  trustDomain: string | undefined,
): PoolMark | undefined {
  return observed && isOfTrustDomain(observed, trustDomain) ? poolMark.read(observed) : undefined;
}

/** notAfter of each root of a bundle, by its SHA-256; empty for a bundle of another trust domain. */
export function rootEndsIn(
  observed: ObservedBundle | undefined,
  trustDomain: string | undefined,
): ReadonlyMap<string, Seconds> {
  return observed && isOfTrustDomain(observed, trustDomain) ? observed.ends : new Map();
}

function isOfTrustDomain({ labels }: ObservedBundle, trustDomain: string | undefined): boolean {
  const label = trustDomain === undefined ? undefined : trustDomainLabel(trustDomain);
  return labels['k8s.spiffe.io/peer-trust-domain'] === label;
}
