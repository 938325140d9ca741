import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { soleBlock } from '../../spiffe/pki/pem.ts';

/** The public key (SubjectPublicKeyInfo, DER) that a request in PEM asks for; undefined where it cannot be read. */
export function keyOfRequest(pem: string): Uint8Array | undefined {
  const der = soleBlock(pem, 'CERTIFICATE REQUEST');
  const key = der && readCsrKey(der);
  return key?.kind === 'supported' ? key.spki : undefined;
}
