import { KubespiffeError } from '../spiffe/errors.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { parseJwt } from '../spiffe/jwt-svid.ts';
import { type VerifiedJwtSvid, verifyJwtSvid } from '../spiffe/jwt-verify.ts';
import type { BundleSource } from './trust-bundle.ts';

/**
 * Validates a JWT-SVID as its receiver does (JWT-SVID 4, 5): every MUST clause, then the signature, by the keys of the
 * trust domain that the token names and of no other. Whether its SPIFFE ID may do something is not decided here.
 *
 * @param audience the name of the receiver, which has to be among the audiences of the token.
 * @param options now: milliseconds since the epoch. toleranceSeconds: how far the clocks may be apart, 60 by default.
 *
 * @example
 * ```js
 * import { openBundleSource } from 'kubespiffe/bundle-source';
 * import { validateJwtSvid } from 'kubespiffe/jwt';
 *
 * await using bundles = await openBundleSource('/run/spiffe', { 'example.org': 'bundle.json' });
 * try {
 *   const { id, expiresAt } = validateJwtSvid('a.b.c', 'https://api.example.org', bundles);
 *   console.log(`${id.uri} until ${new Date(expiresAt * 1000)}`);
 * } catch (error) {
 *   console.error(error.message);
 * }
 * ```
 *
 * @throws KubespiffeError TOKEN_INVALID with the clause; the token is not in it.
 */
export function validateJwtSvid(
  token: string,
  audience: string,
  { bundles }: Pick<BundleSource, 'bundles'>,
  options: { readonly now?: number; readonly toleranceSeconds?: number } = {},
): VerifiedJwtSvid {
  const { now = Date.now(), toleranceSeconds = 60 } = options;
  if (typeof token !== 'string' || token === '') throw invalid('there is no token');
  if (typeof audience !== 'string' || audience === '')
    throw invalid('no audience was given to compare it with');
  const parsed = parseJwt(token);
  if (!parsed.ok) throw invalid(parsed.reason);
  const { sub } = parsed.value.claims;
  const id = parseSpiffeId(typeof sub === 'string' ? sub : '');
  if (!id.ok) throw invalid(`sub: ${id.reason}`);
  const { trustDomain } = id.value;
  const bundle = bundles.get(trustDomain);
  if (!bundle) throw invalid(`there is no bundle of ${trustDomain}, the trust domain of the token`);
  const expected = { audience, trustDomain, now: Math.floor(now / 1000), toleranceSeconds };
  const verified = verifyJwtSvid(token, bundle.jwtKeys, expected);
  if (!verified.ok) throw invalid(verified.reason);
  return verified.value;
}

const invalid = (message: string): KubespiffeError => new KubespiffeError('TOKEN_INVALID', message);
