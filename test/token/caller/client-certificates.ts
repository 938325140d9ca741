import 'reflect-metadata';
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  type GeneralNameType,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { createAuthority } from '../../../signer/authority/create.ts';
import type { AuthorityRecord } from '../../../signer/authority/document.ts';
import type { RefusalCode } from '../../../signer/observe/refusals.ts';
import { encode, sequence } from '../../../spiffe/pki/der-writer.ts';

/** Private key (PKCS#8) and certificates (leaf first), PEM, as a client shows them. */
export interface ClientCredentials {
  readonly key: string;
  readonly cert: string;
}

/** What sound certificates of a pod are made of, so that tests can change one thing at a time. */
export interface CertificateFacts {
  /** By id, from `authoritiesOfAllStates`. */
  readonly authorities: readonly AuthorityRecord[];
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  /** Seconds since the epoch. */
  readonly now: number;
}

/** An authority in each state, and tainted ones; `active` is the id of the one that signs. */
export async function authoritiesOfAllStates(now: number): Promise<AuthorityRecord[]> {
  const states = ['active', 'trusted', 'retiring', 'prepared', 'preview', 'retired'] as const;
  const make = (id: string) => createAuthority({ id, trustDomain: 'example.org', now });
  return Promise.all([
    ...states.map(async (state) => ({ ...(await make(state)), state })),
    make('tainted').then((record) => ({ ...record, state: 'retiring' as const, tainted: true })),
  ]);
}

export interface LeafWishes {
  readonly uris?: readonly string[];
  readonly otherNames?: readonly { type: GeneralNameType; value: string }[];
  readonly sanCritical?: boolean;
  readonly isCa?: boolean;
  /** Undefined: without keyUsage. */
  readonly keyUsage?: KeyUsageFlags | undefined;
  readonly keyUsageCritical?: boolean;
  /** Undefined: without extKeyUsage. */
  readonly extKeyUsage?: readonly string[] | undefined;
  /** Undefined: without an authority key identifier. */
  readonly authorityKeyId?: string | undefined;
  /** The value of the PodIdentity extension; undefined: without it. */
  readonly pod?: Uint8Array | undefined;
  readonly notBefore?: number;
  readonly notAfter?: number;
  /** Signs in place of the issuer's key. */
  readonly signingKey?: KeyObject;
  readonly more?: readonly Extension[];
}

const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const podIdentityOid = '1.3.6.1.4.1.57683.1';
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';

/** PodIdentity (KEP-4317) of these fields, in their order. */
function podIdentityValue(...fields: readonly string[]): Uint8Array {
  return sequence(...fields.map((text, number) => encode(0x80 | number, Buffer.from(text))));
}

function fieldsOf({ namespace, serviceAccount, pod }: CertificateFacts): string[] {
  return [namespace, '', serviceAccount.name, serviceAccount.uid, pod.name, pod.uid, 'node-1', 'node-uid'];
}

function uriOf({ namespace, serviceAccount }: CertificateFacts): string {
  return `spiffe://example.org/ns/${namespace}/sa/${serviceAccount.name}`;
}

/** A certificate of the pod, made by a library that is not ours and by default as the signer would make it. */
export async function aCertificate(
  facts: CertificateFacts,
  wishes: LeafWishes = {},
  issuerId = 'active',
): Promise<ClientCredentials> {
  const issuer = facts.authorities.find(({ id }) => id === issuerId);
  if (!issuer) throw new Error(`there is no authority ${issuerId}`);
  return certificateOf(issuer, facts, wishes);
}

