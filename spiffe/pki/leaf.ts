import { contextTag, derError, tags } from './der.ts';
import {
  bitString,
  derTrue,
  encode,
  headerLength,
  objectIdentifier,
  sequence,
  writeHeader,
} from './der-writer.ts';
import { extension } from './leaf-extensions.ts';
import { oids } from './oid.ts';
import type { CertificateSigner } from './sign.ts';
import { type Seconds, timeLength, writeTime } from './time.ts';

/** What differs from leaf to leaf. */
export interface LeafFields {
  /** 1 to 20 octets, positive and in shortest form (`makeSerial`). */
  readonly serial: Uint8Array;
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
  /** SubjectPublicKeyInfo, DER, copied as it is. */
  readonly spki: Uint8Array;
  readonly keyId: Uint8Array;
  /** The SPIFFE ID, ASCII. */
  readonly uri: string;
  /** DNS names beside it (X509-SVID 2 allows them), ASCII, for servers whose clients know nothing of SPIFFE. */
  readonly dnsNames?: readonly string[];
  /** Extensions beyond the profile, DER, one after another (`leafExtensions`); none of those that the template has. */
  readonly furtherExtensions?: Uint8Array | undefined;
}

/** The bytes of leaves of one authority. */
export interface LeafTemplate {
  /** TBSCertificate, DER. */
  build(leaf: LeafFields): Uint8Array;
  /** Certificate, DER, of a TBSCertificate and the authority's signature over it. */
  assemble(tbs: Uint8Array, signature: Uint8Array): Uint8Array;
}

/** One authority, ready to sign leaves. */
export interface SigningAuthority {
  readonly id: string;
  readonly template: LeafTemplate;
  readonly signer: CertificateSigner;
  /** PEM of the intermediates from the leaf's issuer upwards, without the root; empty where the root signs. */
  readonly chainSuffixPem: string;
  /** Latest notBefore and earliest notAfter of signing certificate, intermediates and root. */
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
}

/** digitalSignature is bit 0; seven bits are unused. */
const keyUsage = extension(oids.keyUsage, 'critical', encode(tags.bitString, Uint8Array.of(7, 0x80)));
const extKeyUsage = extension(
  oids.extKeyUsage,
  'not critical',
  sequence(objectIdentifier(oids.serverAuth), objectIdentifier(oids.clientAuth)),
);
/** cA is FALSE by default, so the SEQUENCE is empty. */
const basicConstraints = extension(oids.basicConstraints, 'critical', sequence());
const version3 = encode(contextTag(0), encode(tags.integer, Uint8Array.of(2)));
const emptyName = sequence();
const subjectKeyIdOid = objectIdentifier(oids.subjectKeyIdentifier);
const subjectAltNameStart = Buffer.concat([objectIdentifier(oids.subjectAltName), derTrue]);

/** Length of an element with so many content octets. */
function elementLength(contentLength: number): number {
  return headerLength(contentLength) + contentLength;
}

/**
 * Compiles what is the same in all leaves of an authority, so that a leaf is a few copies into one buffer.
 * The profile is X509-SVID: empty subject, critical SAN with one URI, critical
 * KeyUsage digitalSignature, EKU serverAuth and clientAuth, critical BasicConstraints CA:FALSE, SKI, AKI.
 *
 * @param authority issuerDer: subject of the signing certificate, DER. keyId: its subject key identifier.
 *   algorithmDer: the signer's.
 */
