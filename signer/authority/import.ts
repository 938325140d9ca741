import { createPublicKey, type KeyObject } from 'node:crypto';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../spiffe/json.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { readableKey } from '../../spiffe/pki/sign.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { isSignedBy } from '../../spiffe/pki/verify.ts';
import type { Secret } from '../kube/types.ts';
import type { AuthorityRecord } from './document.ts';
import { type Refusable, refuse as refuseAs } from './problem.ts';
import { publicKeyOf } from './read-keys.ts';

/** A CA as others keep it. The names say where each part comes from, for messages. */
export interface CaMaterial {
  readonly id: string;
  /** PEM in the usual forms: PKCS#8, PKCS#1 or SEC 1, unencrypted. */
  readonly privateKey: { readonly pem: string; readonly name: string };
  /** PEM certificates in any order: signing certificate, intermediates, root, and others that are left out. */
  readonly certificates: readonly { readonly pem: string; readonly name: string }[];
}

export type Imported<T> = Refusable<{ value: T }>;

/**
 * Puts a CA together: the certificate that the key belongs to signs, and from there the issuers are followed to a
 * self-signed root. `createdAt` is an RFC 3339 time.
 */
export function assembleAuthority(
  material: CaMaterial,
  state: 'active' | 'trusted',
  createdAt: string,
): Imported<AuthorityRecord> {
  const { name } = material.privateKey;
  const key = readAnyKey(material.privateKey.pem);
  if (!key) {
    const remedy = 'give an unencrypted PEM key; `openssl pkey -in FILE -out NEW-FILE` decrypts one';
    return refuse(name, 'is not a private key that can be read', remedy);
  }
  const chain = assembleChain(createPublicKey(key), name, material.certificates);
  if (!chain.ok) return chain;
  return {
    ok: true,
    value: {
      id: material.id,
      kind: 'X509',
      state,
      tainted: false,
      privateKey: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
      ...chain.value,
      createdAt,
      publishedAt: createdAt,
      ...(state === 'active' ? { activatedAt: createdAt } : {}),
    },
  };
}

/**
 * The certificates of a CA in the order in which a pool has them: the root, and those below it, the issuer of leaves first.
 *
 * @param name of the key, for messages.
 */
export function assembleChain(
  publicKey: KeyObject,
  name: string,
  sources: CaMaterial['certificates'],
): Imported<{ certificate: string; intermediates: string[] }> {
  const certificates: CertificateFacts[] = [];
  for (const source of sources) {
    const read = readAll(source.pem);
    if (typeof read === 'string') return refuse(source.name, read, 'give PEM certificates');
    certificates.push(...read);
  }
  const from = sources.map((source) => source.name).join(', ');
  const signing = certificates.find((each) => belongsTo(publicKey, each));
  if (!signing)
    return refuse(name, `belongs to no certificate in ${from}`, 'give the certificate of this key');

  const chain = chainOf(signing, certificates);
  const root = chain.pop();
  if (!root || !isSignedBy(root, root)) {
    const what = 'has no self-signed root at the end of its chain';
    return refuse(
      from,
      what,
      'give all certificates up to the root: with --chain FILE, or as ca.crt in the Secret',
    );
  }
  return {
    ok: true,
    value: {
      certificate: encodePem('CERTIFICATE', root.der),
      intermediates: chain.map((each) => encodePem('CERTIFICATE', each.der)),
    },
  };
}

/** A Secret of type kubernetes.io/tls, as cert-manager and many others make it; `ca.crt` may hold the root. */
export function readTlsSecret(secret: Secret, id: string): Imported<CaMaterial> {
  const text = (key: string) => textOf(Buffer.from(secret.data?.[key] ?? '', 'base64'));
  for (const key of ['tls.crt', 'tls.key']) {
    if (text(key) !== '') continue;
    return refuse(key, 'is not in the Secret', 'name a Secret of type kubernetes.io/tls that holds a CA');
  }
  const certificates = ['tls.crt', 'ca.crt']
    .map((name) => ({ name, pem: text(name) }))
    .filter((source) => source.pem !== '');
  return { ok: true, value: { id, privateKey: { name: 'tls.key', pem: text('tls.key') }, certificates } };
}

/**
 * The pool of ahmedtd/mesh-example, and of its descendants, which may hold key and root as PEM. The first CA is
 * the one that signs there.
 */
