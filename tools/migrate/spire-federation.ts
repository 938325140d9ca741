import { readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import type { JsonObject } from '../../spiffe/json.ts';
import { isJsonObject } from '../../spiffe/json.ts';
import { changed, check, leftOut, type Made } from './notes.ts';

/** A FederatedTrustDomain for a ClusterFederatedTrustDomain, if the signer can use it. */
export function federatedTrustDomain(name: string, spec: JsonObject): Made {
  const { trustDomain, bundleEndpointURL: url, bundleEndpointProfile, trustDomainBundle } = spec;
  const { type, endpointSPIFFEID } = isJsonObject(bundleEndpointProfile) ? bundleEndpointProfile : {};
  const isSpiffe = type === 'https_spiffe';
  const bundle = typeof trustDomainBundle === 'string' ? trustDomainBundle : undefined;
  const object = {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'FederatedTrustDomain',
    metadata: { name },
    spec: {
      trustDomain,
      bundleEndpoint: { url, profile: type, ...(isSpiffe && { endpointSPIFFEID }) },
      ...(isSpiffe && bundle !== undefined && { bootstrapBundle: bundle }),
    },
  };
  const { origin } = readFederatedTrustDomain(object);
  if (!origin.ok) return { notes: [leftOut(`the signer cannot use it: ${origin.reason}`)] };
  const { className } = spec;
  return {
    object,
    notes: [
      check(
        'the signer fetches it only where federation is on (manifests/federation); ' +
          `\`kubespiffe federation check ${String(url)}\` tries the endpoint first`,
      ),
      typeof className === 'string' &&
        className !== '' &&
        changed(`className ${className} was left out: every signer with federation uses it`),
      !isSpiffe &&
        bundle !== undefined &&
        changed(
          'trustDomainBundle was left out: an https_web endpoint is verified without it, and fetched at once',
        ),
    ],
  };
}
