import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { checkLeaf } from '../spiffe/conformance.ts';
import { type KeyTypeName, keyTypes } from '../spiffe/pki/algorithms.ts';
import { type CertificateFacts, readCertificate } from '../spiffe/pki/certificate.ts';
import { decodePem, encodePem } from '../spiffe/pki/pem.ts';
import { isSignedBy } from '../spiffe/pki/verify.ts';
import type { HttpsRequest } from './https.ts';
import { askEndpoint, strangeAnswer } from './token-endpoint.ts';

/** A certificate with its key. Times in seconds since the epoch. */
export interface Credentials {
  /** PKCS#8, PEM. A secret. */
  readonly keyPem: string;
  /** Leaf, then intermediates; PEM. */
  readonly chainPem: string;
  readonly rootsPem: string;
  readonly spiffeId: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly refreshAt: number;
}

/**
 * Makes a key and gets an X509-SVID for it with a projected ServiceAccount token, as a pod does. The answer is
 * checked: it must be a leaf for this key, with the ID in the answer, and lead to the roots in the answer.
 * @throws KubespiffeError TOKEN_REFUSED with what the endpoint says; neither token nor key is ever in it.
 */
export async function requestX509Svid(wanted: {
  readonly url: URL;
  readonly subjectToken: string;
  readonly keyType: KeyTypeName;
  readonly trust: HttpsRequest['trust'];
  readonly env: HttpsRequest['env'];
}): Promise<Credentials> {
  const { url, subjectToken, trust, env } = wanted;
  const { keyPem, spki, pkcs10 } = await newRequest(wanted.keyType);
  const said = await askEndpoint({
    url,
    headers: { 'content-type': 'application/pkcs10', authorization: `Bearer ${subjectToken}` },
    body: pkcs10,
    trust,
    env,
  });
  const { spiffe_id: spiffeId, certificate_chain: chainPem, trust_bundle: rootsPem } = said;
  const { refresh_at: refreshAt } = said;
  if (typeof chainPem !== 'string' || typeof rootsPem !== 'string' || typeof spiffeId !== 'string') {
    throw strangeAnswer(url, 'did not answer with certificates');
  }
  const [leaf, ...intermediates] = certificatesOf(chainPem);
  const roots = certificatesOf(rootsPem);
  if (!leaf || typeof refreshAt !== 'number') throw strangeAnswer(url, 'did not answer with certificates');
  if (Buffer.compare(leaf.spki, spki) !== 0)
    throw strangeAnswer(url, 'answered with a certificate for another key');
  const broken = checkLeaf(leaf).find(({ level, ok }) => level === 'must' && !ok);
  if (broken || leaf.uris[0] !== spiffeId)
    throw strangeAnswer(url, 'answered with a certificate that is not an X509-SVID');
  if (!leadsTo([leaf, ...intermediates], roots)) {
    throw strangeAnswer(url, 'answered with a certificate that none of its roots has signed');
  }
  const { notBefore, notAfter } = leaf;
  return { keyPem, chainPem, rootsPem, spiffeId, notBefore, notAfter, refreshAt };
}

async function newRequest(keyType: KeyTypeName): Promise<{ keyPem: string; spki: Buffer; pkcs10: Buffer }> {
  const algorithm = keyTypes[keyType].webcrypto;
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const request = await Pkcs10CertificateRequestGenerator.create(
    { keys, signingAlgorithm: algorithm },
    webcrypto as never,
  );
  const [pkcs8, spki] = await Promise.all([
    webcrypto.subtle.exportKey('pkcs8', keys.privateKey),
    webcrypto.subtle.exportKey('spki', keys.publicKey),
  ]);
  return {
    keyPem: encodePem('PRIVATE KEY', Buffer.from(pkcs8)),
    spki: Buffer.from(spki),
    pkcs10: Buffer.from(request.rawData),
  };
}

/** The certificates of a PEM text; none if it is empty or contains anything else. */
function certificatesOf(pem: string): readonly CertificateFacts[] {
  const blocks = decodePem(pem, { strict: true });
  const read = blocks.ok ? blocks.value.map(({ der }) => readCertificate(der)) : [];
  return read.every((one) => one.ok) ? read.map(({ value }) => value) : [];
}

/** Whether each certificate is signed by the next, and the last by one of the roots. */
function leadsTo(chain: readonly CertificateFacts[], roots: readonly CertificateFacts[]): boolean {
  return chain.every((one, at) => {
    const next = chain[at + 1];
    return (next ? [next] : roots).some((issuer) => isSignedBy(one, issuer));
  });
}
