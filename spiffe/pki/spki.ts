import { hash } from 'node:crypto';
import { type KeyType, subjectKeyTypes } from './algorithms.ts';
import { isPointOnCurve } from './curve.ts';
import {
  bitStringOctets,
  contentOf,
  cursor,
  derOf,
  type Element,
  positiveInteger,
  readDer,
  soleElement,
  tags,
} from './der.ts';
import { decodeOid, nameOfOid, oids } from './oid.ts';

/**
 * What a SubjectPublicKeyInfo is. `unsupported` is a key that could be read and that we do not serve, which no
 * later event can change (such a request is denied). `unreadable` is not a key that we recognise.
 */
export type SubjectKey =
  | {
      readonly kind: 'supported';
      readonly type: KeyType;
      /** The SubjectPublicKeyInfo, DER. */
      readonly spki: Uint8Array;
      /** SHA-1 of the BIT STRING's octets: the key identifier of RFC 5280 4.2.1.2 (1). */
      readonly keyId: Uint8Array;
    }
  | {
      readonly kind: 'unsupported';
      /** For people: a name such as "RSA 2048" or "ML-DSA-65", else the dotted object identifier. */
      readonly algorithm: string;
    }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** A key that a certificate may be made for. */
export type SupportedKey = Extract<SubjectKey, { kind: 'supported' }>;

/** What remains to be said about a key once its algorithm is known: its type, or why it has none. */
type KeyMatch = { type: KeyType } | { unsupported: string } | { unreadable: string };

/** Reads a SubjectPublicKeyInfo (DER, RFC 5280 4.1.2.7). Never throws. */
export function readSubjectKey(spki: Uint8Array): SubjectKey {
  const read = readDer(() => subjectKeyOf(soleElement(spki, tags.sequence, 'the public key')));
  return read.ok ? read.value : { kind: 'unreadable', reason: read.reason };
}

/** As `readSubjectKey`, for an element inside a larger structure; throws DER_INVALID. */
export function subjectKeyOf(element: Element): SubjectKey {
  const fields = cursor(element);
  const algorithm = fields.next(tags.sequence, 'the algorithm of the public key');
  const key = bitStringOctets(fields.any('the public key'), 'the public key');
  fields.end('the public key');

  const match = matchKey(algorithm, key);
  if ('unreadable' in match) return { kind: 'unreadable', reason: match.unreadable };
  if ('unsupported' in match) return { kind: 'unsupported', algorithm: match.unsupported };
  return { kind: 'supported', type: match.type, spki: derOf(element), keyId: keyIdentifier(key) };
}

/** SHA-1 of the octets of a subjectPublicKey BIT STRING (20 octets). It names a key; nothing relies on its strength. */
export function keyIdentifier(key: Uint8Array): Uint8Array {
  return hash('sha1', key, 'buffer');
}

function matchKey(algorithm: Element, key: Uint8Array): KeyMatch {
  const algorithmDer = derOf(algorithm);
  // Whole elements are compared: nothing is decoded for a key that we serve.
  const type = subjectKeyTypes.find(
    (candidate) => Buffer.compare(candidate.algorithmDer, algorithmDer) === 0,
  );
  switch (type?.family) {
    case 'EC':
      return isPointOnCurve(type.curve, key)
        ? { type }
        : { unreadable: `the public key is not an uncompressed point of ${type.curve.name}` };
    case 'RSA':
      return matchRsa(key);
    case 'Ed25519':
      return key.length === 32 ? { type } : { unreadable: 'an Ed25519 public key has 32 octets' };
    default:
      return matchUnknown(algorithm);
  }
}

/** RSAPublicKey of RFC 8017 A.1.1, with the size and exponent rules that make a key fit for use. */
function matchRsa(key: Uint8Array): KeyMatch {
  const fields = cursor(soleElement(key, tags.sequence, 'the RSA public key'));
  const modulus = positiveInteger(fields.any('the RSA modulus'), 'the RSA modulus');
  const exponent = positiveInteger(fields.any('the RSA exponent'), 'the RSA exponent');
  fields.end('the RSA public key');

  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (isEven(modulus)) return { unsupported: `RSA ${bits} with an even modulus` };
  const type = subjectKeyTypes.find((candidate) => candidate.family === 'RSA' && candidate.bits === bits);
  if (!type) return { unsupported: `RSA ${bits}` };
  // FIPS 186-5 5.4 (e) wants 2^16 < e and odd; Go's crypto/rsa, which our peers use, ends at 2^31 - 1.
  const value =
    exponent.length > 4 ? Number.POSITIVE_INFINITY : exponent.reduce((sum, octet) => sum * 256 + octet, 0);
  if (value <= 65536 || value > 0x7fff_ffff || isEven(exponent)) {
    const shown = Number.isFinite(value) ? `exponent ${value}` : `an exponent of ${exponent.length} octets`;
    return { unsupported: `RSA ${bits} with ${shown}` };
  }
  return { type };
}

function isEven(magnitude: Uint8Array): boolean {
  return ((magnitude.at(-1) ?? 0) & 1) === 0;
}

/** Names an algorithm that no row has, or says what is wrong with the parameters of one that some row has. */
function matchUnknown(algorithm: Element): KeyMatch {
  const fields = cursor(algorithm);
  const oid = decodeOid(contentOf(fields.next(tags.oid, 'the algorithm of the public key')));
  const parameters = fields.peek() === undefined ? undefined : fields.any('the parameters of the algorithm');
  fields.end('the algorithm of the public key');

  switch (oid) {
    case oids.ecPublicKey:
      if (parameters?.tag === tags.oid)
        return { unsupported: `ECDSA ${nameOfOid(decodeOid(contentOf(parameters)))}` };
      if (parameters?.tag === tags.sequence) return { unsupported: 'ECDSA with explicit curve parameters' };
      return { unreadable: 'an ECDSA public key does not name its curve' };
    case oids.rsaEncryption:
      return { unreadable: 'the parameters of an RSA public key are not NULL (RFC 3279 2.3.1)' };
    case oids.ed25519:
      return { unreadable: 'an Ed25519 public key has parameters (RFC 8410 3 allows none)' };
    default:
      return { unsupported: nameOfOid(oid) };
  }
}
