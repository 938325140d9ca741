import { hash } from 'node:crypto';
import { decodePem } from '../pki/pem.ts';

/** SHA-256 of the DER of each block of a PEM text, in hex; none where the text cannot be read. */
export function fingerprintsOf(pem: string): ReadonlySet<string> {
  const blocks = decodePem(pem);
  return new Set(blocks.ok ? blocks.value.map(({ der }) => hash('sha256', der, 'hex')) : []);
}
