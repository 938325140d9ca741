import { contextTag, derError, tags } from './der.ts';
import { derTrue, elementLength, objectIdentifier, writeHeader } from './der-writer.ts';
import { oids } from './oid.ts';

/** The names of a certificate, ASCII, in the order in which it carries them: URIs first. */
export interface CertificateNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
}

const start = Buffer.concat([objectIdentifier(oids.subjectAltName), derTrue]);
const uriTag = contextTag(6, 'primitive');
const dnsNameTag = contextTag(2, 'primitive');

/**
 * subjectAltName (RFC 5280 4.2.1.6), DER, in one buffer because it is made for each certificate. It is critical, as it
 * has to be where the subject is empty.
 *
 * @throws KubespiffeError DER_INVALID for no name at all, or a name that cannot stand in a certificate.
 */
export function subjectAltName({ uris, dnsNames }: CertificateNames): Uint8Array {
  let names = 0;
  for (const uri of uris) {
    checkUri(uri);
    names += elementLength(uri.length);
  }
  for (const name of dnsNames) {
    checkDnsName(name);
    names += elementLength(name.length);
  }
  if (names === 0) throw derError('a certificate without any name');

  const value = elementLength(names);
  const content = start.length + elementLength(value);
  const target = Buffer.allocUnsafe(elementLength(content));
  let at = writeHeader(target, 0, tags.sequence, content);
  target.set(start, at);
  at = writeHeader(target, at + start.length, tags.octetString, value);
  at = writeHeader(target, at, tags.sequence, names);
  for (const uri of uris) at = writeName(target, at, uriTag, uri);
  for (const name of dnsNames) at = writeName(target, at, dnsNameTag, name);
  return target;
}

function writeName(target: Buffer, offset: number, tag: number, name: string): number {
  const at = writeHeader(target, offset, tag, name.length);
  return at + target.write(name, at, 'latin1');
}

/** A URI is an IA5String; a wider character would silently be cut to eight bits. */
function checkUri(uri: string): void {
  if (!/^[\x21-\x7e]+$/.test(uri)) throw derError('a URI that is empty or not printable ASCII');
}

function checkDnsName(name: string): void {
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) throw derError('a DNS name that is not valid');
}
