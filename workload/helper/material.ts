import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import type { TrustBundles } from '../trust-bundle.ts';
import type { X509Svid } from '../x509-svid.ts';
import type { PemPart } from './config.ts';

/** What the workload has at a moment. */
export interface Material {
  readonly svid: X509Svid;
  readonly bundles: TrustBundles;
}

/** The text of a PEM file. */
export function pemOf(parts: readonly PemPart[], material: Material): string {
  return parts.map((part) => renderers[part](material)).join('');
}

const renderers: Readonly<Record<PemPart, (material: Material) => string>> = {
  chain: ({ svid }) => svid.chainPem,
  leaf: ({ svid }) => chainOf(svid).slice(0, 1).join(''),
  intermediates: ({ svid }) => chainOf(svid).slice(1).join(''),
  key: ({ svid }) => svid.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  roots: ({ svid, bundles }) => certificates(bundles.get(svid.id.trustDomain)?.roots ?? []),
  federatedRoots: ({ svid, bundles }) =>
    [...bundles]
      .filter(([trustDomain]) => trustDomain !== svid.id.trustDomain)
      .map(([, { roots }]) => certificates(roots))
      .join(''),
};

function chainOf({ chainPem }: X509Svid): readonly string[] {
  const blocks = decodePem(chainPem);
  return blocks.ok ? blocks.value.map(({ der }) => encodePem('CERTIFICATE', der)) : [];
}

const certificates = (roots: readonly CertificateFacts[]): string =>
  roots.map(({ der }) => encodePem('CERTIFICATE', der)).join('');
