import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';

/** One way in which the roots are published, and what our own watch shows of it. */
export interface Publication {
  /** Where, for people. */
  readonly place: string;
  /** What is said of it once it shows the root that signs. */
  readonly whenShown: string;
  /** Whether a root is seen where those look who verify by it: only then may be signed under it. */
  isPublished(root: CertificateFacts): boolean;
  /** What is not as it should be; undefined when all is. */
  problem(): string | undefined;
}

/** A root that is shown nowhere in the cluster is waited for by nobody: it goes with each certificate. */
const withCertificates: Publication = {
  place: 'the token endpoint',
  whenShown: 'the API server serves no ClusterTrustBundles; the roots come from the token endpoint',
  isPublished: () => true,
  problem: () => undefined,
};

/**
 * The one that counts before anything is signed: the ClusterTrustBundle. Where the API server serves none, so that
 * nobody can project one: the ConfigMaps if they are configured, else what the token endpoint gives, as long as it is
 * the only one that gives: kubelet brings a pod its certificate without the roots.
 */
export function decisivePublication(ways: {
  readonly bundle: Publication;
  readonly configMaps: Publication | undefined;
  /** Whether there is a token endpoint, and no PodCertificateRequests are served beside it. */
  readonly endpointAlone: boolean;
  /** Whether it is known that no ClusterTrustBundles are served. */
  readonly lacksBundles: boolean;
}): Publication {
  const { bundle, configMaps, endpointAlone, lacksBundles } = ways;
  if (!lacksBundles) return bundle;
  return configMaps ?? (endpointAlone ? withCertificates : bundle);
}
