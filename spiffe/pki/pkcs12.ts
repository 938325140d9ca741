import { createHash, createHmac, type KeyObject } from 'node:crypto';
import { contextTag, tags } from './der.ts';
import { derNull, encode, objectIdentifier, octetString, sequence } from './der-writer.ts';
import { oids } from './oid.ts';

/** What a PKCS#12 file holds. Certificates are DER. */
export interface Pkcs12Content {
  /** A private key, and its certificate with the intermediates that lead to the root. */
  readonly key?: {
    readonly alias: string;
    readonly privateKey: KeyObject;
    readonly chain: readonly Uint8Array[];
  };
  /** Certificates that Java trusts. */
  readonly trusted?: readonly { readonly alias: string; readonly certificate: Uint8Array }[];
}

const types = {
  data: '1.2.840.113549.1.7.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  /** Oracle's attribute for a certificate that is trusted. Java ignores certificates without it that belong to no key. */
  trustedKeyUsage: '2.16.840.1.113894.746875.1.1',
  anyExtendedKeyUsage: '2.5.29.37.0',
} as const;

const macSaltOctets = 20;
/** What keytool uses. It also has to fit the two octets of the INTEGER below. */
const macIterations = 10_000;

/**
 * Writes a PKCS#12 file (RFC 7292): PBES2 with AES-256-CBC for the key, HMAC with SHA-256 over all. OpenSSL 1.1 and Java 8u301
 * and later read it, Java also as a keystore of type JKS. Certificates are not secret and are not encrypted.
 *
 * @param password any text, also empty or beyond ASCII. @param random gives octets.
 */
export function encodePkcs12(
  { key, trusted = [] }: Pkcs12Content,
  password: string,
  random: (octets: number) => Uint8Array,
): Buffer {
  const keyId = key && attribute(types.localKeyId, octetString(Uint8Array.of(1)));
  const bags = [
    ...(key && keyId ? [keyBag(key.privateKey, password, [keyId, friendlyName(key.alias)])] : []),
    ...(key?.chain ?? []).map((der, index) =>
      certBag(der, index === 0 && key && keyId ? [keyId, friendlyName(key.alias)] : []),
    ),
    ...trusted.map(({ alias, certificate }) =>
      certBag(certificate, [
        friendlyName(alias),
        attribute(types.trustedKeyUsage, objectIdentifier(types.anyExtendedKeyUsage)),
      ]),
    ),
  ];
  const safe = sequence(data(sequence(...bags)));
  return sequence(
    encode(tags.integer, Uint8Array.of(3)),
    data(safe),
    macOf(safe, password, random(macSaltOctets)),
  );
}

const explicit = (content: Uint8Array): Buffer => encode(contextTag(0), content);
const data = (content: Uint8Array): Buffer =>
  sequence(objectIdentifier(types.data), explicit(octetString(content)));
const attribute = (type: string, value: Uint8Array): Buffer =>
  sequence(objectIdentifier(type), encode(tags.set, value));
const friendlyName = (name: string): Buffer =>
  attribute(types.friendlyName, encode(tags.bmpString, utf16(name)));

function keyBag(privateKey: KeyObject, password: string, attributes: readonly Uint8Array[]): Buffer {
  // PBES2 takes the password as UTF-8, as Java and OpenSSL do.
  const encrypted = privateKey.export({
    type: 'pkcs8',
    format: 'der',
    cipher: 'aes-256-cbc',
    passphrase: password,
  });
  return sequence(
    objectIdentifier(types.shroudedKeyBag),
    explicit(encrypted),
    encode(tags.set, ...attributes),
  );
}

function certBag(der: Uint8Array, attributes: readonly Uint8Array[]): Buffer {
  const value = sequence(objectIdentifier(types.x509Certificate), explicit(octetString(der)));
  const set = attributes.length === 0 ? [] : [encode(tags.set, ...attributes)];
  return sequence(objectIdentifier(types.certBag), explicit(value), ...set);
}

function macOf(content: Uint8Array, password: string, salt: Uint8Array): Buffer {
  const mac = createHmac('sha256', macKey(password, salt)).update(content).digest();
  const digestInfo = sequence(sequence(objectIdentifier(oids.sha256), derNull), octetString(mac));
  const iterations = encode(tags.integer, Uint8Array.of(macIterations >> 8, macIterations & 0xff));
  return sequence(digestInfo, octetString(salt), iterations);
}

/** RFC 7292 B.2 with SHA-256 and ID 3. The key is one hash long, so there is one round and no addition. */
function macKey(password: string, salt: Uint8Array): Buffer {
  const blockOctets = 64;
  const fill = (bytes: Uint8Array): Buffer =>
    Buffer.alloc(Math.ceil(bytes.length / blockOctets) * blockOctets, bytes);
  let hash = Buffer.concat([
    Buffer.alloc(blockOctets, 3),
    fill(salt),
    fill(Buffer.concat([utf16(password), Uint8Array.of(0, 0)])),
  ]);
  for (let round = 0; round < macIterations; round++) hash = createHash('sha256').update(hash).digest();
  return hash;
}

/** UTF-16, the higher octet first (RFC 7292 B.1), with surrogates for what is beyond BMP, as Java and OpenSSL have it. */
const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();
