import { trustDomainLabel } from '../../signer/trust/labels.ts';
import type { JsonObject } from '../../spiffe/json.ts';
import { isJsonObject } from '../../spiffe/json.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { pemOf, readTrustMaterial } from '../bundle/formats.ts';
import { check, leftOut, type Made } from './notes.ts';

/**
 * A ClusterTrustBundle of the roots that a ClusterFederatedTrustDomain holds. Its endpoint has no counterpart: the signer
 * fetches no bundles.
 */
export function federatedTrustDomain(name: string, spec: JsonObject): Made {
  const { trustDomain, bundleEndpointURL, bundleEndpointProfile, trustDomainBundle } = spec;
  const read = parseTrustDomain(String(trustDomain ?? ''));
  if (!read.ok) return { notes: [leftOut(`trustDomain ${read.reason}`)] };
  const { type, endpointSPIFFEID } = isJsonObject(bundleEndpointProfile) ? bundleEndpointProfile : {};
  const spiffe = ` --profile https_spiffe --endpoint-id ${String(endpointSPIFFEID)} --endpoint-bundle FILE`;
  const fetch =
    `\`kubespiffe bundle fetch ${String(bundleEndpointURL)} --trust-domain ${read.value}` +
    `${type === 'https_spiffe' ? spiffe : ''} --format pem\``;
  const bundle =
    typeof trustDomainBundle === 'string' ? readTrustMaterial(Buffer.from(trustDomainBundle)) : undefined;
  if (!bundle?.ok || bundle.value.roots.length === 0) {
    const why =
      bundle && !bundle.ok ? `trustDomainBundle cannot be read: ${bundle.reason}` : 'it holds no roots';
    return {
      notes: [
        leftOut(
          `${why}, and no bundles are fetched for it. Get them with ${fetch} and make a ClusterTrustBundle of them`,
        ),
      ],
    };
  }
  return {
    object: {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'ClusterTrustBundle',
      metadata: { name, labels: { 'k8s.spiffe.io/peer-trust-domain': trustDomainLabel(read.value) } },
      spec: { trustBundle: pemOf(bundle.value) },
    },
    notes: [
      check(
        `its roots are as they were written down, and are not refreshed: repeat ${fetch} when the other trust domain changes them. ` +
          `Pods project the ClusterTrustBundle by its name, ${name}`,
      ),
    ],
  };
}
