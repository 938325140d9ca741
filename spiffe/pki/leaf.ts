import type { KeyType } from './algorithms.ts';
import { contextTag, derError, tags } from './der.ts';
import { bitString, elementLength, encode, objectIdentifier, sequence, writeHeader } from './der-writer.ts';
import { type KeyUsage, keyUsageBits } from './extensions.ts';

import { extension, type PodIdentity } from './leaf-extensions.ts';
import { oids } from './oid.ts';
import type { SigningKey } from './sign.ts';
import type { SupportedKey } from './spki.ts';
import { type Seconds, timeLength, writeTime } from './time.ts';

/** What all leaves of a signer have in common, independent of the authority that signs them. Their subject is empty. */
export interface CertificateProfile {
  /** By the kind of key that is certified: not every key can do everything (RFC 5280 4.2.1.3). */
  readonly keyUsage: Readonly<Record<KeyType['family'], readonly [KeyUsage, ...KeyUsage[]]>>;
  readonly extKeyUsage: readonly [ExtKeyUsage, ...ExtKeyUsage[]];
  /** Further extensions for the leaf of a pod, DER, one after another. None that the template writes itself. */
  readonly extensionsFor?: (pod: PodIdentity) => Uint8Array | undefined;
}

type ExtKeyUsage = 'serverAuth' | 'clientAuth';

/** What differs from leaf to leaf. */
export interface LeafFields {
  /** 1 to 20 octets, positive and in shortest form (`makeSerial`). */
  readonly serial: Uint8Array;
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
  readonly key: SupportedKey;
  /** The extension, DER, from `subjectAltName`. */
  readonly subjectAltName: Uint8Array;
  /** DER, one after another. */
  readonly furtherExtensions?: Uint8Array | undefined;
}

/** The bytes of leaves of one authority and one profile. */
export interface LeafTemplate {
  /** TBSCertificate, DER. */
  build(leaf: LeafFields): Uint8Array;
  /** Certificate, DER, of a TBSCertificate and the authority's signature over it. */
  assemble(tbs: Uint8Array, signature: Uint8Array): Uint8Array;
}

/** One authority, ready to sign leaves. */
export interface SigningAuthority {
  readonly id: string;
  /** The template of a profile, compiled when it is first asked for. */
  readonly templateFor: (profile: CertificateProfile) => LeafTemplate;
  readonly signer: SigningKey;
  /** PEM of the intermediates from the leaf's issuer upwards, without the root; empty where the root signs. */
  readonly chainSuffixPem: string;
  /** Latest notBefore and earliest notAfter of signing certificate, intermediates and root. */
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
}

/** cA is FALSE by default, so the SEQUENCE is empty. */
const basicConstraints = extension(oids.basicConstraints, 'critical', sequence());
const version3 = encode(contextTag(0), encode(tags.integer, Uint8Array.of(2)));
const emptyName = sequence();
const subjectKeyIdOid = objectIdentifier(oids.subjectKeyIdentifier);
const none = new Uint8Array();

/** The authority that signs: subject and key identifier of its certificate, and its signature algorithm. DER. */
interface Issuer {
  readonly issuerDer: Uint8Array;
  readonly keyId: Uint8Array;
  readonly algorithmDer: Uint8Array;
}

/** The templates of an authority, each compiled once. A profile is known by its object: reuse the same object. */
export function leafTemplates(issuer: Issuer): (profile: CertificateProfile) => LeafTemplate {
  const compiled = new WeakMap<CertificateProfile, LeafTemplate>();
  return (profile) => {
    let template = compiled.get(profile);
    if (!template) {
      template = compileLeafTemplate(issuer, profile);
      compiled.set(profile, template);
    }
    return template;
  };
}

/**
 * Compiles what is the same in all leaves of an authority and a profile, so that a leaf is a few copies into one buffer:
 * empty subject, KeyUsage (critical) and EKU of the profile, critical BasicConstraints CA:FALSE, AKI, SKI, SAN.
 */
function compileLeafTemplate(issuer: Issuer, profile: CertificateProfile): LeafTemplate {
  const { algorithmDer } = issuer;
  const algorithmAndIssuer = Buffer.concat([algorithmDer, issuer.issuerDer]);
  const fixedExtensionsFor = (family: KeyType['family']) =>
    Buffer.concat([
      extension(oids.keyUsage, 'critical', keyUsage(profile.keyUsage[family])),
      extension(
        oids.extKeyUsage,
        'not critical',
        sequence(...profile.extKeyUsage.map((purpose) => objectIdentifier(oids[purpose]))),
      ),
      basicConstraints,
      extension(
        oids.authorityKeyIdentifier,
        'not critical',
        sequence(encode(contextTag(0, 'primitive'), issuer.keyId)),
      ),
    ]);
  const fixedExtensions = {
    EC: fixedExtensionsFor('EC'),
    RSA: fixedExtensionsFor('RSA'),
    Ed25519: fixedExtensionsFor('Ed25519'),
  };

  const build = (leaf: LeafFields): Uint8Array => {
    checkSerial(leaf.serial);
    const { spki, keyId, type } = leaf.key;
    const fixed = fixedExtensions[type.family];
    const further = leaf.furtherExtensions ?? none;
    const validity = timeLength(leaf.notBefore) + timeLength(leaf.notAfter);

    const subjectKeyIdValue = elementLength(keyId.length);
    const subjectKeyId = subjectKeyIdOid.length + elementLength(subjectKeyIdValue);
    const extensions =
      fixed.length + elementLength(subjectKeyId) + leaf.subjectAltName.length + further.length;
    const content =
      version3.length +
      elementLength(leaf.serial.length) +
      algorithmAndIssuer.length +
      elementLength(validity) +
      emptyName.length +
      spki.length +
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
    at = copy(spki, at);
    at = writeHeader(target, at, contextTag(3), elementLength(extensions));
    at = writeHeader(target, at, tags.sequence, extensions);
    at = copy(fixed, at);
    at = copy(subjectKeyIdOid, writeHeader(target, at, tags.sequence, subjectKeyId));
    at = writeHeader(target, at, tags.octetString, subjectKeyIdValue);
    at = copy(keyId, writeHeader(target, at, tags.octetString, keyId.length));
    at = copy(leaf.subjectAltName, at);
    copy(further, at);
    return target;
  };

  const assemble = (tbs: Uint8Array, signature: Uint8Array): Uint8Array =>
    sequence(tbs, algorithmDer, bitString(signature));

  return { build, assemble };
}

/** A BIT STRING without trailing zero bits, as DER has lists of named bits (X.690 11.2.2). */
function keyUsage(usages: readonly KeyUsage[]): Uint8Array {
  const bits = usages.map((usage) => keyUsageBits.indexOf(usage));
  const last = Math.max(...bits);
  const octets = new Uint8Array((last >> 3) + 1);
  for (const bit of bits) octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return encode(tags.bitString, Uint8Array.of(7 - (last & 7)), octets);
}

/** RFC 5280 4.1.2.2; DER: positive and without a redundant zero octet. */
function checkSerial(serial: Uint8Array): void {
  const [first = 0, second = 0] = serial;
  const isPositive = first < 0x80 && (first > 0 || second >= 0x80);
  if (serial.length > 20 || !isPositive)
    throw derError('a serial number that is not positive, minimal and short');
}