async function certificateOf(
  issuer: Pick<AuthorityRecord, 'certificate' | 'privateKey'>,
  facts: CertificateFacts,
  wishes: LeafWishes = {},
): Promise<ClientCredentials> {
  const ca = new X509Certificate(issuer.certificate ?? '');
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subjectKey = publicKey.toCryptoKey(p256, true, ['verify']);
  const signingKey = wishes.signingKey ?? createPrivateKey(issuer.privateKey ?? '');
  const caKeyId = ca.getExtension(SubjectKeyIdentifierExtension)?.keyId;
  const asked = {
    keyUsage: KeyUsageFlags.digitalSignature,
    extKeyUsage: [serverAuth, clientAuth],
    authorityKeyId: caKeyId,
    pod: podIdentityValue(...fieldsOf(facts)),
    ...wishes,
  };
  const names = [
    ...(wishes.uris ?? [uriOf(facts)]).map((value) => ({ type: 'url' as const, value })),
    ...(wishes.otherNames ?? []),
  ];
  const extensions: Extension[] = [
    new BasicConstraintsExtension(wishes.isCa ?? false, undefined, true),
    await SubjectKeyIdentifierExtension.create(subjectKey),
  ];
  if (names.length > 0)
    extensions.push(new SubjectAlternativeNameExtension(names, wishes.sanCritical ?? true));
  if (asked.keyUsage !== undefined)
    extensions.push(new KeyUsagesExtension(asked.keyUsage, wishes.keyUsageCritical ?? true));
  if (asked.extKeyUsage) extensions.push(new ExtendedKeyUsageExtension([...asked.extKeyUsage]));
  if (asked.authorityKeyId) extensions.push(new AuthorityKeyIdentifierExtension(asked.authorityKeyId));
  if (asked.pod) extensions.push(new Extension(podIdentityOid, false, Uint8Array.from(asked.pod)));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: Buffer.concat([Uint8Array.of(0x40), randomBytes(15)]).toString('hex'),
    issuer: ca.subjectName,
    publicKey: subjectKey,
    signingKey: signingKey.toCryptoKey(p256, false, ['sign']),
    signingAlgorithm: p256,
    notBefore: new Date((wishes.notBefore ?? facts.now - 120) * 1000),
    notAfter: new Date((wishes.notAfter ?? facts.now + 3600) * 1000),
    extensions: [...extensions, ...(wishes.more ?? [])],
  });
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `${certificate.toString('pem')}\n`,
  };
}

/** A CA with the name of the active one, and a key of its own. */
async function impostor(
  facts: CertificateFacts,
): Promise<Pick<AuthorityRecord, 'certificate' | 'privateKey'>> {
  const { now } = facts;
  return createAuthority({ id: 'active', trustDomain: 'example.org', now });
}

export interface BadCertificate {
  readonly name: string;
  readonly code: RefusalCode;
  make(): Promise<ClientCredentials>;
}

