import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { readAuthority } from './authority.ts';
import { type Refusal, refusal } from './change.ts';
import { type AuthorityRecord, hasKey, type PoolDocument, writePoolDocument } from './document.ts';
import { materialOf, rootOf } from './material.ts';
import {
  defaultJwtPropagation,
  jwtPropagationSeconds,
  publishedLater,
  signingAuthorityAt,
  signsFrom,
  usualRootPropagationSeconds,
} from './may-sign.ts';
import { compilePool, type Pool } from './pool.ts';
import type { PoolProblem } from './problem.ts';
import { readPoolDocument } from './read-document.ts';
import type { MayHaveSignedUntil } from './signed-until.ts';
import { isJwtKind, isPublished } from './states.ts';

/**
 * Changes of a pool document: pure functions that return the document after the change, or why there is none.
 * `now` is seconds since the epoch.
 */

/** How long after it no longer signs an authority may still verify something. */
export interface Lifetimes {
  /** Lifetime of certificates, in seconds: at least the setting maxLifetime of the signer. Used if there is no proof. */
  readonly certificateSeconds: number;
  /** The proof: what the record of the pool says about an authority. */
  readonly mayHaveSignedUntil?: MayHaveSignedUntil;
}

/** What verifiers allow beyond the end of a token (AWS 5 min, the longest that is known). */
const tokenToleranceSeconds = 300;
/** The longest jwtLifetime (1 h), with that. */
const longestTokenSeconds = 3_600 + tokenToleranceSeconds;
/** Longest time, in seconds, for which a replica signs while its view of the pool is not confirmed. */
const confirmedWithinSeconds = 30;

/**
 * The one check of everything that is written as a pool: its shape, its certificates and keys, and whether it can sign
 * at `now`. A pool that cannot sign may be what is wanted in an emergency: `pool` is returned for that case only. A root that
 * was published too recently is no problem: it will be able to sign.
 */
export function writablePool(
  document: PoolDocument,
  now: Seconds,
): { ok: true; pool: Pool } | { ok: false; problem: PoolProblem; pool?: Pool } {
  const read = readPoolDocument(writePoolDocument(document));
  if (!read.ok) return read;
  const compiled = compilePool(read.document, document.trustDomain);
  if (!compiled.ok) return compiled;
  const signing = signingAuthorityAt(compiled.pool, now, 0);
  return signing.ok ? compiled : { ok: false, problem: signing.problem, pool: compiled.pool };
}

/** Adds roots that are published and that the pool does not name, so that they stay published: without a key. */
export function carryRoots(
  document: PoolDocument,
  roots: readonly CertificateFacts[],
  now: Seconds,
): PoolDocument {
  const carried = roots.map(
    ({ sha256Hex, der }): AuthorityRecord => ({
      id: `published-${sha256Hex.slice(0, 8)}`,
      kind: 'X509',
      state: 'retiring',
      tainted: false,
      certificate: encodePem('CERTIFICATE', der),
      intermediates: [],
      deactivatedAt: rfc3339(now),
    }),
  );
  return { ...document, authorities: [...document.authorities, ...carried] };
}

/** Makes an authority the active one of its kind, so that the previous one only verifies from now on. */
export function makeActive(
  record: AuthorityRecord,
  authorities: readonly AuthorityRecord[],
): readonly AuthorityRecord[] {
  return authorities.map((each) => {
    if (each === record) return { ...each, state: 'active' };
    return each.kind === record.kind && each.state === 'active' ? { ...each, state: 'retiring' } : each;
  });
}

/** What is known of the time before a change. */
export interface Before {
  /** The pool that is replaced; undefined for none. */
  readonly pool: PoolDocument | undefined;
  /** SHA-256 of the roots that are published; undefined where that is not known. */
  readonly roots?: ReadonlySet<string> | undefined;
}

/**
 * Records since when each authority is published, signs, or no longer signs, if a change of the pool shows it.
 * If nothing is known of an authority that does not sign, it is dated now, which is never too early.
 */
