import { constants, type KeyObject, sign } from 'node:crypto';
import type { JwtSigningAlgorithm } from '../../../spiffe/jwt-algorithms.ts';
import { assembleJwt, jwtSigningInput } from '../../../spiffe/jwt-svid.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';

/** The key that signs. */
export interface JwtSigner {
  readonly kid: string;
  readonly algorithm: JwtSigningAlgorithm;
  readonly privateKey: KeyObject;
}

/** By how much iat and nbf are backdated, for verifiers whose clocks are slow, in seconds. */
const backdateSeconds = 10;
/** A token with less time left would expire before it is used. */
const minLifetimeSeconds = 30;

/**
 * The expiry of a JWT-SVID that is issued now: after its lifetime, but never after that of the credential.
 *
 * @param input credentialEndsAt: seconds since the epoch.
 */
export function expiryOf(input: {
  readonly now: number;
  readonly lifetimeSeconds: number;
  readonly credentialEndsAt: number;
}): Checked<number> {
  const expiresAt = Math.min(input.now + input.lifetimeSeconds, input.credentialEndsAt);
  return expiresAt - input.now >= minLifetimeSeconds ? pass(expiresAt) : refuse('TokenEndsTooSoon');
}

/**
 * Makes a JWT-SVID (JWT-SVID 2, 3): header alg, kid, typ; claims iss, sub, aud, exp, iat, nbf, jti and no other. ES256
 * is signed on the calling thread and there at once; RS256 takes twelve times as long and goes to the thread pool.
 *
 * @param input id: unique for each token (jti). now, expiresAt: seconds since the epoch; from `expiryOf`.
 * @returns the compact serialisation.
 */
export async function mintJwtSvid(input: {
  readonly signer: JwtSigner;
  readonly spiffeId: string;
  readonly audiences: readonly string[];
  readonly issuer: string;
  readonly now: number;
  readonly expiresAt: number;
  readonly id: string;
}): Promise<string> {
  const { signer } = input;
  const issuedAt = input.now - backdateSeconds;
  const signingInput = jwtSigningInput(
    { alg: signer.algorithm, kid: signer.kid },
    {
      iss: input.issuer,
      sub: input.spiffeId,
      aud: input.audiences,
      exp: input.expiresAt,
      iat: issuedAt,
      nbf: issuedAt,
      jti: input.id,
    },
  );
  const bytes = Buffer.from(signingInput);
  const signature =
    signer.algorithm === 'ES256'
      ? joinedSignature(sign('sha256', bytes, signer.privateKey))
      : await signRsa(bytes, signer.privateKey);
  return assembleJwt(signingInput, signature);
}

function signRsa(bytes: Uint8Array, key: KeyObject): Promise<Uint8Array> {
  const options = { key, padding: constants.RSA_PKCS1_PADDING };
  return new Promise((resolve, reject) => {
    sign('sha256', bytes, options, (error, signature) => (error ? reject(error) : resolve(signature)));
  });
}

/**
 * r‖s of a P-256 signature (RFC 7518 3.4) from ECDSA-Sig-Value in DER. dsaEncoding 'ieee-p1363' does the same, but doubled
 * the cost of a signature when measured. The lengths in such a signature are always one octet.
 */
function joinedSignature(der: Uint8Array): Uint8Array {
  const joined = new Uint8Array(64);
  const rLength = der[3] ?? 0;
  copyInteger(der.subarray(4, 4 + rLength), joined.subarray(0, 32));
  copyInteger(der.subarray(6 + rLength), joined.subarray(32));
  return joined;
}

/** DER integers have a zero octet in front where the top bit is set, and none in front of short numbers. */
function copyInteger(integer: Uint8Array, target: Uint8Array): void {
  const magnitude =
    integer.length > target.length ? integer.subarray(integer.length - target.length) : integer;
  target.set(magnitude, target.length - magnitude.length);
}
