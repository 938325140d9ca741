import { createPublicKey, type KeyObject } from 'node:crypto';
import { checkBundle, checkKeyAsReader, ignoredReason } from './bundle-clauses.ts';
import { bundleKeyOf } from './bundle-key.ts';
import type { Finding } from './clauses.ts';
import { isJsonObject, type JsonObject, parseJsonObject, shown } from './json.ts';
import { type PublicJwk, publicJwkOf, readPublicJwk, unsupportedReason } from './jwk.ts';
import type { JwtAlgorithmName } from './jwt-algorithms.ts';
import type { CertificateFacts } from './pki/certificate.ts';
import { failure, type Result, success } from './pki/result.ts';

/** Longest document that is read, in characters. */
export const maxBundleLength = 4 * 1024 * 1024;

/** Why a URL is not one of a bundle endpoint (SPIFFE Federation 5.2.1), or undefined. */
export function endpointProblem(url: URL): string | undefined {
  if (url.protocol !== 'https:') return 'the URL of an endpoint begins with https://';
  return url.username === '' && url.password === '' ? undefined : 'the URL of an endpoint names no user';
}

/** A public key by the name that tokens know it by. */
export interface JwtBundleKey {
  readonly kid: string;
  readonly jwk: PublicJwk;
}

/** What verifies the SVIDs of one trust domain, whose name is kept beside it (Trust Domain and Bundle 4). */
export interface SpiffeBundle {
  /** Grows with every change of content. Undefined where the publisher gives none. */
  readonly sequence: number | undefined;
  /** How often others should look for a newer one, in whole seconds. Undefined where the publisher gives none. */
  readonly refreshHintSeconds: number | undefined;
  readonly roots: readonly Pick<CertificateFacts, 'der' | 'spki'>[];
  readonly jwtKeys: readonly JwtBundleKey[];
}

/**
 * The JSON of a SPIFFE bundle (Trust Domain and Bundle 4; X509-SVID 6; JWT-SVID 6), with no member that the
 * standard does not name. Everything stands in the order given, so the same bundle always gives the same text.
 */
export function printSpiffeBundle(bundle: SpiffeBundle): string {
  const roots = bundle.roots.map(({ der, spki }) => ({
    ...publicJwkOf(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })),
    use: 'x509-svid',
    x5c: [Buffer.from(der).toString('base64')],
  }));
  const jwtKeys = bundle.jwtKeys.map(({ kid, jwk }) => ({ ...jwk, use: 'jwt-svid', kid }));
  return print({
    keys: [...roots, ...jwtKeys],
    spiffe_sequence: bundle.sequence,
    spiffe_refresh_hint: bundle.refreshHintSeconds,
  });
}

/**
 * The JWK set that OIDC relying parties read (RFC 7517 5; OpenID Connect Discovery 3): `use: sig` and alg, which a
 * SPIFFE bundle must not have, and JWT keys only, as SPIFFE libraries refuse a JWT bundle with any other in it.
 */
export function printJwks(
  keys: readonly (JwtBundleKey & { readonly algorithm?: JwtAlgorithmName | undefined })[],
): string {
  return print({
    keys: keys.map(({ kid, jwk, algorithm }) => ({
      ...jwk,
      use: 'sig',
      ...(algorithm === undefined ? {} : { alg: algorithm }),
      kid,
    })),
  });
}

const print = (value: object): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** A bundle that was read. `roots` and `jwtKeys` both empty means that all of the trust domain is revoked. */
export interface ParsedBundle extends Pick<SpiffeBundle, 'sequence' | 'refreshHintSeconds'> {
  readonly roots: readonly CertificateFacts[];
  readonly jwtKeys: ReadonlyMap<string, KeyObject>;
  /** The keys that were left out as the standard demands, such as those of a use that is not known, and why. */
  readonly ignored: readonly string[];
}

/**
 * Reads a SPIFFE bundle from another publisher. Ignores what readers must ignore by the standards: a key of unknown
 * use, type or curve or with a missing member (Trust Domain and Bundle 4.2; RFC 7517 5), a root without certificate,
 * and all certificates of a root but the first. (go-spiffe refuses a bundle that has any of these.) Any other problem of
 * a key makes the whole bundle unusable, as in go-spiffe: half a bundle would revoke the other half. Never throws.
 *
 * @param maxKeys a bundle with more keys is refused before any key is parsed, which takes most of the time.
 */
