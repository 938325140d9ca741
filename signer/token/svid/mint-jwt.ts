import type { JwtSigningAlgorithm } from '../../../spiffe/jwt-algorithms.ts';
import { assembleJwt, jwtSigningInput } from '../../../spiffe/jwt-svid.ts';
import { joinedFromDer } from '../../../spiffe/pki/ecdsa-signature.ts';
import type { SigningKey } from '../../../spiffe/pki/sign.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';

/** The key that signs. */
export interface JwtSigner {
  readonly kid: string;
  readonly algorithm: JwtSigningAlgorithm;
  readonly signingKey: SigningKey;
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
 * Makes a JWT-SVID (JWT-SVID 2, 3): header alg, kid, typ; claims iss, sub, aud, exp, iat, nbf, jti and no other.
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
  const signature = await signer.signingKey.sign(Buffer.from(signingInput));
  return assembleJwt(signingInput, signer.algorithm === 'ES256' ? joinedFromDer(signature) : signature);
}