export function compileLeafTemplate(authority: {
  issuerDer: Uint8Array;
  keyId: Uint8Array;
  algorithmDer: Uint8Array;
}): LeafTemplate {
  const { algorithmDer } = authority;
  const algorithmAndIssuer = Buffer.concat([algorithmDer, authority.issuerDer]);
  const fixedExtensions = Buffer.concat([
    keyUsage,
    extKeyUsage,
    basicConstraints,
    extension(
      oids.authorityKeyIdentifier,
      'not critical',
      sequence(encode(contextTag(0, 'primitive'), authority.keyId)),
    ),
  ]);

  const build = (leaf: LeafFields): Uint8Array => {
    checkSerial(leaf.serial);
    checkUri(leaf.uri);
    const dnsNames = dnsNamesOf(leaf.dnsNames);
    const further = leaf.furtherExtensions ?? none;
    const validity = timeLength(leaf.notBefore) + timeLength(leaf.notAfter);

    const subjectKeyIdValue = elementLength(leaf.keyId.length);
    const subjectKeyId = subjectKeyIdOid.length + elementLength(subjectKeyIdValue);
    const generalName = elementLength(leaf.uri.length);
    const generalNames = elementLength(generalName + dnsNames.length);
    const subjectAltName = subjectAltNameStart.length + elementLength(generalNames);
    const extensions =
      fixedExtensions.length + elementLength(subjectKeyId) + elementLength(subjectAltName) + further.length;
    const content =
      version3.length +
      elementLength(leaf.serial.length) +
      algorithmAndIssuer.length +
      elementLength(validity) +
      emptyName.length +
      leaf.spki.length +
      elementLength(elementLength(extensions));

    const target = Buffer.allocUnsafe(elementLength(content));
    const copy = (bytes: Uint8Array, at: number): number => {
      target.set(bytes, at);
      return at + bytes.length;
    };
    let at = writeHeader(target, 0, tags.sequence, content);
    at = copy(version3, at);
    at = copy(leaf.serial, writeHeader(target, at, tags.integer, leaf.serial.length));
    at = copy(algorithmAndIssuer, at);
    at = writeHeader(target, at, tags.sequence, validity);
    at = writeTime(target, writeTime(target, at, leaf.notBefore), leaf.notAfter);
    at = copy(emptyName, at);
    at = copy(leaf.spki, at);
    at = writeHeader(target, at, contextTag(3), elementLength(extensions));
    at = writeHeader(target, at, tags.sequence, extensions);
    at = copy(fixedExtensions, at);
    at = copy(subjectKeyIdOid, writeHeader(target, at, tags.sequence, subjectKeyId));
    at = writeHeader(target, at, tags.octetString, subjectKeyIdValue);
    at = copy(leaf.keyId, writeHeader(target, at, tags.octetString, leaf.keyId.length));
    at = copy(subjectAltNameStart, writeHeader(target, at, tags.sequence, subjectAltName));
    at = writeHeader(target, at, tags.octetString, generalNames);
    at = writeHeader(target, at, tags.sequence, generalName + dnsNames.length);
    at = writeHeader(target, at, contextTag(6, 'primitive'), leaf.uri.length);
    at += target.write(leaf.uri, at, 'latin1');
    at = copy(dnsNames, at);
    copy(further, at);
    return target;
  };

  const assemble = (tbs: Uint8Array, signature: Uint8Array): Uint8Array =>
    sequence(tbs, algorithmDer, bitString(signature));

  return { build, assemble };
}

const none = new Uint8Array();

/** GeneralNames of DNS names, in order (RFC 5280 4.2.1.6). */
function dnsNamesOf(names: readonly string[] | undefined): Uint8Array {
  if (!names || names.length === 0) return none;
  for (const name of names) {
    if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) throw derError('a DNS name that is none');
  }
  return Buffer.concat(names.map((name) => encode(contextTag(2, 'primitive'), Buffer.from(name, 'latin1'))));
}

/** RFC 5280 4.1.2.2; DER: positive and without a redundant zero octet. */
function checkSerial(serial: Uint8Array): void {
  const [first = 0, second = 0] = serial;
  const isPositive = first < 0x80 && (first > 0 || second >= 0x80);
  if (serial.length > 20 || !isPositive)
    throw derError('a serial number that is not positive, minimal and short');
}

/** A URI is an IA5String; a wider character would be cut to eight bits without a word. */
function checkUri(uri: string): void {
  if (!/^[\x21-\x7e]+$/.test(uri)) throw derError('a SPIFFE ID that is empty or not printable ASCII');
}
