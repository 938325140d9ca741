import { randomBytes } from 'node:crypto';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import type { PeerRule } from '../../workload/peer-refused.ts';
import { authorityOf, makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { makeKey, supportedKey } from '../spiffe/pki/keys.ts';
import { nameConstraints, unknownExtension } from '../spiffe/pki/name-constraints.ts';
import { type Credentials, credentialsFor } from './credentials.ts';

export const webId = 'spiffe://example.org/ns/shop/sa/web';
export const partnerId = 'spiffe://example.com/ns/shop/sa/web';

/** A trust domain and a federated one, as verifiers know them. */
export interface World {
  /** The root of example.org. */
  readonly ca: TestCa;
  /** The root of example.com. */
  readonly partner: TestCa;
}

export async function makeWorld(): Promise<World> {
  return {
    ca: await makeCa(),
    partner: await makeCa({ trustDomain: 'example.com', subject: 'O=example.com' }),
  };
}

/** A peer, and what comes of it: accepted with an ID, or refused by a rule. */
export interface PeerCase {
  readonly name: string;
  readonly make: (world: World) => Promise<Credentials>;
  readonly expected: { readonly id: string } | { readonly rule: PeerRule; readonly says: RegExp };
  /** Where a judge does not refuse what we refuse: which one, by the words of the standard that it does not enforce. */
  readonly acceptedBy?: 'go-spiffe' | 'go-spiffe and OpenSSL' | 'OpenSSL';
}

const below = (ca: TestCa, wish: Parameters<typeof makeCa>[0] = {}) =>
  makeCa({ subject: 'CN=intermediate', issuer: ca, ...wish });

/** The leaf alone. */
async function withoutIntermediate(credentials: Promise<Credentials>): Promise<Credentials> {
  const { keyPem, chainPem } = await credentials;
  const leaf = chainPem.slice(0, chainPem.indexOf('-----END CERTIFICATE-----') + 26);
  return { keyPem, chainPem: leaf, pem: keyPem + leaf };
}

async function selfSigned(): Promise<Credentials> {
  const key = makeKey('ECDSA P-256');
  const ca = await makeCa({ key });
  return credentialsFor(webId, ca);
}

/** A CA certificate that shows itself as a peer. */
async function caAsPeer({ ca }: World): Promise<Credentials> {
  const keyPem = encodePem('PRIVATE KEY', ca.key.privateKey.export({ type: 'pkcs8', format: 'der' }));
  return { keyPem, chainPem: ca.pem, pem: keyPem + ca.pem };
}

/** A leaf that signs another leaf. */
async function leafAsIssuer({ ca }: World): Promise<Credentials> {
  const issuer = await credentialsFor(webId, ca);
  const key = makeKey('ECDSA P-256');
  const middle = await below(ca, { key, furtherExtensions: [] });
  const now = Math.floor(Date.now() / 1000);
  const { chainPem } = await issueLeaf({
    authority: authorityOf({ ...middle }, ca),
    profile: svidProfile,
    subject: { uris: ['spiffe://example.org/admin'], dnsNames: [] },
    key: supportedKey(key.spki),
    validity: { notBefore: now - 10, notAfter: now + 600 },
    serial: makeSerial(randomBytes),
  });
  const leaf = chainPem.slice(0, chainPem.indexOf('-----END CERTIFICATE-----') + 26);
  const keyPem = encodePem('PRIVATE KEY', key.privateKey.export({ type: 'pkcs8', format: 'der' }));
  const chain = leaf + issuer.chainPem;
  return { keyPem, chainPem: chain, pem: keyPem + chain };
}

export const peerCases: readonly PeerCase[] = [
  {
    name: 'a workload of the same trust domain',
    make: ({ ca }) => credentialsFor(webId, ca),
    expected: { id: webId },
  },
  {
    name: 'a workload of the federated trust domain',
    make: ({ partner }) => credentialsFor(partnerId, partner),
    expected: { id: partnerId },
  },
  {
    name: 'a workload below two intermediates',
    make: async ({ ca }) => {
      const upper = await below(ca, { subject: 'CN=upper' });
      return credentialsFor(webId, [await below(upper), upper, ca]);
    },
    expected: { id: webId },
  },
  {
    name: 'a workload below a CA that is constrained to its trust domain',
    make: async ({ ca }) => {
      const constraints = nameConstraints({ permitted: [['URI', 'example.org']] });
      return credentialsFor(webId, [await below(ca, { furtherExtensions: [constraints] }), ca]);
    },
    expected: { id: webId },
  },
  {
    name: 'an ID of our trust domain, signed by the federated one',
    make: ({ partner }) => credentialsFor(webId, partner),
    expected: { rule: 'chain', says: /leads to no root in the bundle of example\.org/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'an ID of the federated trust domain, signed by ours',
    make: ({ ca }) => credentialsFor(partnerId, ca),
    expected: { rule: 'chain', says: /leads to no root in the bundle of example\.com/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'an ID of a trust domain without a bundle',
    make: ({ ca }) => credentialsFor('spiffe://example.net/web', ca),
    expected: { rule: 'trust-domain', says: /there is no bundle of example\.net/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'a certificate of an unknown CA that names itself as ours',
    make: selfSigned,
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a certificate with two URIs',
    make: ({ ca }) => credentialsFor([webId, `${webId}-2`], ca),
    expected: { rule: 'x509-svid', says: /there are 2 URIs.*X509-SVID 2/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'a certificate without a URI',
    make: ({ ca }) => credentialsFor([], ca),
    expected: { rule: 'x509-svid', says: /there are 0 URIs/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'a URI that is no SPIFFE ID',
    make: ({ ca }) => credentialsFor('https://example.org/web', ca),
    expected: { rule: 'x509-svid', says: /begins with "spiffe:/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'a SPIFFE ID with an empty segment',
    make: ({ ca }) => credentialsFor('spiffe://example.org/ns//web', ca),
    expected: { rule: 'x509-svid', says: /empty segment/ },
    acceptedBy: 'OpenSSL',
  },
  {
    name: 'a SPIFFE ID without a path',
    make: ({ ca }) => credentialsFor('spiffe://example.org', ca),
    expected: { rule: 'x509-svid', says: /no path/ },
    acceptedBy: 'go-spiffe and OpenSSL',
  },
  {
    name: 'a CA as a peer',
    make: caAsPeer,
    expected: { rule: 'x509-svid', says: /no path|cA TRUE/ },
  },
  {
    name: 'a CA with the ID of a workload as a peer',
    make: async (world) =>
      caAsPeer({ ...world, ca: await below(world.ca, { trustDomain: webId.slice('spiffe://'.length) }) }),
    expected: { rule: 'x509-svid', says: /cA TRUE/ },
  },
  {
    name: 'an expired certificate',
    make: ({ ca }) => credentialsFor(webId, ca, { from: -7_200, to: -3_600 }),
    expected: { rule: 'validity', says: /expired at 20/ },
  },
  {
    name: 'a certificate that is not valid yet',
    make: ({ ca }) => credentialsFor(webId, ca, { from: 1_800, to: 3_600 }),
    expected: { rule: 'validity', says: /not valid before 20/ },
  },
  {
    name: 'a certificate for servers alone',
    make: ({ ca }) => credentialsFor(webId, ca, { extKeyUsage: ['serverAuth'] }),
    expected: { rule: 'x509-svid', says: /extKeyUsage lacks clientAuth/ },
    acceptedBy: 'go-spiffe and OpenSSL',
  },
  {
    name: 'a chain without its intermediate',
    make: async ({ ca }) => withoutIntermediate(credentialsFor(webId, [await below(ca), ca])),
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a certificate that was signed by a leaf',
    make: leafAsIssuer,
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a chain with an expired intermediate',
    make: async ({ ca }) => {
      const now = Math.floor(Date.now() / 1000);
      return credentialsFor(webId, [await below(ca, { notBefore: now - 7_200, notAfter: now - 60 }), ca]);
    },
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a chain longer than its CA allows',
    make: async ({ ca }) => {
      const upper = await below(ca, { subject: 'CN=upper', pathLength: 0 });
      return credentialsFor(webId, [await below(upper), upper, ca]);
    },
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a workload below a CA that is constrained to another trust domain',
    make: async ({ ca }) => {
      const constraints = nameConstraints({ permitted: [['URI', 'example.com']] });
      return credentialsFor(webId, [await below(ca, { furtherExtensions: [constraints] }), ca]);
    },
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a workload below a CA that is constrained to other DNS names',
    make: async ({ ca }) => {
      const constraints = nameConstraints({ permitted: [['DNS', 'example.net']] });
      return credentialsFor(webId, [await below(ca, { furtherExtensions: [constraints] }), ca]);
    },
    expected: { rule: 'chain', says: /leads to no root/ },
  },
  {
    name: 'a workload below a CA with an unknown critical extension',
    make: async ({ ca }) =>
      credentialsFor(webId, [await below(ca, { furtherExtensions: [unknownExtension(true)] }), ca]),
    expected: { rule: 'chain', says: /leads to no root/ },
  },
];
