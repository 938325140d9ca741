import { contentOf, contextTag, cursor, derError, readDer, soleElement, tags } from './der.ts';
import {
  derTrue,
  encode,
  headerLength,
  objectIdentifier,
  octetString,
  sequence,
  writeHeader,
} from './der-writer.ts';
import { type Extension, findExtension } from './extensions.ts';
import { oids } from './oid.ts';
import type { Result } from './result.ts';

/**
 * The pod that a leaf was made for (KEP-4317, X.509 PodIdentity Extension). Names and UIDs are those of the
 * PodCertificateRequest, which the API server holds against the node that makes it.
 */
export interface PodIdentity {
  readonly namespace: string;
  /** A request does not name it; written as empty where it is absent. */
  readonly namespaceUID?: string;
  readonly serviceAccountName: string;
  readonly serviceAccountUID: string;
  readonly podName: string;
  readonly podUID: string;
  readonly nodeName: string;
  readonly nodeUID: string;
}

/** Field n has the implicit tag [n]. */
const podIdentityFields = [
  'namespace',
  'namespaceUID',
  'serviceAccountName',
  'serviceAccountUID',
  'podName',
  'podUID',
  'nodeName',
  'nodeUID',
] as const satisfies readonly (keyof PodIdentity)[];

/** Extension of RFC 5280 4.1, DER. `value` is what its OCTET STRING holds. */
export function extension(oid: string, critical: 'critical' | 'not critical', value: Uint8Array): Uint8Array {
  return sequence(objectIdentifier(oid), ...(critical === 'critical' ? [derTrue] : []), octetString(value));
}

/**
 * Makes the wanted extensions of leaves beyond the profile of SPIFFE: the pod, and the issuer of the cluster's
 * JWT-SVIDs. Neither is critical, so readers that do not know them ignore them.
 *
 * @param wanted issuer: the URL of the issuer, or undefined for none.
 * @returns for `CertificateProfile.extensionsFor`.
 */
export function leafExtensions(wanted: {
  readonly podIdentity: boolean;
  readonly issuer: string | undefined;
}): (identity: PodIdentity) => Uint8Array | undefined {
  const issuer = wanted.issuer === undefined ? undefined : issuerExtension(wanted.issuer);
  if (!wanted.podIdentity) return () => issuer;
  return (identity) => {
    const pod = podIdentityExtension(identity);
    return issuer ? Buffer.concat([pod, issuer]) : pod;
  };
}

/** issuerAltName with one URI (RFC 5280 4.2.1.7): further names of the issuer. */
function issuerExtension(url: string): Uint8Array {
  if (!/^[\x21-\x7e]+$/.test(url)) throw derError('a URL that is empty or not printable ASCII');
  const name = encode(contextTag(6, 'primitive'), Buffer.from(url, 'latin1'));
  return extension(oids.issuerAltName, 'not critical', sequence(name));
}

const podIdentityOid = objectIdentifier(oids.podIdentity);

/** The pod as encoding/asn1 of Go writes the struct of the KEP, in one buffer: this is made for each leaf. */
function podIdentityExtension(identity: PodIdentity): Uint8Array {
  let fields = 0;
  for (const field of podIdentityFields) {
    const length = Buffer.byteLength(identity[field] ?? '');
    fields += headerLength(length) + length;
  }
  const value = headerLength(fields) + fields;
  const content = podIdentityOid.length + headerLength(value) + value;
  const target = Buffer.allocUnsafe(headerLength(content) + content);
  let at = writeHeader(target, 0, tags.sequence, content);
  target.set(podIdentityOid, at);
  at = writeHeader(target, at + podIdentityOid.length, tags.octetString, value);
  at = writeHeader(target, at, tags.sequence, fields);
  for (const [number, field] of podIdentityFields.entries()) {
    const text = identity[field] ?? '';
    at = writeHeader(target, at, contextTag(number, 'primitive'), Buffer.byteLength(text));
    at += target.write(text, at);
  }
  return target;
}

/** The pod that a certificate names; undefined where it names none. */
export function readPodIdentity(extensions: readonly Extension[]): Result<Required<PodIdentity>> | undefined {
  const found = findExtension(extensions, 'podIdentity');
  return found && readDer(() => podIdentityOf(found.value));
}

function podIdentityOf(value: Uint8Array): Required<PodIdentity> {
  const fields = cursor(soleElement(value, tags.sequence, 'podIdentity'));
  const texts = podIdentityFields.map((name, number) => {
    const content = contentOf(fields.next(contextTag(number, 'primitive'), name));
    return [name, utf8(content, name)] as const;
  });
  fields.end('podIdentity');
  return Object.fromEntries(texts) as Record<(typeof podIdentityFields)[number], string>;
}

/** A control character in a name is meant to deceive the reader. */
function utf8(content: Uint8Array, what: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
    if (!/\p{Cc}/u.test(text)) return text;
  } catch {
    // Said below.
  }
  throw derError(`${what} is not printable UTF-8`);
}
