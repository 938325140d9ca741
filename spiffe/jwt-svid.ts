import { type JsonObject, parseJsonBytes } from './json.ts';
import type { JwtAlgorithmName } from './jwt-algorithms.ts';
import { failure, type Result, success } from './pki/result.ts';

/** Longest token that is read, in characters: far above any JWT-SVID, and below what HTTP headers carry. */
export const maxTokenLength = 16 * 1024;

/** What a JWT-SVID says. Times are seconds since the epoch (JWT-SVID 3; RFC 7519 4.1). */
export interface JwtSvidClaims {
  readonly iss?: string;
  /** The SPIFFE ID of the workload. */
  readonly sub: string;
  readonly aud: readonly string[];
  readonly exp: number;
  readonly iat?: number;
  readonly nbf?: number;
  readonly jti?: string;
}

/**
 * What is signed: header and claims in base64url, joined by a dot (RFC 7515 7.1). The header holds alg, kid and typ
 * and nothing else (JWT-SVID 2); one audience is written as a string, the form that every verifier reads.
 */
export function jwtSigningInput(
  header: { readonly alg: JwtAlgorithmName; readonly kid: string },
  claims: JwtSvidClaims,
): string {
  const { iss, sub, aud, exp, iat, nbf, jti } = claims;
  const [first] = aud;
  const written = { iss, sub, aud: aud.length === 1 ? first : aud, exp, iat, nbf, jti };
  return `${encodeJson({ alg: header.alg, kid: header.kid, typ: 'JWT' })}.${encodeJson(written)}`;
}

/** The token: what was signed, and the signature as JWS has it (r‖s for ECDSA, RFC 7518 3.4). */
export function assembleJwt(signingInput: string, signature: Uint8Array): string {
  return `${signingInput}.${Buffer.from(signature).toString('base64url')}`;
}

function encodeJson(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** A parsed token. Only its form has been verified. */
export interface ParsedJwt {
  readonly header: JsonObject;
  readonly claims: JsonObject;
  readonly signingInput: string;
  readonly signature: Uint8Array;
}

/**
 * Takes a token in the compact serialization apart (JWT-SVID 2; RFC 7515 7.1). The other serialization, padding,
 * white space, base64 that could be written otherwise, and a name that stands twice are refused. The reasons never
 * quote the token. Never throws.
 */
export function parseJwt(token: string): Result<ParsedJwt> {
  if (token.length > maxTokenLength) return failure(`the token is longer than ${maxTokenLength} characters`);
  if (token.trimStart().startsWith('{')) {
    return failure('the token is in the JSON serialization; a JWT-SVID is compact (JWT-SVID 2)');
  }
  const parts = token.split('.');
  if (parts.length !== 3) return failure(`the token has ${parts.length} parts; a JWS has 3 (RFC 7515 7.1)`);
  const [header, claims, signature] = parts.map(decodeBase64Url);
  if (!header || !claims || !signature) {
    return failure('a part of the token is not base64url without padding (RFC 7515 2)');
  }
  const readHeader = parseJsonBytes(header, 'the header');
  if (!readHeader.ok) return readHeader;
  const readClaims = parseJsonBytes(claims, 'the set of claims');
  if (!readClaims.ok) return readClaims;
  return success({
    header: readHeader.value,
    claims: readClaims.value,
    signingInput: token.slice(0, token.lastIndexOf('.')),
    signature,
  });
}

/** Buffer skips what is not base64url, so the only proof that all of it was read is to write it again. */
function decodeBase64Url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

/** The audiences of a token, be `aud` a string or a list; undefined where it is neither, or not of strings. */
export function audiencesOf(claims: JsonObject): readonly string[] | undefined {
  const { aud } = claims;
  if (typeof aud === 'string') return [aud];
  return Array.isArray(aud) && aud.every((each) => typeof each === 'string') ? aud : undefined;
}
