import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { isJsonObject, type JsonObject, shown } from './json.ts';
import { curves } from './pki/curve.ts';
import { failure, type Result, success } from './pki/result.ts';

/** The members that make a public key of each type, in the order in which RFC 7638 3.2 hashes them. */
const keyMembers = {
  EC: ['crv', 'kty', 'x', 'y'],
  RSA: ['e', 'kty', 'n'],
  OKP: ['crv', 'kty', 'x'],
} as const;

type Kty = keyof typeof keyMembers;

/** The curves that are read (RFC 7518 6.2.1.1; RFC 8037 2), for the key types that have one. */
const curvesOf: Readonly<Record<string, readonly unknown[]>> = {
  EC: curves.map(({ name }) => name),
  OKP: ['Ed25519', 'Ed448'],
};

/** The members with which a private key is written (RFC 7518 6.2.2, 6.3.2, 6.4.1; RFC 8037 2). */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

/** A public key as a JWK, with nothing but what makes the key (RFC 7517, RFC 7518 6). */
export interface PublicJwk {
  readonly kty: Kty;
  readonly crv?: string;
  readonly x?: string;
  readonly y?: string;
  readonly n?: string;
  readonly e?: string;
}

function isKnownKty(kty: unknown): kty is Kty {
  return typeof kty === 'string' && Object.hasOwn(keyMembers, kty);
}

/** Why a key is of a kind that we do not know, by its type or curve; undefined where we know it. */
export function unknownKindReason({ kty, crv }: JsonObject): string | undefined {
  if (!isKnownKty(kty)) return `kty is ${shown(kty)}`;
  const isKnownCurve = crv === undefined || (curvesOf[kty]?.includes(crv) ?? true);
  return isKnownCurve ? undefined : `crv is ${shown(crv)}`;
}

/**
 * Why readers of a key set leave this key out and use the other keys: its type or curve is unknown, or a required
 * member is missing (RFC 7517 5). Undefined for a key that must be read.
 */
export function unsupportedReason(jwk: JsonObject): string | undefined {
  const unknown = unknownKindReason(jwk);
  if (unknown !== undefined || !isKnownKty(jwk.kty)) return unknown;
  const missing = keyMembers[jwk.kty].find((name) => jwk[name] === undefined);
  return missing && `${missing} is missing`;
}

/**
 * The public half of an EC, RSA or Ed25519 key as a JWK. Members are picked by name, so that no private one can
 * slip in. Throws for other kinds of keys, which no part of ours makes.
 */
export function publicJwkOf(key: KeyObject): PublicJwk {
  const jwk = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  if (!isKnownKty(jwk.kty)) throw new TypeError(`a key of type ${jwk.kty} cannot be published`);
  return pick(jwk, jwk.kty);
}

/** RFC 7638 thumbprint, SHA-256, base64url: the same key has the same one wherever it is computed. */
export function thumbprintOf(jwk: PublicJwk): string {
  return hash('sha256', JSON.stringify(pick(jwk, jwk.kty)), 'base64url');
}

/**
 * Reads the public key of an untrusted JWK. Its encoding has to be the only right one: padded or
 * short coordinates (RFC 7518 6.2.1.2) and leading zeros (6.3.1.1) are refused, and so is a key that brings its
 * private half along, which is then no secret any more. Never throws.
 */
export function readPublicJwk(jwk: unknown): Result<KeyObject> {
  if (!isJsonObject(jwk) || !isKnownKty(jwk.kty)) return failure('kty is not one of EC, RSA and OKP');
  const secret = privateMembers.find((name) => Object.hasOwn(jwk, name));
  if (secret) return failure(`the private member "${secret}" is in it, so the key is not secret any more`);
  const given = pick(jwk, jwk.kty);
  let key: KeyObject;
  try {
    key = createPublicKey({ key: { ...given }, format: 'jwk' });
  } catch {
    return failure(`it is not a readable ${jwk.kty} key`);
  }
  const isCanonical = JSON.stringify(publicJwkOf(key)) === JSON.stringify(given);
  return isCanonical
    ? success(key)
    : failure('its numbers are not in the one encoding that RFC 7518 6 allows');
}

function pick(jwk: object, kty: Kty): PublicJwk {
  const from = jwk as Readonly<Record<string, unknown>>;
  const members = keyMembers[kty].map((name) => [name, from[name]] as const);
  return Object.fromEntries(members) as unknown as PublicJwk;
}
