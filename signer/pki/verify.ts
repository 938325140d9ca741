import { createPublicKey, verify } from 'node:crypto';
import type { CertificateFacts } from './certificate.ts';

/** Digest by the name of the signature algorithm; null where the algorithm brings its own. SHA-1 and MD5 are out. */
const digests: Readonly<Record<string, string | null>> = {
  'ecdsa-with-SHA256': 'sha256',
  'ecdsa-with-SHA384': 'sha384',
  'ecdsa-with-SHA512': 'sha512',
  sha256WithRSAEncryption: 'sha256',
  sha384WithRSAEncryption: 'sha384',
  sha512WithRSAEncryption: 'sha512',
  Ed25519: null,
};

/**
 * Whether `issuer` has signed `certificate`: the name fits, the key identifiers do not contradict, and the
 * signature verifies. Dates and usages are not looked at. It builds a KeyObject, so it is not for the hot path.
 */
export function isSignedBy(certificate: CertificateFacts, issuer: CertificateFacts): boolean {
  if (Buffer.compare(certificate.issuerDer, issuer.subjectDer) !== 0) return false;
  const { authorityKeyId } = certificate;
  if (authorityKeyId && issuer.hasSubjectKeyId && Buffer.compare(authorityKeyId, issuer.keyId) !== 0)
    return false;
  const digest = digests[certificate.signatureAlgorithm];
  if (digest === undefined) return false;
  try {
    const key = createPublicKey({ key: Buffer.from(issuer.spki), format: 'der', type: 'spki' });
    return verify(digest, certificate.tbs, key, certificate.signature);
  } catch {
    // OpenSSL cannot read the key, or its kind does not fit the algorithm: then it has not signed this.
    return false;
  }
}
