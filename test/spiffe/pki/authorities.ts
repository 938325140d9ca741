import 'reflect-metadata';
import { createPublicKey, type KeyObject, type webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { type CertificateFacts, readCertificate } from '../../../spiffe/pki/certificate.ts';
import { leafTemplates, type SigningAuthority } from '../../../spiffe/pki/leaf.ts';
import { encodePem } from '../../../spiffe/pki/pem.ts';
import { certificateSigner } from '../../../spiffe/pki/sign.ts';
import type { Seconds } from '../../../spiffe/pki/time.ts';
import { makeKey, type TestKey, type TestKeyName } from './keys.ts';

/** A CA of the tests, made with @peculiar/x509 and so independent of the code under test. */
export interface TestCa {
  readonly key: TestKey;
  readonly facts: CertificateFacts;
  readonly pem: string;
}

type WebAlgorithm = webcrypto.EcKeyImportParams & webcrypto.RsaHashedImportParams & { hash: string };

/** WebCrypto's words for the keys that can sign certificates. */
const webAlgorithms: Readonly<Record<string, Partial<WebAlgorithm> & { name: string }>> = {
  'ECDSA P-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'ECDSA P-384': { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  'ECDSA P-521': { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' },
  'RSA 3072': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  'RSA 4096': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  Ed25519: { name: 'Ed25519' },
};

export function webAlgorithm(keyName: string): WebAlgorithm {
  const algorithm = webAlgorithms[keyName];
  if (!algorithm) throw new Error(`no WebCrypto algorithm for ${keyName}`);
  return algorithm as WebAlgorithm;
}

export async function webKeyPair(name: string, privateKey: KeyObject): Promise<CryptoKeyPair> {
  const algorithm = webAlgorithm(name);
  return {
    privateKey: privateKey.toCryptoKey(algorithm, false, ['sign']),
    publicKey: createPublicKey(privateKey).toCryptoKey(algorithm, true, ['verify']),
  };
}

type CryptoKeyPair = { privateKey: webcrypto.CryptoKey; publicKey: webcrypto.CryptoKey };

export interface CaOptions {
  readonly keyName?: TestKeyName;
  readonly key?: TestKey;
  readonly trustDomain?: string;
  readonly subject?: string;
  readonly notBefore?: Seconds;
  readonly notAfter?: Seconds;
  /** Signed by this CA instead of by itself. */
  readonly issuer?: TestCa;
  readonly furtherExtensions?: readonly x509.Extension[];
  readonly pathLength?: number;
  /** Without the SPIFFE ID of the trust domain. */
  readonly withoutUri?: boolean;
}

/** A signing certificate as SPIFFE wants it: critical CA:TRUE, keyCertSign and cRLSign, the trust domain's ID. */
export async function makeCa(options: CaOptions = {}): Promise<TestCa> {
  const key = options.key ?? makeKey(options.keyName ?? 'ECDSA P-256');
  const keys = await webKeyPair(key.name, key.privateKey);
  const subject = options.subject ?? 'O=example.org, CN=root';
  const { issuer } = options;
  const signing = issuer ? await webKeyPair(issuer.key.name, issuer.key.privateKey) : keys;
  const now = Math.floor(Date.now() / 1000);
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer ? new x509.X509Certificate(issuer.pem).subject : subject,
    notBefore: new Date((options.notBefore ?? now - 3600) * 1000),
    notAfter: new Date((options.notAfter ?? now + 10 * 365 * 86_400) * 1000),
    signingAlgorithm: webAlgorithm(issuer?.key.name ?? key.name),
    publicKey: keys.publicKey,
    signingKey: signing.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(true, options.pathLength, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signing.publicKey),
      ...(options.withoutUri
        ? []
        : [
            new x509.SubjectAlternativeNameExtension([
              { type: 'url', value: `spiffe://${options.trustDomain ?? 'example.org'}` },
            ]),
          ]),
      ...(options.furtherExtensions ?? []),
    ],
  });
  const der = new Uint8Array(certificate.rawData);
  const facts = readCertificate(der);
  if (!facts.ok) throw new Error(facts.reason);
  return { key, facts: facts.value, pem: encodePem('CERTIFICATE', der) };
}

/** The signing authority of a chain: the CA that signs leaves first, then its issuers up to the root. */
export function authorityOf(signing: TestCa, ...issuers: readonly TestCa[]): SigningAuthority {
  const signer = certificateSigner(signing.key.privateKey);
  const chain = [signing, ...issuers];
  return {
    id: 'test',
    templateFor: leafTemplates({
      issuerDer: signing.facts.subjectDer,
      keyId: signing.facts.keyId,
      algorithmDer: signer.algorithmDer,
    }),
    signer,
    chainSuffixPem: chain
      .slice(0, -1)
      .map((ca) => ca.pem)
      .join(''),
    notBefore: Math.max(...chain.map((ca) => ca.facts.notBefore)),
    notAfter: Math.min(...chain.map((ca) => ca.facts.notAfter)),
  };
}
