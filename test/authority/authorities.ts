import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** A certificate with its key, both PEM, made by a library that is not ours. */
export interface TestCa {
  readonly certificate: string;
  readonly privateKey: string;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly subject: string;
}

export interface TestCaOptions {
  subject?: string;
  /** Default `spiffe://example.org`; an empty list leaves the SAN out. */
  uris?: readonly string[];
  /** Further names. */
  names?: readonly (readonly [kind: 'dns' | 'email' | 'ip', value: string])[];
  isCa?: boolean;
  pathLen?: number;
  keyUsage?: number;
  extKeyUsage?: readonly string[];
  /** Seconds since the epoch. */
  notBefore: number;
  notAfter: number;
  issuer?: TestCa;
  /** The keys of the CA; new ones if absent. */
  keys?: webcrypto.CryptoKeyPair;
  furtherExtensions?: readonly Extension[];
  algorithm?: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | webcrypto.Algorithm;
}

export const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Makes a CA certificate, self-signed unless an issuer is given, with every property to be chosen. */
export async function makeCa(options: TestCaOptions): Promise<TestCa> {
  const algorithm = options.algorithm ?? p256;
  const keys = options.keys ?? (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']));
  if (!('publicKey' in keys)) throw new Error('no key pair');
  const subject = options.subject ?? 'CN=a test CA';
  const uris = options.uris ?? ['spiffe://example.org'];
  const issuerKeys = options.issuer?.keys ?? keys;
  const issuerKeyId = (await SubjectKeyIdentifierExtension.create(issuerKeys.publicKey)).keyId;
  const extensions: Extension[] = [
    new BasicConstraintsExtension(options.isCa ?? true, options.pathLen, true),
    new KeyUsagesExtension(options.keyUsage ?? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    new AuthorityKeyIdentifierExtension(issuerKeyId),
  ];
  if (options.extKeyUsage) extensions.push(new ExtendedKeyUsageExtension([...options.extKeyUsage]));
  const names = [
    ...uris.map((value) => ({ type: 'url', value }) as const),
    ...(options.names ?? []).map(([type, value]) => ({ type, value })),
  ];
  if (names.length > 0) extensions.push(new SubjectAlternativeNameExtension(names));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: Buffer.concat([Uint8Array.of(0x40), randomBytes(15)]).toString('hex'),
    subject,
    issuer: options.issuer?.subject ?? subject,
    publicKey: keys.publicKey,
    signingKey: issuerKeys.privateKey,
    signingAlgorithm: { ...issuerKeys.privateKey.algorithm, hash: 'SHA-256' },
    notBefore: new Date(options.notBefore * 1000),
    notAfter: new Date(options.notAfter * 1000),
    extensions: [...extensions, ...(options.furtherExtensions ?? [])],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificate: pem('CERTIFICATE', new X509Certificate(certificate.rawData).rawData),
    privateKey: pem('PRIVATE KEY', pkcs8),
    keys,
    subject,
  };
}

function pem(label: string, der: ArrayBuffer): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g)
    ?.join('\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
