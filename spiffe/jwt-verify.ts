import { type KeyObject, verify } from 'node:crypto';
import { parseSpiffeId, type SpiffeId } from './id.ts';
import { isJwtAlgorithm, type JwtAlgorithmName, jwtAlgorithms, keyFitsAlgorithm } from './jwt-algorithms.ts';
import { checkJwtSvid, type JwtExpectations } from './jwt-clauses.ts';
import { audiencesOf, type ParsedJwt, parseJwt } from './jwt-svid.ts';
import { failure, type Result, success } from './pki/result.ts';

/** A token that was verified. */
export interface VerifiedJwtSvid {
  readonly id: SpiffeId;
  readonly audiences: readonly string[];
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly jwt: ParsedJwt;
}

/**
 * Verifies a JWT-SVID as its receiver does (JWT-SVID 4, 5.2): every MUST clause, then the signature by one of `keys`,
 * which the caller took from the bundle of `expected.trustDomain` and of no other.
 * Never throws.
 */
export function verifyJwtSvid(
  token: string,
  keys: ReadonlyMap<string, KeyObject>,
  expected: JwtExpectations & { readonly audience: string; readonly trustDomain: string },
): Result<VerifiedJwtSvid> {
  const parsed = parseJwt(token);
  if (!parsed.ok) return parsed;
  const jwt = parsed.value;
  const broken = checkJwtSvid(jwt, expected).find(({ ok, level }) => !ok && level === 'must');
  if (broken) return failure(`${broken.message} (${broken.clause})`);
  const signature = checkSignature(jwt, keys);
  if (!signature.ok) return signature;
  const id = parseSpiffeId(String(jwt.claims.sub));
  if (!id.ok) return id;
  return success({
    id: id.value,
    audiences: audiencesOf(jwt.claims) ?? [],
    expiresAt: Number(jwt.claims.exp),
    jwt,
  });
}

/**
 * Whether the key that `kid` names made the signature, by the algorithm that key is for; without a kid, which a token
 * may leave out, any of the keys that fit the algorithm. Never throws.
 */
function checkSignature(jwt: ParsedJwt, keys: ReadonlyMap<string, KeyObject>): Result<KeyObject> {
  const { alg, kid } = jwt.header;
  if (!isJwtAlgorithm(alg)) return failure('alg is not one that JWT-SVIDs may have (JWT-SVID 2.1)');
  if (kid === undefined) {
    const fitting = [...keys.values()].filter((key) => keyFitsAlgorithm(key, alg));
    const verified = fitting.map((key) => verifySignature(jwt, key, alg)).find(({ ok }) => ok);
    return verified ?? failure('the token has no kid, and its signature is that of no JWT key of the bundle');
  }
  const key = typeof kid === 'string' ? keys.get(kid) : undefined;
  if (!key) return failure('kid names no JWT key of the bundle');
  if (!keyFitsAlgorithm(key, alg)) return failure(`the key that kid names is not one for ${alg}`);
  return verifySignature(jwt, key, alg);
}

function verifySignature(jwt: ParsedJwt, key: KeyObject, alg: JwtAlgorithmName): Result<KeyObject> {
  const { digest, curve, pss } = jwtAlgorithms[alg];
  // RFC 7518 3.4: r‖s, each as long as a coordinate.
  if (curve && jwt.signature.length !== 2 * curve.size) {
    return failure(`the signature has ${jwt.signature.length} bytes; that of ${alg} has ${2 * curve.size}`);
  }
  const options = curve ? ({ dsaEncoding: 'ieee-p1363' } as const) : pss;
  const input = Buffer.from(jwt.signingInput);
  // A key alone is taken at once; Node looks at an object around it for a third of the time that RSA takes.
  const isRight = verify(digest, input, options ? { key, ...options } : key, jwt.signature);
  return isRight ? success(key) : failure('the signature is not that of the key that kid names');
}
