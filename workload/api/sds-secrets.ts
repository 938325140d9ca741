import { createHash } from 'node:crypto';
import { encodePem } from '../../spiffe/pki/pem.ts';
import type { ApiX509Svid, WorkloadState } from './state.ts';

/** A secret of Envoy as sds.proto has it. */
export interface Secret {
  readonly name: string;
  /** Changes with the content. Made of certificates only, since it is shown in Envoy's statistics. */
  readonly version: string;
  /** AnySecret. */
  readonly resource: object;
}

const types = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
export const secretType = `${types}.Secret`;

/**
 * The secrets of a workload by the names that SPIRE's agent gives them: `default` is the first SVID, `ROOTCA` verifies
 * its trust domain, `ALL` verifies every trust domain. SVIDs and trust domains also go by their SPIFFE IDs. Peers are
 * verified by Envoy's SPIFFE validator, so that the roots of one trust domain never speak for another. Pure.
 */
export function secretsOf({ svids, x509Bundles }: WorkloadState): ReadonlyMap<string, Secret> {
  const [first] = svids;
  const all = [...x509Bundles].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const own = all.filter(([name]) => name === first?.trustDomain);
  const contexts = [
    ...all.map((bundle) => validationContext(`spiffe://${bundle[0]}`, [bundle])),
    ...(own.length > 0 ? [validationContext('ROOTCA', own)] : []),
    ...(all.length > 0 ? [validationContext('ALL', all)] : []),
  ];
  // If two SVIDs have the same ID, the first one counts.
  const certificates = svids.toReversed().map((svid) => tlsCertificate(svid.spiffeId, svid));
  if (first) certificates.push(tlsCertificate('default', first));
  return new Map([...contexts, ...certificates].map((secret) => [secret.name, secret]));
}

function tlsCertificate(name: string, { chain, key }: ApiX509Svid): Secret {
  const value = {
    name,
    tls_certificate: {
      certificate_chain: { inline_string: pemOf(chain) },
      private_key: { inline_string: encodePem('PRIVATE KEY', key) },
    },
  };
  return { name, version: versionOf(chain), resource: { type_url: secretType, value } };
}

function validationContext(
  name: string,
  bundles: readonly (readonly [string, readonly Uint8Array[]])[],
): Secret {
  const trustDomains = bundles.map(([trustDomain, roots]) => ({
    name: trustDomain,
    trust_bundle: { inline_string: pemOf(roots) },
  }));
  const value = {
    name,
    validation_context: {
      custom_validator_config: {
        name: 'envoy.tls.cert_validator.spiffe',
        typed_config: {
          type_url: `${types}.SPIFFECertValidatorConfig`,
          value: { trust_domains: trustDomains },
        },
      },
    },
  };
  const version = versionOf(bundles.flatMap(([trustDomain, roots]) => [Buffer.from(trustDomain), ...roots]));
  return { name, version, resource: { type_url: secretType, value } };
}

const pemOf = (certificates: readonly Uint8Array[]): string =>
  certificates.map((der) => encodePem('CERTIFICATE', der)).join('');

function versionOf(contents: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(`${content.length}:`).update(content);
  return hash.digest('base64url').slice(0, 22);
}
