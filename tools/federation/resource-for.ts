/** What a FederatedTrustDomain with an endpoint says. */
export interface EndpointTrust {
  readonly trustDomain: string;
  readonly url: string;
  readonly profile: 'https_web' | 'https_spiffe';
  readonly endpointId?: string | undefined;
  /** PEM, for https_web with a certificate of a private CA. */
  readonly caBundle?: string | undefined;
  /** PEM or SPIFFE bundle (JSON), for https_spiffe. */
  readonly bootstrapBundle?: string | undefined;
}

/** The FederatedTrustDomain, as a person would write it. Pure. */
export function resourceFor(trust: EndpointTrust, name: string) {
  const { trustDomain, url, profile, endpointId, caBundle, bootstrapBundle } = trust;
  return {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'FederatedTrustDomain',
    metadata: { name },
    spec: {
      trustDomain,
      bundleEndpoint: {
        url,
        profile,
        ...(endpointId !== undefined && { endpointSPIFFEID: endpointId }),
        ...(caBundle !== undefined && { caBundle }),
      },
      ...(bootstrapBundle !== undefined && { bootstrapBundle }),
    },
  };
}