export function readMeshPool(json: string): Imported<CaMaterial[]> {
  const remedy = 'give the value of the key `pool` of the Secret, decoded from base64';
  const pool = parseJsonObject(json, 'the text');
  if (!pool.ok) return refuse('the pool', pool.reason, remedy);
  const { CAs: cas } = pool.value;
  if (!Array.isArray(cas) || cas.length === 0) return refuse('the pool', 'has no list CAs', remedy);
  const materials: CaMaterial[] = [];
  for (const [index, ca] of cas.entries()) {
    const material = isJsonObject(ca) ? meshCa(ca, `CAs[${index}]`) : undefined;
    if (!material)
      return refuse(
        `CAs[${index}]`,
        'is not a CA with ID, key and root',
        'give a pool in which each CA has all three',
      );
    materials.push(material);
  }
  return { ok: true, value: materials };
}

function meshCa(ca: JsonObject, field: string): CaMaterial | undefined {
  const text = (name: string) => (typeof ca[name] === 'string' ? ca[name] : '');
  const pemOf = (der: string, pem: string, label: string) =>
    text(der) !== ''
      ? { name: `${field}.${der}`, pem: encodePem(label, Buffer.from(text(der), 'base64')) }
      : { name: `${field}.${pem}`, pem: text(pem) };
  const privateKey = pemOf('SigningKeyPKCS8', 'SigningKeyPEM', 'PRIVATE KEY');
  const root = pemOf('RootCertificateDER', 'RootCertificatePEM', 'CERTIFICATE');
  const more = Array.isArray(ca.IntermediateCertificatesDER) ? ca.IntermediateCertificatesDER : [];
  if (text('ID') === '' || privateKey.pem === '' || root.pem === '') return undefined;
  const intermediates = more.map((der, index) => ({
    name: `${field}.IntermediateCertificatesDER[${index}]`,
    pem: encodePem('CERTIFICATE', Buffer.from(String(der), 'base64')),
  }));
  return { id: text('ID'), privateKey, certificates: [root, ...intermediates] };
}

/** The trust domain that the roots of a CA say they belong to, if they say one. */
export function trustDomainOf(record: AuthorityRecord): string | undefined {
  return trustDomainIn(readCertificates(record.certificate ?? ''));
}

/** The trust domain that the first of some certificates says it belongs to, if it says one. */
export function trustDomainIn([first]: readonly CertificateFacts[]): string | undefined {
  const id = first?.uris.find((uri) => uri.startsWith('spiffe://'));
  return id?.slice('spiffe://'.length).split('/', 1)[0];
}

/** All certificates of a PEM text; none where one of them cannot be read. */
export function readCertificates(pem: string): readonly CertificateFacts[] {
  const read = readAll(pem);
  return typeof read === 'string' ? [] : read;
}

/** All certificates of a PEM text, or what is wrong with it. */
function readAll(pem: string): CertificateFacts[] | string {
  const blocks = decodePem(pem);
  if (!blocks.ok) return `is not PEM (${blocks.reason})`;
  const certificates: CertificateFacts[] = [];
  for (const block of blocks.value) {
    if (block.label !== 'CERTIFICATE') continue;
    const facts = readCertificate(block.der);
    if (!facts.ok) return `holds a certificate that cannot be read (${facts.reason})`;
    certificates.push(facts.value);
  }
  return certificates.length > 0 ? certificates : 'holds no certificate';
}

/** The first private key of a PEM text, in any of the usual forms; undefined if none can be read. */
export function readAnyKey(pem: string): KeyObject | undefined {
  const blocks = decodePem(pem);
  const block = blocks.ok ? blocks.value.find((each) => each.label.endsWith('PRIVATE KEY')) : undefined;
  return block && readableKey(encodePem(block.label, block.der));
}

function belongsTo(publicKey: KeyObject, certificate: CertificateFacts): boolean {
  try {
    return publicKeyOf(certificate).equals(publicKey);
  } catch {
    return false;
  }
}

/** From the signing certificate up to a self-signed one, or until an issuer is missing. */
function chainOf(signing: CertificateFacts, known: readonly CertificateFacts[]): CertificateFacts[] {
  const chain = [signing];
  for (let top = signing; !isSignedBy(top, top); ) {
    const issuer = known.find((each) => !chain.includes(each) && isSignedBy(top, each));
    if (!issuer) break;
    chain.push(issuer);
    top = issuer;
  }
  return chain;
}

const refuse = (...problem: [field: string, what: string, remedy: string]) =>
  refuseAs('PoolMalformed', ...problem);
