import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { soleBlock } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/** The keys of a pool as they are written. The reasons of OpenSSL are left out, like every part of the text. */

/** Reads the PEM of a private key in a pool. */
export function readPrivateKey(pem: string): Result<KeyObject> {
  const der = soleBlock(pem, 'PRIVATE KEY');
  if (!der) return failure('is not one unencrypted PKCS#8 block (BEGIN PRIVATE KEY)');
  try {
    return success(createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' }));
  } catch {
    return failure('is not a readable PKCS#8 private key');
  }
}

export function readPublicKey(pem: string): Result<KeyObject> {
  const der = soleBlock(pem, 'PUBLIC KEY');
  if (!der) return failure('is not one PEM block of a SubjectPublicKeyInfo');
  try {
    return success(publicKeyOf({ spki: der }));
  } catch {
    return failure('is not a readable public key');
  }
}

/** The public key (SubjectPublicKeyInfo, DER) that a request in PEM asks for; undefined where it cannot be read. */
export function keyOfRequest(pem: string): Uint8Array | undefined {
  const der = soleBlock(pem, 'CERTIFICATE REQUEST');
  const key = der && readCsrKey(der);
  return key?.kind === 'supported' ? key.spki : undefined;
}

/** @throws where node:crypto cannot read it. */
export function publicKeyOf({ spki }: { readonly spki: Uint8Array }): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
}
