import { constants, createPublicKey, verify } from 'node:crypto';
import type { CertificateFacts } from './certificate.ts';
import { type SignatureAlgorithm, signatureAlgorithmNamed } from './signature-algorithms.ts';

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
    const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
    return verify(algorithm.digest, signed, { key, ...(algorithm.isPss && pss) }, signature);
  } catch {
    // OpenSSL cannot read the key.
    return false;
  }
}

/**
 * Whether `issuer` has signed `certificate`: the name fits, the key identifiers do not contradict, and the
 * signature verifies. Dates and usages are not looked at.
 */
export function isSignedBy(certificate: CertificateFacts, issuer: CertificateFacts): boolean {
  if (Buffer.compare(certificate.issuerDer, issuer.subjectDer) !== 0) return false;
  const { authorityKeyId } = certificate;
  if (authorityKeyId && issuer.hasSubjectKeyId && Buffer.compare(authorityKeyId, issuer.keyId) !== 0)
    return false;
  const algorithm = signatureAlgorithmNamed(certificate.signatureAlgorithm);
  return (
    algorithm !== undefined && verifySignature(algorithm, issuer.spki, certificate.tbs, certificate.signature)
  );
}
