import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { publicJwkOf, thumbprintOf } from '../../spiffe/jwk.ts';

/** A key for tokens, with the kid that it has in bundles. */
export interface TokenKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function ecKey(namedCurve = 'P-256'): TokenKey {
  return named(generateKeyPairSync('ec', { namedCurve }));
}

export function rsaKey(modulusLength = 2048): TokenKey {
  return named(generateKeyPairSync('rsa', { modulusLength }));
}

function named(pair: { privateKey: KeyObject; publicKey: KeyObject }): TokenKey {
  return { ...pair, kid: thumbprintOf(publicJwkOf(pair.publicKey)) };
}

/** What stands in front of the signature: objects are written as JSON, texts as they are. */
export function inputOf(header: object | string, claims: object | string): string {
  const part = (value: object | string) =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  return `${part(header)}.${part(claims)}`;
}

/** A token that says exactly this, right or wrong, with a right signature. */
export function tokenOf(
  key: TokenKey,
  header: object | string,
  claims: object | string,
  digest = 'sha256',
): string {
  const input = inputOf(header, claims);
  const { padding } = { padding: constants.RSA_PKCS1_PADDING };
  const options =
    key.privateKey.asymmetricKeyType === 'rsa' ? { padding } : { dsaEncoding: 'ieee-p1363' as const };
  return `${input}.${sign(digest, Buffer.from(input), { key: key.privateKey, ...options }).toString('base64url')}`;
}
