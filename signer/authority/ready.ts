import type { Seconds } from '../../spiffe/pki/time.ts';
import { minCertificateSeconds } from '../kube/types.ts';
import { type AuthorityRecord, hasKey, type PoolDocument } from './document.ts';
import { readJwtAuthority } from './jwt-authority.ts';
import { rootOf, stolenRoots } from './material.ts';
import { signsFrom } from './may-sign.ts';
import { type AuthorityKind, isJwtKind } from './states.ts';
import { endOf, type Lifetimes } from './transitions.ts';

/** When a step of an authority is safe. Pure; times are in seconds since the epoch. */

/** How long things take, in seconds. */
export interface Timing extends Lifetimes {
  /** How long a root, or a JWT key, must be published before it signs. */
  readonly rootPropagationSeconds: number;
  readonly jwtPropagationSeconds: number;
  /** Since when the live bundle shows a root (SHA-256 in hex) or a JWT key (`kid`), where that can be later than the pool says. */
  readonly shownSince?: ReadonlyMap<string, Seconds>;
}

/** How long authorities of a kind must be published before they sign. */
export function delayOf(kind: AuthorityKind, timing: Timing): Seconds {
  return isJwtKind(kind) ? timing.jwtPropagationSeconds : timing.rootPropagationSeconds;
}

/** From when on a published authority may be active. */
export function readyFrom(record: AuthorityRecord, document: PoolDocument, timing: Timing): Seconds {
  const delay = delayOf(record.kind, timing);
  const from = signsFrom(document.authorities, record, delay) ?? 0;
  // What is active signs already, although its bundle may be a new one.
  const shownSince =
    record.state === 'active' ? undefined : timing.shownSince?.get(shownNameOf(record) ?? '');
  return shownSince === undefined ? from : Math.max(from, shownSince + delay);
}

/** Whether an authority can take over once it is published for long enough, and would not end at once. */
export function isStandby(
  record: AuthorityRecord,
  kind: AuthorityKind,
  document: PoolDocument,
  now: Seconds,
): boolean {
  if (record.kind !== kind || record.state !== 'trusted' || isBelowStolen(record, document)) return false;
  return isUsable(record, document, now);
}

/** The authorities of a kind that can take over, in the order in which they become ready. */
export function standbys(
  kind: AuthorityKind,
  document: PoolDocument,
  now: Seconds,
  timing: Timing,
): readonly AuthorityRecord[] {
  return document.authorities
    .filter((each) => isStandby(each, kind, document, now))
    .toSorted((a, b) => readyFrom(a, document, timing) - readyFrom(b, document, timing));
}

/** Whether the active authority of a kind is able to sign. */
export function isSigning(kind: AuthorityKind, document: PoolDocument, now: Seconds): boolean {
  const active = document.authorities.find((each) => each.kind === kind && each.state === 'active');
  return active !== undefined && isUsable(active, document, now);
}

function isUsable(record: AuthorityRecord, document: PoolDocument, now: Seconds): boolean {
  if (record.tainted || !hasKey(record)) return false;
  if (isJwtKind(record.kind)) return record.publishedAt !== undefined;
  return (endOf(record, document.trustDomain) ?? 0) - now >= minCertificateSeconds;
}

/** Whether the key of its root is stolen: a cross-signed CA, whose own key need not be. */
export function isBelowStolen(record: AuthorityRecord, { authorities }: PoolDocument): boolean {
  return stolenRoots(authorities).has(rootOf(record) ?? '');
}

/** What the live bundle shows of an authority: its root by SHA-256 in hex, or its JWT key by `kid`, in an annotation. */
function shownNameOf(record: AuthorityRecord): string | undefined {
  if (!isJwtKind(record.kind)) return rootOf(record);
  const read = readJwtAuthority(record, record.id);
  return read.ok ? read.authority.kid : undefined;
}

/** What the live bundle shows; undefined where that is not known. */
export interface Shown {
  /** SHA-256 of its roots, in hex. */
  readonly published: ReadonlySet<string> | undefined;
  /** The `kid` of the JWT keys of its pool. A bundle that an older version wrote has none. */
  readonly publishedKeys?: ReadonlySet<string> | undefined;
}

/** Whether the live bundle shows the authority; true while that is not known. */
export function isSeen(record: AuthorityRecord, { published, publishedKeys }: Shown): boolean {
  const name = shownNameOf(record);
  if (name === undefined) return true;
  if (!isJwtKind(record.kind)) return published === undefined || published.has(name);
  return publishedKeys === undefined || publishedKeys.size === 0 || publishedKeys.has(name);
}

/** Until when something may be valid that an authority signed before it left the bundles. */
export function signedUntil(record: AuthorityRecord, { trustDomain }: PoolDocument, timing: Timing): Seconds {
  const proven = timing.mayHaveSignedUntil?.(record) ?? 0;
  return Math.min(proven, endOf(record, trustDomain) ?? proven);
}