export function dateTransitions(after: PoolDocument, before: Before, now: Seconds): PoolDocument {
  const earlier = new Map((before.pool?.authorities ?? []).map((each) => [materialOf(each), each]));
  const at = rfc3339(now);
  const authorities = after.authorities.map((record): AuthorityRecord => {
    const was = earlier.get(materialOf(record));
    const each = withPublishedAt(record, was, before, now);
    const { deactivatedAt: known, ...rest } = each;
    if (each.state === 'active') {
      return was?.state === 'active' || each.activatedAt ? rest : { ...rest, activatedAt: at };
    }
    const hasSigned = each.state === 'retiring' || each.activatedAt !== undefined || was?.state === 'active';
    if (!isPublished(each.state) || !hasSigned) return each;
    const deactivatedAt = was?.state === 'active' ? at : (was?.deactivatedAt ?? known ?? at);
    return { ...rest, deactivatedAt };
  });
  return { ...after, authorities };
}

/** `publishedAt` says since when an authority is in the live bundles, without a break. */
function withPublishedAt(
  record: AuthorityRecord,
  was: AuthorityRecord | undefined,
  before: Before,
  now: Seconds,
): AuthorityRecord {
  const { publishedAt: _, ...rest } = record;
  if (record.state === 'prepared') return rest;
  if (record.state === 'preview') return { ...rest, previewedAt: was?.previewedAt ?? rfc3339(now) };
  if (!isPublished(record.state) || (was && isPublished(was.state))) return record;
  const root = rootOf(record);
  // What is below a root that is published already is as well known as that root.
  const since = siblingsOf(record, before.pool).flatMap(({ publishedAt }) => publishedAt ?? []);
  const [first] = since.toSorted((a, b) => Date.parse(a) - Date.parse(b));
  if (first !== undefined) return { ...rest, publishedAt: first };
  // A JWT key that only a copy has may have been published all along: the cluster does not show keys.
  const isNew = root === undefined ? was !== undefined : isNewRoot(root, before);
  if (!isNew) return record;
  return { ...rest, publishedAt: rfc3339(publishedLater(before.pool?.authorities ?? [], now)) };
}

/** The other published authorities of a pool that end in the same root. */
function siblingsOf(record: AuthorityRecord, pool: PoolDocument | undefined): AuthorityRecord[] {
  const root = rootOf(record);
  if (root === undefined) return [];
  return (pool?.authorities ?? []).filter(
    (each) => each.id !== record.id && isPublished(each.state) && rootOf(each) === root,
  );
}

/** Whether the root of an authority stays in the live bundles when the authority leaves them: another one has it too. */
export function keepsRoot(record: AuthorityRecord, document: PoolDocument): boolean {
  return siblingsOf(record, document).length > 0;
}

/** Where nothing is known of the time before, the pool may be put back into a new cluster: nothing has to propagate. */
function isNewRoot(root: string, { pool, roots }: Before): boolean {
  if (roots?.has(root)) return false;
  return pool !== undefined || (roots !== undefined && roots.size > 0);
}

/**
 * Takes an authority out of the bundles. Its root stays in the document as `retired` and without its key, which is how
 * the signers know that the root is to go; what was in no bundle is removed, and so are JWT keys.
 *
 * @param name the id of the authority, or the SHA-256 of its root in hex.
 */
export function retireAuthority(
  document: PoolDocument,
  name: string,
  now: Seconds,
  lifetimes: Lifetimes,
): { ok: true; document: PoolDocument; id: string; consequence: string | undefined } | Refusal {
  const record = document.authorities.find((each) => each.id === name || rootOf(each) === fingerprint(name));
  if (!record) {
    const ids = document.authorities.map(({ id }) => id).join(', ');
    return refusal(`the pool has no authority ${name}`, `name one of ${ids}`);
  }
  if (record.state === 'retired') {
    return refusal(`authority ${record.id} is retired already`, `leave out --drop-authority ${name}`);
  }
  const isKept = isPublished(record.state) && rootOf(record) !== undefined;
  const authorities = document.authorities.flatMap((each) => {
    if (each !== record) return [each];
    // Where the key is kept outside, the entry goes on to say so: the next one is to be made there too.
    const { privateKey: _, ...anchor } = each;
    return isKept ? [{ ...anchor, state: 'retired' as const }] : [];
  });
  const consequence = consequenceOf(record, document, now, lifetimes);
  return { ok: true, document: { ...document, authorities }, id: record.id, consequence };
}