export function parseSpiffeBundle(text: string, maxKeys = Number.POSITIVE_INFINITY): Result<ParsedBundle> {
  const read = readDocument(text);
  if (!read.ok) return read;
  const { document, keys } = read.value;
  if (keys.length > maxKeys)
    return failure(`the bundle has ${keys.length} keys; at most ${maxKeys} are read`);
  const problem = firstProblem('the bundle', checkBundle(document));
  if (problem !== undefined) return failure(problem);
  const roots: CertificateFacts[] = [];
  const jwtKeys = new Map<string, KeyObject>();
  const ignored: string[] = [];
  for (const [index, members] of keys.entries()) {
    const place = `keys[${index}]`;
    const reason = ignoredReason(members);
    if (reason !== undefined) {
      ignored.push(`${place}: ${reason}`);
      continue;
    }
    const key = bundleKeyOf(members);
    const keyProblem = firstProblem(place, checkKeyAsReader(key));
    if (keyProblem !== undefined) return failure(keyProblem);
    const root = members.use === 'x509-svid' ? key.certificate() : undefined;
    if (root?.ok) roots.push(root.value);
    const publicKey = members.use === 'jwt-svid' ? key.publicKey() : undefined;
    if (publicKey?.ok) jwtKeys.set(String(members.kid), publicKey.value);
  }
  return success({
    sequence: document.spiffe_sequence as number | undefined,
    refreshHintSeconds: document.spiffe_refresh_hint as number | undefined,
    roots,
    jwtKeys,
    ignored,
  });
}

/**
 * Reads an OIDC JWK set: its keys for signatures, by kid. Ignores a key that is for something else, that has no kid,
 * that is of an unknown type or curve, or that lacks a member (RFC 7517 5). Any other problem of a key makes the
 * set unusable. Never throws.
 */
export function parseJwks(text: string): Result<Pick<ParsedBundle, 'jwtKeys' | 'ignored'>> {
  const read = readDocument(text);
  if (!read.ok) return read;
  const jwtKeys = new Map<string, KeyObject>();
  const ignored: string[] = [];
  for (const [index, key] of read.value.keys.entries()) {
    const place = `keys[${index}]`;
    const reason = ignoredInJwks(key);
    if (reason !== undefined) {
      ignored.push(`${place}: ${reason}`);
      continue;
    }
    const publicKey = readPublicJwk(key);
    if (!publicKey.ok) return failure(`${place}: ${publicKey.reason}`);
    const kid = String(key.kid);
    if (jwtKeys.has(kid)) return failure(`${place}: its kid is that of another key as well`);
    jwtKeys.set(kid, publicKey.value);
  }
  return success({ jwtKeys, ignored });
}

function ignoredInJwks(key: JsonObject): string | undefined {
  // Some Workload APIs mark the keys of a JWT bundle as a SPIFFE bundle does.
  if (![undefined, 'sig', 'jwt-svid'].includes(key.use as string | undefined))
    return `use is ${shown(key.use)}`;
  if (typeof key.kid !== 'string') return `kid is ${shown(key.kid)}`;
  return unsupportedReason(key);
}

function readDocument(text: string): Result<{ document: JsonObject; keys: readonly JsonObject[] }> {
  if (text.length > maxBundleLength) {
    return failure(`the bundle is longer than ${maxBundleLength} characters`);
  }
  const document = parseJsonObject(text, 'the bundle');
  if (!document.ok) return document;
  const { keys } = document.value;
  if (!Array.isArray(keys)) return failure('the bundle has no list "keys" (Trust Domain and Bundle 4.1.3)');
  if (!keys.every(isJsonObject)) return failure('the bundle has a key that is not a JSON object');
  return success({ document: document.value, keys });
}

function firstProblem(place: string, findings: readonly Finding[]): string | undefined {
  const broken = findings.find(({ ok, level }) => !ok && level === 'must');
  return broken && `${place}: ${broken.message} (${broken.clause})`;
}
