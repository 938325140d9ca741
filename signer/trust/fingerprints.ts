import { hash } from 'node:crypto';
import { readableCertificates } from '../../spiffe/pki/certificate.ts';
import { blocksIn } from '../../spiffe/pki/pem.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';

/** SHA-256 of the DER of each block of a PEM text, in hex; empty if the text cannot be read. */
export function fingerprintsOf(pem: string): ReadonlySet<string> {
  return new Set(blocksIn(pem).map((der) => hash('sha256', der, 'hex')));
}

/** notAfter of each certificate of a PEM text, by the SHA-256 of its DER in hex. Unreadable ones are left out. */
export function endsIn(pem: string): ReadonlyMap<string, Seconds> {
  return new Map(readableCertificates(pem).map(({ sha256Hex, notAfter }) => [sha256Hex, notAfter]));
}