/** What breaks when an authority leaves the bundles at `now`; undefined for nothing. */
function consequenceOf(
  record: AuthorityRecord,
  document: PoolDocument,
  now: Seconds,
  lifetimes: Lifetimes,
): string | undefined {
  const { id, kind, state } = record;
  const what = isJwtKind(kind) ? 'token' : 'certificate';
  if (!isPublished(state)) return undefined;
  if (state === 'active') {
    return `authority ${id} is active: every ${what} that it signed becomes invalid, and nothing signs in its place`;
  }
  if (keepsRoot(record, document)) return undefined;
  const until = neededUntil(record, document, now, lifetimes);
  if (until <= now) return undefined;
  const asFarAs = Number.isFinite(until)
    ? `until ${rfc3339(Math.ceil(until))}`
    : 'for a time that is not known, since the pool does not say when it stopped signing';
  const isOwn = until === ownUntil(record, document, now, lifetimes);
  const who = isOwn ? `authority ${id}` : `a retired authority below the root of authority ${id}`;
  return `${who} may have signed ${what}s that are valid ${asFarAs}: they become invalid at once`;
}

/**
 * Until when something may be valid that needs an authority in the bundles: infinity while it signs, or where that is not
 * known; 0 for one that never signed. Where no other authority keeps its root in the bundles, the certificates of retired
 * authorities below that root count too.
 */
export function neededUntil(
  record: AuthorityRecord,
  document: PoolDocument,
  now: Seconds,
  lifetimes: Lifetimes,
): Seconds {
  const root = rootOf(record);
  const isLast = root !== undefined && !keepsRoot(record, document);
  const retired = document.authorities.filter(
    (each) => isLast && each.id !== record.id && each.state === 'retired' && rootOf(each) === root,
  );
  return Math.max(...[record, ...retired].map((each) => ownUntil(each, document, now, lifetimes)));
}

/**
 * The same for what the authority signed itself. The record of the pool says it where it has an entry. It is final once no
 * replica signs with an old view of the pool. Without an entry it follows from when the authority stopped signing, and from
 * the maximum lifetime. So it does for an anchor without a key: its entry says nothing of the CAs below it, which are in
 * another pool. A retired authority had its key.
 */
function ownUntil(
  record: AuthorityRecord,
  document: PoolDocument,
  now: Seconds,
  { certificateSeconds, mayHaveSignedUntil }: Lifetimes,
): Seconds {
  const isJwt = isJwtKind(record.kind);
  const end = isJwt ? Number.POSITIVE_INFINITY : endOf(record, document.trustDomain);
  if (hasNeverSigned(record, document, now) || end === undefined) return 0;
  if (record.state === 'active') return end;
  const since = record.deactivatedAt === undefined ? undefined : Date.parse(record.deactivatedAt) / 1000;
  const hadKey = hasKey(record) || record.state === 'retired';
  const proven = hadKey ? mayHaveSignedUntil?.(record) : undefined;
  if (proven !== undefined) {
    const tolerance = isJwt ? tokenToleranceSeconds : 0;
    return Math.min(end, Math.max(proven + tolerance, since ?? 0) + confirmedWithinSeconds);
  }
  const lifetime = isJwt ? longestTokenSeconds : certificateSeconds;
  return Math.min(end, (since ?? Number.POSITIVE_INFINITY) + confirmedWithinSeconds + lifetime);
}

/**
 * Whether it is certain that an authority never signed. `kubectl` makes one active, and trusted again, without a trace, so
 * one with a key counts as never signed only as long as it was published too recently to sign.
 */
function hasNeverSigned(record: AuthorityRecord, { authorities }: PoolDocument, now: Seconds): boolean {
  const { state, activatedAt, deactivatedAt, kind } = record;
  if (state !== 'trusted' || activatedAt || deactivatedAt) return false;
  const propagationSeconds = isJwtKind(kind)
    ? jwtPropagationSeconds(defaultJwtPropagation)
    : usualRootPropagationSeconds;
  const from = signsFrom(authorities, record, propagationSeconds);
  return !hasKey(record) || (from !== undefined && from > now);
}

/** When the chain of an X509 authority ends; undefined for a JWT key, and for one that cannot be read, so that nothing is verified by it. */
export function endOf(record: AuthorityRecord, trustDomain: string | undefined): Seconds | undefined {
  if (isJwtKind(record.kind)) return undefined;
  const read = readAuthority(record, 'authority', trustDomain);
  if (!read.ok) return undefined;
  return Math.min(...[...read.authority.intermediates, read.authority.root].map((each) => each.notAfter));
}

function fingerprint(text: string): string {
  return text.replaceAll(':', '').toLowerCase();
}
