import type { KeyObject } from 'node:crypto';
import { type SignatureAlgorithm, signatureAlgorithms } from './pki/algorithms.ts';

const { EdDSA: _, ...nine } = signatureAlgorithms;

/** The nine algorithms of JWT-SVIDs (JWT-SVID 2.1). Anything else is refused before it is looked at. */
export const jwtAlgorithms: Readonly<Record<JwtAlgorithmName, SignatureAlgorithm>> = nine;

export type JwtAlgorithmName = keyof typeof nine;

/** What our authorities sign JWT-SVIDs with. */
export const jwtSigningAlgorithms = ['ES256', 'RS256'] as const satisfies readonly JwtAlgorithmName[];

export type JwtSigningAlgorithm = (typeof jwtSigningAlgorithms)[number];

/** What the API server may sign ServiceAccount tokens with (kube-apiserver's own list, and PS256 of external signers). */
export const serviceAccountAlgorithms = [
  ...(['RS256', 'RS384', 'RS512', 'PS256'] as const),
  ...(['ES256', 'ES384', 'ES512'] as const),
] satisfies readonly JwtAlgorithmName[];

export function isJwtAlgorithm(name: unknown): name is JwtAlgorithmName {
  return typeof name === 'string' && Object.hasOwn(jwtAlgorithms, name);
}

/**
 * Whether a key may be used with an algorithm: type and curve fit, and RSA has the 2048 bits that RFC 7518 3.3
 * demands. The key decides, never the header of a token alone: that is how algorithm confusion begins.
 */
export function keyFitsAlgorithm(key: KeyObject, name: JwtAlgorithmName): boolean {
  const { keyType, curve } = jwtAlgorithms[name];
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType !== keyType) return false;
  return curve ? namedCurve === curve.openssl : modulusLength >= 2048;
}