/** Certificates that are each wrong in one way, signed by a CA of the pool wherever a signature can be right. */
export function badCertificates(facts: CertificateFacts): BadCertificate[] {
  const { now } = facts;
  const uri = uriOf(facts);
  const [namespace = '', , ...rest] = fieldsOf(facts);
  const row = (code: RefusalCode, name: string, wishes: LeafWishes, issuer?: string): BadCertificate => ({
    name,
    code,
    make: () => aCertificate(facts, wishes, issuer),
  });
  const made = (code: RefusalCode, name: string, make: BadCertificate['make']) => ({ name, code, make });
  const rule = (name: string, wishes: LeafWishes) => row('CertificateNotSvid', name, wishes);

  return [
    row('CertificateExpired', 'that has expired', { notBefore: now - 7200, notAfter: now - 1 }),
    row('CertificateNotYetValid', 'that begins in two minutes', { notBefore: now + 120 }),
    row('CertificateUntrusted', 'of an authority that is prepared', {}, 'prepared'),
    row('CertificateUntrusted', 'of an authority in preview', {}, 'preview'),
    row('CertificateUntrusted', 'of an authority that is retired', {}, 'retired'),
    row('CertificateTainted', 'of an authority that is tainted', {}, 'tainted'),
    made('CertificateUntrusted', 'of another CA', async () =>
      certificateOf(await createAuthority({ id: 'other', trustDomain: 'example.org', now }), facts),
    ),
    made('CertificateUntrusted', 'of a CA with the name of ours and another key', async () =>
      certificateOf(await impostor(facts), facts),
    ),
    made('CertificateUntrusted', 'of that CA, with the key identifier of ours', async () => {
      const { privateKey = '' } = await impostor(facts);
      return aCertificate(facts, { signingKey: createPrivateKey(privateKey) });
    }),
    made(
      'CertificateUntrusted',
      'that a pod has signed with its own key, its certificate beside it',
      async () => {
        const pod = await aCertificate(facts);
        const own = await certificateOf({ certificate: pod.cert, privateKey: pod.key }, facts);
        return { ...own, cert: own.cert + pod.cert };
      },
    ),
    made('CertificateUntrusted', 'that signed itself', async () => {
      const pod = await aCertificate(facts);
      return certificateOf({ certificate: pod.cert, privateKey: pod.key }, facts);
    }),
    made('CertificateNotSvid', 'that is the CA itself', async () => {
      const { certificate = '', privateKey = '' } = facts.authorities[0] ?? {};
      return { key: privateKey, cert: certificate };
    }),

    rule('with two URIs', { uris: [uri, 'spiffe://example.org/ns/kube-system/sa/admin'] }),
    rule('with one URI twice', { uris: [uri, uri] }),
    rule('without a URI', { uris: [] }),
    rule('with a DNS name alone', { uris: [], otherNames: [{ type: 'dns', value: 'web.shop.svc' }] }),
    rule('with a URI that is no SPIFFE ID', { uris: ['https://example.org/ns/shop/sa/web'] }),
    rule('with the SPIFFE ID of the trust domain', { uris: ['spiffe://example.org'] }),
    rule('with a SPIFFE ID of another trust domain', { uris: ['spiffe://example.com/ns/shop/sa/web'] }),
    rule('with a SPIFFE ID with a percent sign', { uris: [`${uri}%2e`] }),
    rule('with a SAN that is not critical, beside an empty subject', { sanCritical: false }),
    rule('that says CA:true', { isCa: true }),
    rule('without keyUsage', { keyUsage: undefined }),
    rule('with a keyUsage that is not critical', { keyUsageCritical: false }),
    rule('without digitalSignature', { keyUsage: KeyUsageFlags.keyAgreement }),
    rule('with keyCertSign', { keyUsage: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign }),
    rule('with cRLSign', { keyUsage: KeyUsageFlags.digitalSignature | KeyUsageFlags.cRLSign }),
    rule('without extKeyUsage', { extKeyUsage: undefined }),
    rule('for servers only', { extKeyUsage: [serverAuth] }),
    rule('for any purpose in place of ours', { extKeyUsage: ['2.5.29.37.0'] }),
    rule('without an authority key identifier', { authorityKeyId: undefined }),
    rule('with a critical extension that nobody knows', {
      more: [new Extension('1.2.3.4', true, Uint8Array.of(5, 0))],
    }),

    row('CertificateOfInfrastructure', 'of the endpoint itself', {
      uris: ['spiffe://example.org/kubespiffe/token-endpoint'],
      pod: undefined,
    }),
    row('CertificateOfInfrastructure', 'of our infrastructure that names a pod', {
      uris: ['spiffe://example.org/kubespiffe/signer'],
    }),
    row('CertificateWithoutPod', 'without PodIdentity', { pod: undefined }),
    row('CertificateWithoutPod', 'with a PodIdentity that is no SEQUENCE', { pod: Uint8Array.of(5, 0) }),
    row('CertificateWithoutPod', 'with a PodIdentity of three fields', {
      pod: podIdentityValue(namespace, '', ...rest.slice(0, 1)),
    }),
    row('CertificateWithoutPod', 'with a PodIdentity that names no pod', {
      pod: podIdentityValue(namespace, '', facts.serviceAccount.name, 'uid', '', '', 'node-1', 'node-uid'),
    }),
    row('CertificateNotOfPod', 'with the SPIFFE ID of another ServiceAccount than its PodIdentity', {
      uris: [`spiffe://example.org/ns/${namespace}/sa/admin`],
    }),
    row('CertificateNotOfPod', 'with the SPIFFE ID of another namespace than its PodIdentity', {
      uris: [`spiffe://example.org/ns/kube-system/sa/${facts.serviceAccount.name}`],
    }),
    row('CertificateNotOfPod', 'of the signer pod-identity', {
      uris: [`spiffe://example.org/ns/${namespace}/pod/${facts.pod.name}`],
    }),
    row('CertificateNotOfPod', 'with a SPIFFE ID of another form', { uris: ['spiffe://example.org/web'] }),
    row(
      'ServiceAccountMismatch',
      'with PodIdentity and SPIFFE ID of another ServiceAccount than its pod has',
      {
        uris: [`spiffe://example.org/ns/${namespace}/sa/admin`],
        pod: podIdentityValue(namespace, '', 'admin', 'uid', facts.pod.name, facts.pod.uid, 'node-1', 'uid'),
      },
    ),
  ];
}
