import { createPublicKey } from 'node:crypto';
import { type CertificateFacts, readCertificate } from '../pki/certificate.ts';
import { failure, type Result } from '../pki/result.ts';
import type { JsonObject } from './json.ts';
import { readPublicJwk } from './jwk.ts';

/** The one certificate of an x509-svid key: base64 of DER, not base64url and no PEM (RFC 7517 4.7). Never throws. */
export function certificateOf(key: JsonObject): Result<CertificateFacts> {
  const x5c: unknown[] = Array.isArray(key.x5c) ? key.x5c : [];
  const [text] = x5c;
  if (x5c.length !== 1 || typeof text !== 'string') return failure(`x5c has ${x5c.length} elements`);
  const der = Buffer.from(text, 'base64');
  if (der.toString('base64') !== text) return failure('x5c is not base64 of DER');
  const read = readCertificate(der);
  return read.ok ? read : failure(`x5c cannot be read: ${read.reason}`);
}

/** Whether the numbers of an x509-svid key are those of the certificate in it, which no library looks at. */
export function isKeyOf(key: JsonObject, certificate: CertificateFacts): boolean {
  const publicKey = readPublicJwk(key);
  if (!publicKey.ok) return false;
  try {
    const spki = Buffer.from(certificate.spki);
    return publicKey.value.equals(createPublicKey({ key: spki, format: 'der', type: 'spki' }));
  } catch {
    return false;
  }
}
