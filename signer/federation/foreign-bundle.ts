import { createPublicKey, type KeyObject } from 'node:crypto';
import { type ParsedBundle, parseSpiffeBundle, printSpiffeBundle } from '../../spiffe/bundle.ts';
import { utf8Text } from '../../spiffe/json.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { curves } from '../../spiffe/pki/curve.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { trustBundleOf } from '../trust/bundle.ts';
import type { FederatedTrustDomain } from './federated-trust-domain.ts';

/** The bundle of another trust domain, which is always kept beside its name. */
export type ForeignBundle = Omit<ParsedBundle, 'roots'> & {
  /** Each once. */
  readonly roots: readonly CertificateFacts[];
  /** How many roots were left out because they have expired. */
  readonly expiredRoots: number;
};

/** Longest bundle that is read, in bytes. */
export const maxForeignBytes = 1024 * 1024;
/** Most keys, counted before any is parsed: parsing is synchronous, so a long list would block the replica. */
const maxKeys = 200;
/** Longest kid, in characters: it is in the header of every token, and in messages. */
const maxKidLength = 256;
const minRsaBits = 2048;

/**
 * Reads the bundle of another trust domain, whose publisher may be malicious. Beyond what the standard demands, no root may
 * claim another trust domain, no key may be weak, no kid may be long, there are at most 200 keys, and the roots must fit into a
 * ClusterTrustBundle. Expired roots are left out. Pure, never throws.
 *
 * @param document UTF-8 of a SPIFFE bundle (JSON).
 */
export function readForeignBundle(
  document: Uint8Array | string,
  trustDomain: string,
  now: Seconds,
): Result<ForeignBundle> {
  const bytes = typeof document === 'string' ? Buffer.from(document) : document;
  if (bytes.length > maxForeignBytes) {
    return failure(`the bundle has ${bytes.length} bytes; at most ${maxForeignBytes} are read`);
  }
  const text = utf8Text(bytes, 'the bundle');
  if (!text.ok) return text;
  const read = parseSpiffeBundle(text.value, maxKeys);
  if (!read.ok) return read;
  return checked(read.value, trustDomain, now);
}

/** The bundle that was taken last. Another client may have written the status, so it is checked again. */
export function heldBundle(
  { status, trustDomain }: FederatedTrustDomain,
  now: Seconds,
): ForeignBundle | undefined {
  if (typeof status.bundle !== 'string') return undefined;
  const read = readForeignBundle(status.bundle, trustDomain, now);
  return read.ok ? read.value : undefined;
}

/** Reads PEM roots, or a SPIFFE bundle, as `readForeignBundle` does. Pure, never throws. */
export function readBootstrapBundle(
  text: string,
  trustDomain: string,
  now: Seconds,
): Result<readonly CertificateFacts[]> {
  const bundle = text.includes('-----BEGIN ')
    ? readPemRoots(text, trustDomain, now)
    : readForeignBundle(text, trustDomain, now);
  if (!bundle.ok) return bundle;
  const { roots } = bundle.value;
  return roots.length > 0 ? success(roots) : failure('the bundle has no root that can be used');
}

/** Reads PEM roots as a bundle without JWT keys and sequence. Pure, never throws. */
export function readPemRoots(text: string, trustDomain: string, now: Seconds): Result<ForeignBundle> {
  const blocks = decodePem(text);
  if (!blocks.ok) return blocks;
  const count = blocks.value.length;
  if (count > maxKeys) return failure(`the bundle has ${count} PEM blocks; at most ${maxKeys} are read`);
  const roots: CertificateFacts[] = [];
  for (const [index, { label, der }] of blocks.value.entries()) {
    const place = `PEM block ${index + 1}`;
    if (label !== 'CERTIFICATE') return failure(`${place} is not a certificate`);
    const root = readCertificate(der);
    if (!root.ok) return failure(`${place} cannot be read: ${root.reason}`);
    if (!root.value.isCa) return failure(`${place} is not a CA certificate`);
    roots.push(root.value);
  }
  const none = { sequence: undefined, refreshHintSeconds: undefined, jwtKeys: new Map(), ignored: [] };
  return checked({ ...none, roots }, trustDomain, now);
}

