import { createPublicKey, type KeyObject } from 'node:crypto';
import type { JsonObject } from './json.ts';
import { readPublicJwk } from './jwk.ts';
import { type CertificateFacts, readCertificate } from './pki/certificate.ts';
import { failure, type Result } from './pki/result.ts';

/** A key of a bundle. Certificate and public key are read once, however many clauses look at them: that takes most of the time. */
export interface BundleKey {
  readonly members: JsonObject;
  readonly certificate: () => Result<CertificateFacts>;
  readonly publicKey: () => Result<KeyObject>;
}

/** Nothing is read before it is asked for. */
export function bundleKeyOf(members: JsonObject): BundleKey {
  let certificate: Result<CertificateFacts> | undefined;
  let publicKey: Result<KeyObject> | undefined;
  return {
    members,
    certificate() {
      certificate ??= certificateOf(members);
      return certificate;
    },
    publicKey() {
      publicKey ??= readPublicJwk(members);
      return publicKey;
    },
  };
}

/**
 * The certificate of an x509-svid key: base64 of DER, not base64url and no PEM (RFC 7517 4.7). A reader ignores all but
 * the first (X509-SVID 6.2). Never throws.
 */
export function certificateOf(key: JsonObject): Result<CertificateFacts> {
  const [text] = x5cOf(key);
  if (typeof text !== 'string') return failure('x5c has no element that is a string');
  const der = Buffer.from(text, 'base64');
  if (der.toString('base64') !== text) return failure('x5c is not base64 of DER');
  const read = readCertificate(der);
  return read.ok ? read : failure(`x5c cannot be read: ${read.reason}`);
}

/** The elements of x5c, of which there are none where it is missing. */
export function x5cOf(key: JsonObject): readonly unknown[] {
  return Array.isArray(key.x5c) ? key.x5c : [];
}

/** Whether the numbers of an x509-svid key are those of the certificate in it, which no library looks at. */
export function isKeyOf(publicKey: KeyObject, certificate: CertificateFacts): boolean {
  try {
    const spki = Buffer.from(certificate.spki);
    return publicKey.equals(createPublicKey({ key: spki, format: 'der', type: 'spki' }));
  } catch {
    return false;
  }
}
