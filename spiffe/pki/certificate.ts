import { hash } from 'node:crypto';
import {
  bitStringOctets,
  contentOf,
  contextTag,
  cursor,
  derError,
  derOf,
  positiveInteger,
  readDer,
  smallInteger,
  soleElement,
  tags,
} from './der.ts';
import {
  authorityKeyIdOf,
  basicConstraintsOf,
  type Extension,
  extensionsOf,
  extKeyUsageOf,
  findExtension,
  keyUsageOf,
  subjectAltNameOf,
  subjectKeyIdOf,
} from './extensions.ts';
import { isEmptyName } from './name.ts';
import { decodeOid, nameOfOid } from './oid.ts';
import { blocksIn } from './pem.ts';
import type { Result } from './result.ts';
import { keyIdentifier, type SubjectKey, subjectKeyOf } from './spki.ts';
import { type Seconds, timeOf } from './time.ts';

/** What a certificate says, read from its DER. Nothing in here has been verified but its form. */
export interface CertificateFacts {
  readonly der: Uint8Array;
  /** TBSCertificate, the signed part, DER. */
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
  /** Lower-case hex without a sign octet. */
  readonly serialHex: string;
  readonly issuerDer: Uint8Array;
  readonly hasIssuer: boolean;
  readonly subjectDer: Uint8Array;
  readonly hasSubject: boolean;
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly publicKey: SubjectKey;
  /** Subject key identifier: the extension's, else SHA-1 of the key's octets. */
  readonly keyId: Uint8Array;
  readonly hasSubjectKeyId: boolean;
  readonly authorityKeyId: Uint8Array | undefined;
  readonly isCa: boolean;
  readonly pathLen: number | undefined;
  readonly hasBasicConstraints: boolean;
  readonly basicConstraintsCritical: boolean;
  /** undefined where the extension is absent. */
  readonly keyUsage: readonly string[] | undefined;
  readonly keyUsageCritical: boolean;
  /** Names, or object identifiers without a known name; empty if the extension is absent. */
  readonly extKeyUsage: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** The kinds of the further names in subjectAltName, such as "email". */
  readonly otherNameKinds: readonly string[];
  readonly sanCritical: boolean;
  /** Whether issuer and subject are the same name. Says nothing about the signature. */
  readonly selfIssued: boolean;
  /** For example "ecdsa-with-SHA256". */
  readonly signatureAlgorithm: string;
  readonly extensions: readonly Extension[];
  /** Fingerprint: SHA-256 of the DER, lower-case hex. */
  readonly sha256Hex: string;
}

/** Reads a version 3 certificate strictly (DER, RFC 5280 4.1). Never throws. */
export function readCertificate(der: Uint8Array): Result<CertificateFacts> {
  return readDer(() => certificateOf(der));
}

/** The certificates of a PEM text that can be read, in its order. */
export function readableCertificates(pem: string): CertificateFacts[] {
  return blocksIn(pem)
    .map(readCertificate)
    .flatMap((read) => (read.ok ? [read.value] : []));
}

function certificateOf(der: Uint8Array): CertificateFacts {
  const outer = cursor(soleElement(der, tags.sequence, 'the certificate'));
  const tbs = outer.next(tags.sequence, 'the signed part');
  const outerAlgorithm = outer.next(tags.sequence, 'the signature algorithm');
  const signature = bitStringOctets(outer.any('the signature'), 'the signature');
  outer.end('the certificate');

  const fields = cursor(tbs);
  const version = cursor(fields.next(contextTag(0), 'the version'));
  if (smallInteger(version.any('the version'), 'the version') !== 2) throw derError('the version is not 3');
  version.end('the version');
  const serial = positiveInteger(fields.any('the serial number'), 'the serial number');
  if (serial.length > 20) throw derError('the serial number is longer than 20 octets');
  const innerAlgorithm = fields.next(tags.sequence, 'the signature algorithm');
  // Two statements of the algorithm that differ are an old way to confuse verifiers (RFC 5280 4.1.1.2).
  if (Buffer.compare(derOf(innerAlgorithm), derOf(outerAlgorithm)) !== 0) {
    throw derError('the two signature algorithms differ');
  }
  const issuer = fields.next(tags.sequence, 'the issuer');
  const validity = cursor(fields.next(tags.sequence, 'the validity'));
  const notBefore = timeOf(validity.any('notBefore'), 'notBefore');
  const notAfter = timeOf(validity.any('notAfter'), 'notAfter');
  validity.end('the validity');
  const subject = fields.next(tags.sequence, 'the subject');
  const spki = fields.next(tags.sequence, 'the public key');
  // Between key and extensions version 2 had two identifiers; RFC 5280 4.1.2.8 forbids CAs to write them.
  const extensions: Extension[] = [];
  if (fields.peek() !== undefined) {
    const wrapper = cursor(fields.next(contextTag(3), 'the extensions'));
    extensions.push(...extensionsOf(wrapper.any('the extensions')));
    wrapper.end('the extensions');
  }
  fields.end('the signed part');

  return {
    der,
    tbs: derOf(tbs),
    signature,
    serialHex: Buffer.from(serial).toString('hex'),
    issuerDer: derOf(issuer),
    hasIssuer: !isEmptyName(issuer),
    subjectDer: derOf(subject),
    hasSubject: !isEmptyName(subject),
    notBefore,
    notAfter,
    spki: derOf(spki),
    publicKey: subjectKeyOf(spki),
    selfIssued: Buffer.compare(derOf(issuer), derOf(subject)) === 0,
    signatureAlgorithm: nameOfOid(
      decodeOid(contentOf(cursor(outerAlgorithm).next(tags.oid, 'the algorithm'))),
    ),
    extensions,
    sha256Hex: hash('sha256', der),
    ...extensionFacts(extensions, () => {
      const parts = cursor(spki);
      parts.any('the algorithm of the public key');
      return keyIdentifier(bitStringOctets(parts.any('the public key'), 'the public key'));
    }),
  };
}

function extensionFacts(extensions: readonly Extension[], computeKeyId: () => Uint8Array) {
  const basic = findExtension(extensions, 'basicConstraints');
  const usage = findExtension(extensions, 'keyUsage');
  const purposes = findExtension(extensions, 'extKeyUsage');
  const san = findExtension(extensions, 'subjectAltName');
  const subjectKeyId = findExtension(extensions, 'subjectKeyIdentifier');
  const authorityKeyId = findExtension(extensions, 'authorityKeyIdentifier');
  const constraints = basic && basicConstraintsOf(basic.value);
  const names = san && subjectAltNameOf(san.value);
  return {
    keyId: subjectKeyId ? subjectKeyIdOf(subjectKeyId.value) : computeKeyId(),
    hasSubjectKeyId: subjectKeyId !== undefined,
    authorityKeyId: authorityKeyId && authorityKeyIdOf(authorityKeyId.value),
    isCa: constraints?.isCa ?? false,
    pathLen: constraints?.pathLen,
    hasBasicConstraints: basic !== undefined,
    basicConstraintsCritical: basic?.critical ?? false,
    keyUsage: usage && keyUsageOf(usage.value),
    keyUsageCritical: usage?.critical ?? false,
    extKeyUsage: purposes ? extKeyUsageOf(purposes.value) : [],
    uris: names?.uris ?? [],
    dnsNames: names?.dnsNames ?? [],
    otherNameKinds: names?.otherKinds ?? [],
    sanCritical: san?.critical ?? false,
  };
}