function checked(bundle: ParsedBundle, trustDomain: string, now: Seconds): Result<ForeignBundle> {
  const roots = new Map<string, CertificateFacts>();
  const ignored = [...bundle.ignored];
  let expiredRoots = 0;
  for (const root of bundle.roots) {
    const problem = rootProblem(root, trustDomain);
    if (problem !== undefined) return failure(`the root with SHA-256 ${root.sha256Hex} ${problem}`);
    if (root.notAfter < now) {
      expiredRoots += 1;
      ignored.push(`the root with SHA-256 ${root.sha256Hex} expired at ${rfc3339(root.notAfter)}`);
    } else roots.set(root.sha256Hex, root);
  }
  for (const [kid, key] of bundle.jwtKeys) {
    const problem =
      kid.length > maxKidLength
        ? `has a kid of ${kid.length} characters; at most ${maxKidLength} are read`
        : keyProblem(key);
    if (problem !== undefined) return failure(`the JWT key ${JSON.stringify(kid.slice(0, 100))} ${problem}`);
  }
  const pem = roots.size === 0 ? undefined : trustBundleOf([...roots.values()]);
  if (pem && !pem.ok) return pem;
  return success({ ...bundle, roots: [...roots.values()], expiredRoots, ignored });
}

function rootProblem({ uris, spki }: CertificateFacts, trustDomain: string): string | undefined {
  const other = uris.find((uri) => uri !== `spiffe://${trustDomain}`);
  if (other !== undefined) {
    return `has the name ${JSON.stringify(other.slice(0, 300))}, not spiffe://${trustDomain} (X509-SVID 4.1)`;
  }
  try {
    return keyProblem(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }));
  } catch {
    return 'has a key that cannot be read';
  }
}

/** Why a key is not accepted; undefined if it is. Follows the name of the key. */
function keyProblem({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): string | undefined {
  const { modulusLength: bits = 0, namedCurve = '' } = details ?? {};
  if (type === 'rsa' && bits < minRsaBits) {
    return `is RSA with ${bits} bits; at least ${minRsaBits} are accepted`;
  }
  if (type === 'ec' && !curves.some(({ openssl }) => openssl === namedCurve))
    return `is on the curve ${namedCurve}, which is not accepted`;
  return ['rsa', 'ec', 'ed25519', 'ed448'].includes(type ?? '')
    ? undefined
    : `is of the type ${type}, which is not accepted`;
}

/**
 * The document that is kept and served: what was read, and nothing else. The order of the keys does not change the text.
 */
export function printForeignBundle({
  sequence,
  refreshHintSeconds,
  roots,
  jwtKeys,
}: Omit<ForeignBundle, 'ignored' | 'expiredRoots'>): string {
  const keys = [...jwtKeys].map(([kid, key]) => ({ kid, jwk: publicJwkOf(key) }));
  const text = printSpiffeBundle({
    sequence,
    refreshHintSeconds,
    roots: sortedBy(roots, ({ sha256Hex }) => sha256Hex),
    jwtKeys: sortedBy(keys, ({ kid }) => kid),
  });
  return JSON.stringify(JSON.parse(text));
}

function sortedBy<T>(values: readonly T[], keyOf: (value: T) => string): T[] {
  return [...values].sort((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1));
}

/** Whether a bundle had roots, and all of them have expired. Pure. */
export function haveRootsExpired({
  roots,
  expiredRoots,
}: Pick<ForeignBundle, 'roots' | 'expiredRoots'>): boolean {
  return roots.length === 0 && expiredRoots > 0;
}

/**
 * Why a bundle must not replace the one that is held; undefined if it may. If the sequence goes back, the publisher was
 * restored from a backup, or an attacker replays an old document. An empty set of roots would break every connection, and is
 * more often a mistake than intended. The same holds for a bundle whose roots have all expired, even if it is the one that
 * is held.
 */
export function replacementProblem(
  next: Pick<ForeignBundle, 'sequence' | 'roots' | 'expiredRoots'>,
  held: Pick<ForeignBundle, 'sequence' | 'roots' | 'expiredRoots'> | undefined,
): { readonly reason: 'BundleSequenceWentBack' | 'BundleWithoutRoots'; readonly detail: string } | undefined {
  if (held?.sequence !== undefined && (next.sequence ?? -1) < held.sequence) {
    const found = next.sequence === undefined ? 'it has no sequence' : `its sequence is ${next.sequence}`;
    return { reason: 'BundleSequenceWentBack', detail: `${found}, after ${held.sequence}` };
  }
  if (haveRootsExpired(next)) {
    return { reason: 'BundleWithoutRoots', detail: `all of its roots (${next.expiredRoots}) have expired` };
  }
  const before = held ? held.roots.length + held.expiredRoots : 0;
  return before > 0 && next.roots.length === 0
    ? { reason: 'BundleWithoutRoots', detail: `it has no root, after ${before}` }
    : undefined;
}
