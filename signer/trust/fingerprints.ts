import { hash } from 'node:crypto';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';

/** SHA-256 of the DER of each block of a PEM text, in hex; empty if the text cannot be read. */
export function fingerprintsOf(pem: string): ReadonlySet<string> {
  const blocks = decodePem(pem);
  return new Set(blocks.ok ? blocks.value.map(({ der }) => hash('sha256', der, 'hex')) : []);
}

/** notAfter of each certificate of a PEM text, by the SHA-256 of its DER in hex. Unreadable ones are left out. */
export function endsIn(pem: string): ReadonlyMap<string, Seconds> {
  const blocks = decodePem(pem);
  const read = blocks.ok ? blocks.value.map(({ der }) => readCertificate(der)) : [];
  return new Map(read.flatMap((each) => (each.ok ? [[each.value.sha256Hex, each.value.notAfter]] : [])));
}
