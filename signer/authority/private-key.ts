import { createPrivateKey, type KeyObject } from 'node:crypto';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/** Reads the PEM of a private key in a pool. The reasons of OpenSSL are left out, like every part of the text. */
export function readPrivateKey(pem: string): Result<KeyObject> {
  const blocks = decodePem(pem);
  const block = blocks.ok && blocks.value.length === 1 ? blocks.value[0] : undefined;
  if (block?.label !== 'PRIVATE KEY') {
    return failure('is not one unencrypted PKCS#8 block (BEGIN PRIVATE KEY)');
  }
  try {
    return success(createPrivateKey({ key: Buffer.from(block.der), format: 'der', type: 'pkcs8' }));
  } catch {
    return failure('is not a readable PKCS#8 private key');
  }
}
