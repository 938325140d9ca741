import { createPublicKey, verify } from 'node:crypto';
import { type SignatureAlgorithm, signatureAlgorithms } from './algorithms.ts';
import type { CertificateFacts } from './certificate.ts';
import { contentOf, cursor, derOf, type Element, tags } from './der.ts';
import { decodeOid, nameOfOid } from './oid.ts';

const algorithms: readonly SignatureAlgorithm[] = Object.values(signatureAlgorithms);

/**
 * The algorithm of an AlgorithmIdentifier, compared whole: parameters that mean something else are another algorithm.
 * @returns the name of one that is not verified here. @throws DER_INVALID
 */
export function signatureAlgorithmOf(identifier: Element): SignatureAlgorithm | { readonly unknown: string } {
  const der = derOf(identifier);
  const found = algorithms.find(({ encodings }) => encodings.some((each) => Buffer.compare(each, der) === 0));
  if (found) return found;
  const oid = cursor(identifier).next(tags.oid, 'the signature algorithm');
  return { unknown: nameOfOid(decodeOid(contentOf(oid))) };
}

/**
 * Whether the holder of a key has signed these octets. A key of another kind than the algorithm's has not. It builds a
 * KeyObject, so it is not for the hot path. Never throws.
 *
 * @param spki SubjectPublicKeyInfo, DER.
 */
export function verifySignature(
  algorithm: SignatureAlgorithm,
  spki: Uint8Array,
  signed: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    if (key.asymmetricKeyType !== algorithm.keyType) return false;
    return verify(algorithm.digest, signed, { key, ...algorithm.pss }, signature);
  } catch {
    // OpenSSL cannot read the key.
    return false;
  }
}

/**
 * Whether `issuer` has signed `certificate`: the name fits, the key identifiers do not contradict, and the
 * signature verifies. Dates and usages are not looked at. X509Certificate.verify of node:crypto takes as long, and would
 * still need the list of algorithms, since it also verifies SHA-1.
 */
export function isSignedBy(certificate: CertificateFacts, issuer: CertificateFacts): boolean {
  if (Buffer.compare(certificate.issuerDer, issuer.subjectDer) !== 0) return false;
  const { authorityKeyId } = certificate;
  if (authorityKeyId && issuer.hasSubjectKeyId && Buffer.compare(authorityKeyId, issuer.keyId) !== 0)
    return false;
  const algorithm = algorithms.find(({ name }) => name === certificate.signatureAlgorithm);
  return (
    algorithm !== undefined && verifySignature(algorithm, issuer.spki, certificate.tbs, certificate.signature)
  );
}
