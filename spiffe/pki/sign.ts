import { type KeyObject, sign } from 'node:crypto';
import { KubespiffeError } from '../errors.ts';
import { authorityKeyTypes, type KeyType, keyTypes, subjectKeyTypes } from './algorithms.ts';

/** Signs TBSCertificates with one authority's key. */
export interface CertificateSigner {
  /** AlgorithmIdentifier of the signatures, DER. */
  readonly algorithmDer: Uint8Array;
  /** The content of the signature BIT STRING. Whether it comes at once or later is fixed by the kind of key. */
  sign(tbs: Uint8Array): Uint8Array | Promise<Uint8Array>;
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
 * A signer for a private key of ECDSA P-256 or P-384, Ed25519, or RSA from 3072 bits: P-256 and Ed25519 sign on
 * the calling thread, the others on the thread pool. Throws KEY_UNSUPPORTED for any other key.
 */
export function certificateSigner(key: KeyObject): CertificateSigner {
  const keyName = nameOfKey(key);
  const type = key.type === 'private' ? authorityKeyTypeOf(key, keyName) : undefined;
  if (!type) {
    throw new KubespiffeError(
      'KEY_UNSUPPORTED',
      `an authority cannot sign with a ${key.type} key of type ${keyName}; use a private key of ${authorityKeyNames.join(', ')}`,
    );
  }
  const { digest, encodings } = type.signature;
  return {
    algorithmDer: encodings[0],
    sign: type.inline
      ? (tbs) => sign(digest, tbs, key)
      : (tbs) =>
          new Promise((resolve, reject) => {
            sign(digest, tbs, key, (error, signature) => (error ? reject(error) : resolve(signature)));
          }),
  };
}
