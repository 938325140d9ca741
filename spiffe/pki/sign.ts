import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { KubespiffeError } from '../errors.ts';
import { authorityKeyTypes, type KeyType, keyTypes, subjectKeyTypes } from './algorithms.ts';

/** The private key of one authority, wherever it is kept. It signs certificates and JWT-SVIDs alike. */
export interface SigningKey {
  /** AlgorithmIdentifier of the signatures, DER. */
  readonly algorithmDer: Uint8Array;
  /**
   * Signs a TBSCertificate or the signing input of a JWT.
   *
   * @returns the content of the signature BIT STRING: for ECDSA an ECDSA-Sig-Value in DER. A key in memory that signs fast
   *   returns it at once, every other key a promise.
   */
  sign(content: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Why it cannot sign now, for a key that is kept elsewhere; undefined when it can. */
  problem?(): string | undefined;
}

/**
 * The unencrypted private key of a PEM text, in any of the usual forms; undefined if none can be read.
 * OpenSSL's own reasons are left out: they may quote the text.
 */
export function readableKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

/** Names of the keys that an authority may have, the default first. */
export const authorityKeyNames = authorityKeyTypes.map((each) => keyTypes[each].name);

/** What kind of key this is, for example "RSA 3072"; works for public and private keys. */
export function nameOfKey(key: KeyObject): string {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ec':
      return ecName(namedCurve);
    case 'rsa':
      return `RSA ${modulusLength}`;
    case 'ed25519':
      return 'Ed25519';
    default:
      return key.asymmetricKeyType ?? key.type;
  }
}

function ecName(openssl: string | undefined): string {
  const known = subjectKeyTypes.find((type) => type.family === 'EC' && type.curve.openssl === openssl);
  return known?.name ?? `ECDSA ${openssl ?? 'without a named curve'}`;
}

/** RSA is served from 3072 bits to 8192, beyond which Go's TLS refuses to verify. */
function authorityKeyTypeOf(key: KeyObject, name: string): KeyType | undefined {
  const bits = key.asymmetricKeyType === 'rsa' ? (key.asymmetricKeyDetails?.modulusLength ?? 0) : undefined;
  if (bits !== undefined) return bits >= 3072 && bits <= 8192 ? keyTypes['rsa-3072'] : undefined;
  return authorityKeyTypes.map((each): KeyType => keyTypes[each]).find((type) => type.name === name);
}

/**
 * How the key of a CA signs.
 *
 * @param key either half of it.
 * @throws KubespiffeError KEY_UNSUPPORTED for a key that no CA may have.
 */
export function authorityKeyType(key: KeyObject): KeyType {
  const keyName = nameOfKey(key);
  const type = authorityKeyTypeOf(key, keyName);
  if (type) return type;
  throw new KubespiffeError(
    'KEY_UNSUPPORTED',
    `an authority cannot sign with a key of type ${keyName}; use a key of ${authorityKeyNames.join(', ')}`,
  );
}

/**
 * The private key of a CA, in memory.
 *
 * @throws KubespiffeError KEY_UNSUPPORTED for a key that no CA may have.
 */
export function certificateSigner(key: KeyObject): SigningKey {
  if (key.type !== 'private') {
    throw new KubespiffeError('KEY_UNSUPPORTED', `a ${key.type} key (${nameOfKey(key)}) signs nothing`);
  }
  return keyInMemory(key, authorityKeyType(key));
}

/** A private key in this process. P-256 and Ed25519 sign on the calling thread, the others on the thread pool. */
export function keyInMemory(key: KeyObject, type: Pick<KeyType, 'signature' | 'inline'>): SigningKey {
  const { digest, encodings } = type.signature;
  return {
    algorithmDer: encodings[0],
    sign: type.inline
      ? (content) => sign(digest, content, key)
      : (content) =>
          new Promise((resolve, reject) => {
            sign(digest, content, key, (error, signature) => (error ? reject(error) : resolve(signature)));
          }),
  };
}
