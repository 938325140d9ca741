import { X509Certificate } from 'node:crypto';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import type { TestCa } from '../authority/authorities.ts';

/** The root of a CA as a key of a SPIFFE bundle. */
export function x509KeyOf({ certificate }: Pick<TestCa, 'certificate'>) {
  const read = new X509Certificate(certificate);
  return { ...publicJwkOf(read.publicKey), use: 'x509-svid', x5c: [read.raw.toString('base64')] };
}
