import { type KeyObject, sign } from 'node:crypto';
import { KubespiffeError } from '../errors.ts';
import { derNull, objectIdentifier, sequence } from './der-writer.ts';
import { oids } from './oid.ts';

/** Signs TBSCertificates with one authority's key. */
export interface CertificateSigner {
  /** AlgorithmIdentifier of the signatures, DER. */
  readonly algorithmDer: Uint8Array;
  /** The content of the signature BIT STRING. Whether it comes at once or later is fixed by the kind of key. */
  sign(tbs: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

interface SigningAlgorithm {
  readonly algorithmDer: Uint8Array;
  /** null where the algorithm brings its own. */
  readonly digest: string | null;
  /** Fast signatures (about 20 µs) are made where they are asked for: a trip to the thread pool costs more. */
  readonly inline: boolean;
}

const ecdsaSha256: SigningAlgorithm = {
  algorithmDer: sequence(objectIdentifier(oids.ecdsaWithSha256)),
  digest: 'sha256',
  inline: true,
};
const ecdsaSha384: SigningAlgorithm = {
  algorithmDer: sequence(objectIdentifier(oids.ecdsaWithSha384)),
  digest: 'sha384',
  inline: false,
};
const rsaSha256: SigningAlgorithm = {
  algorithmDer: sequence(objectIdentifier(oids.sha256WithRsa), derNull),
  digest: 'sha256',
  inline: false,
};
const ed25519: SigningAlgorithm = {
  algorithmDer: sequence(objectIdentifier(oids.ed25519)),
  digest: null,
  inline: true,
};

/** By name of the key; RSA, whose name varies with its size, is in `algorithmOf`. */
const algorithms: Readonly<Record<string, SigningAlgorithm>> = {
  'ECDSA P-256': ecdsaSha256,
  'ECDSA P-384': ecdsaSha384,
  Ed25519: ed25519,
};

/** Names of the keys that `kubespiffe ca create` can make, the default first. */
export const authorityKeyNames = ['ECDSA P-256', 'ECDSA P-384', 'RSA 3072', 'RSA 4096', 'Ed25519'] as const;

/** OpenSSL's names of the curves, as a KeyObject tells them. */
const curveNames: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};

/** What kind of key this is, for example "RSA 3072"; works for public and private keys. */
export function nameOfKey(key: KeyObject): string {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ec':
      return `ECDSA ${curveNames[namedCurve ?? ''] ?? namedCurve ?? 'without a named curve'}`;
    case 'rsa':
      return `RSA ${modulusLength}`;
    case 'ed25519':
      return 'Ed25519';
    default:
      return key.asymmetricKeyType ?? key.type;
  }
}

/** RSA is served from 3072 bits to 8192, beyond which Go's TLS refuses to verify. */
function algorithmOf(key: KeyObject, keyName: string): SigningAlgorithm | undefined {
  if (key.asymmetricKeyType !== 'rsa') return algorithms[keyName];
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  return bits >= 3072 && bits <= 8192 ? rsaSha256 : undefined;
}

/**
 * A signer for a private key of ECDSA P-256 or P-384, Ed25519, or RSA from 3072 bits: P-256 and Ed25519 sign on
 * the calling thread, the others on the thread pool. Throws KEY_UNSUPPORTED for any other key.
 */
export function certificateSigner(key: KeyObject): CertificateSigner {
  const keyName = nameOfKey(key);
  const algorithm = key.type === 'private' ? algorithmOf(key, keyName) : undefined;
  if (!algorithm) {
    throw new KubespiffeError(
      'KEY_UNSUPPORTED',
      `an authority cannot sign with a ${key.type} key of type ${keyName}; use a private key of ${authorityKeyNames.join(', ')}`,
    );
  }
  const { algorithmDer, digest, inline } = algorithm;
  return {
    algorithmDer,
    sign: inline
      ? (tbs) => sign(digest, tbs, key)
      : (tbs) =>
          new Promise((resolve, reject) => {
            sign(digest, tbs, key, (error, signature) => (error ? reject(error) : resolve(signature)));
          }),
  };
}
