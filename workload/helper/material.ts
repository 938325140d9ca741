import { blocksIn, certificatesPem } from '../../spiffe/pki/pem.ts';
import type { TrustBundles } from '../trust-bundle.ts';
import type { X509Svid } from '../x509-svid.ts';
import type { PemPart } from './config.ts';
import type { Pkcs12Content } from './pkcs12.ts';

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
  leaf: ({ svid }) => certificatesPem(chainOf(svid).slice(0, 1)),
  intermediates: ({ svid }) => certificatesPem(chainOf(svid).slice(1)),
  key: ({ svid }) => svid.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  roots: ({ svid, bundles }) => certificatesPem(bundles.get(svid.id.trustDomain)?.roots ?? []),
  federatedRoots: ({ svid, bundles }) =>
    certificatesPem([...bundles].flatMap(([name, { roots }]) => (name === svid.id.trustDomain ? [] : roots))),
};

/** Key and chain for a keystore, under the alias `spiffe`. */
export function keystoreOf({ svid }: Material): Pkcs12Content {
  return { key: { alias: 'spiffe', privateKey: svid.privateKey, chain: blocksIn(svid.chainPem) } };
}

/** Roots for a truststore, under aliases such as `example.org-1`. */
export function truststoreOf(material: Material, isFederated: boolean): Pkcs12Content {
  const { trustDomain } = material.svid.id;
  const trusted = [...material.bundles]
    .filter(([name]) => isFederated || name === trustDomain)
    .flatMap(([name, { roots }]) =>
      roots.map(({ der }, index) => ({ alias: `${name}-${index + 1}`, certificate: der })),
    );
  return { trusted };
}

const chainOf = ({ chainPem }: X509Svid) => blocksIn(chainPem).map((der) => ({ der }));
