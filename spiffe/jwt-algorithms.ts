import { constants, type KeyObject } from 'node:crypto';

/** How the signatures of one JWS algorithm are made (RFC 7518 3). */
export interface JwtAlgorithm {
  readonly keyType: 'ec' | 'rsa';
  /** OpenSSL's name of the curve; EC only. */
  readonly namedCurve?: string;
  readonly digest: 'sha256' | 'sha384' | 'sha512';
  /** What node:crypto's verify takes beside the key; for RSASSA-PKCS1-v1_5, its default, nothing. */
  readonly options?:
    | { readonly padding: number; readonly saltLength: number }
    | { readonly dsaEncoding: 'ieee-p1363' };
  /** Bytes of r‖s; EC only. */
  readonly signatureBytes?: number;
}

/** RFC 7518 3.4: r‖s. */
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const;
/** RFC 7518 3.5: the salt is as long as the digest. */
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

/** The nine algorithms of JWT-SVIDs (JWT-SVID 2.1). Anything else is refused before it is looked at. */
export const jwtAlgorithms = {
  RS256: { keyType: 'rsa', digest: 'sha256' },
  RS384: { keyType: 'rsa', digest: 'sha384' },
  RS512: { keyType: 'rsa', digest: 'sha512' },
  ES256: { keyType: 'ec', namedCurve: 'prime256v1', digest: 'sha256', options: ecdsa, signatureBytes: 64 },
  ES384: { keyType: 'ec', namedCurve: 'secp384r1', digest: 'sha384', options: ecdsa, signatureBytes: 96 },
  ES512: { keyType: 'ec', namedCurve: 'secp521r1', digest: 'sha512', options: ecdsa, signatureBytes: 132 },
  PS256: { keyType: 'rsa', digest: 'sha256', options: pss },
  PS384: { keyType: 'rsa', digest: 'sha384', options: pss },
  PS512: { keyType: 'rsa', digest: 'sha512', options: pss },
} as const satisfies Readonly<Record<string, JwtAlgorithm>>;

export type JwtAlgorithmName = keyof typeof jwtAlgorithms;

export function isJwtAlgorithm(name: unknown): name is JwtAlgorithmName {
  return typeof name === 'string' && Object.hasOwn(jwtAlgorithms, name);
}

/**
 * Whether a key may be used with an algorithm: type and curve fit, and RSA has the 2048 bits that RFC 7518 3.3
 * demands. The key decides, never the header of a token alone: that is how algorithm confusion begins.
 */
export function keyFitsAlgorithm(key: KeyObject, name: JwtAlgorithmName): boolean {
  const algorithm: JwtAlgorithm = jwtAlgorithms[name];
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType !== algorithm.keyType) return false;
  return algorithm.keyType === 'ec' ? namedCurve === algorithm.namedCurve : modulusLength >= 2048;
}
