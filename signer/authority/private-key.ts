import { createPrivateKey, type KeyObject } from 'node:crypto';
import { soleBlock } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/** Reads the PEM of a private key in a pool. The reasons of OpenSSL are left out, like every part of the text. */
export function readPrivateKey(pem: string): Result<KeyObject> {
  const der = soleBlock(pem, 'PRIVATE KEY');
  if (!der) return failure('is not one unencrypted PKCS#8 block (BEGIN PRIVATE KEY)');
  try {
    return success(createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' }));
  } catch {
    return failure('is not a readable PKCS#8 private key');
  }
}
