import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';

/** Where verifiers in the cluster find the roots, and what our own watch shows of it. */
export interface RootVisibility {
  /** For people, such as `ClusterTrustBundle kubespiffe.io:spiffe:roots`. */
  readonly place: string;
  /** The sentence for readiness when the root of the active authority is visible. */
  readonly whenVisible: string;
  /** Nothing may be signed under a root before it is visible. */
  isVisible(root: CertificateFacts): boolean;
  /** What is wrong; undefined when nothing is. */
  problem(): string | undefined;
}

/** Used when roots are returned with every certificate: there is nothing to wait for. */
const withEachCertificate: RootVisibility = {
  place: 'the token endpoint',
  whenVisible: 'the API server serves no ClusterTrustBundles; the roots come from the token endpoint',
  isVisible: () => true,
  problem: () => undefined,
};

/**
 * Where a root must be visible before anything is signed under it: in the ClusterTrustBundle if the API server serves
 * them; else in the ConfigMaps if they are configured; else nowhere, when only the token endpoint issues, because it
 * returns the roots with each certificate. Otherwise the cluster cannot show roots at all, and nothing is signed.
 */
export function decisiveVisibility(ways: {
  readonly bundle: RootVisibility;
  readonly configMaps: RootVisibility | undefined;
  /** Whether the token endpoint is the only way to get a certificate: PodCertificateRequests are not served. */
  readonly endpointAlone: boolean;
  /** Whether it is known that no ClusterTrustBundles are served. */
  readonly lacksBundles: boolean;
}): RootVisibility {
  const { bundle, configMaps, endpointAlone, lacksBundles } = ways;
  if (!lacksBundles) return bundle;
  if (configMaps) return configMaps;
  return endpointAlone ? withEachCertificate : notServed(bundle);
}

/** A bundle that was seen before the API server stopped serving bundles does not show what pods get now. */
function notServed(bundle: RootVisibility): RootVisibility {
  return {
    ...bundle,
    isVisible: () => false,
    problem: () =>
      'the API server serves no ClusterTrustBundles; enable them (feature gate ClusterTrustBundle and runtime-config), ' +
      'or set rootsConfigMap',
  };
}
