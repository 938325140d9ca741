import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type PooledAuthority, readAuthority } from './authority.ts';
import type { AuthorityRecord } from './document.ts';
import { type JwtAuthority, readJwtAuthority } from './jwt-authority.ts';
import { isJwtKind } from './states.ts';

/**
 * The record of a pool: for each authority the time T until which something that it signed may be valid. It is a
 * ConfigMap beside the pool, whose values only grow. Pure.
 *
 * - A replica signs nothing that ends after T. It raises T first, a step ahead, so that one write serves many signatures.
 * - An entry is complete: it begins with the key itself, when nothing has been signed yet, or so late that everything
 *   that may have been signed before has ended by then.
 * - Without an entry nothing is known: a record that is lost proves nothing.
 */
export type SignedUntil = ReadonlyMap<string, Seconds>;

/** So far beyond what is about to be signed T is raised, in seconds. */
export const signedUntilStepSeconds = 600;

/** The maximum lifetime that a signer can be configured for: 91 days, which Kubernetes allows at most. */
export const longestCertificateSeconds = 91 * 86_400;
/** The longest jwtLifetime. */
const longestJwtSeconds = 3_600;

/** The name of the record of a pool. */
export function signedUntilName(pool: string): string {
  return `${pool}-signed-until`;
}

/** What names an authority in the record. */
export type SigningIdentity = Pick<PooledAuthority, 'kind' | 'signing'> | Pick<JwtAuthority, 'kind' | 'kid'>;

/**
 * The key of an authority in the record: SHA-256 of the certificate that signs, in hex, or the `kid` of a JWT key. Ids do
 * not serve, since a new pool has the ids of the previous one.
 */
export function signedUntilKey(authority: SigningIdentity): string {
  return 'kid' in authority ? authority.kid : authority.signing.sha256Hex;
}

/** The same for an authority as it is written; undefined where it cannot be read. */
export function signedUntilKeyOf(
  record: AuthorityRecord,
  trustDomain: string | undefined,
): string | undefined {
  const read = isJwtKind(record.kind)
    ? readJwtAuthority(record, 'authority')
    : readAuthority(record, 'authority', trustDomain);
  return read.ok ? signedUntilKey(read.authority) : undefined;
}

/** Reads the data of the ConfigMap. An entry that is not a time counts as missing. */
export function readSignedUntil(data: Readonly<Record<string, unknown>> | undefined): SignedUntil {
  const entries = Object.entries(data ?? {}).flatMap(([key, value]) => {
    const isTime = typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value);
    const seconds = isTime ? Date.parse(value) / 1000 : Number.NaN;
    return Number.isNaN(seconds) ? [] : [[key, seconds] as const];
  });
  return new Map(entries);
}

/** A time as it is written; never earlier than the time itself. */
export function writeSignedUntil(until: Seconds): string {
  return rfc3339(Math.ceil(until));
}

/**
 * What T becomes before something is signed that ends at `until`.
 *
 * @param known T of the record; undefined where it has no entry, so that everything signed before must have ended by T.
 * @param now seconds since the epoch.
 */
export function raisedUntil(
  known: Seconds | undefined,
  {
    kind,
    until,
    now,
  }: { readonly kind: AuthorityRecord['kind']; readonly until: Seconds; readonly now: Seconds },
): Seconds {
  const longest = isJwtKind(kind) ? longestJwtSeconds : longestCertificateSeconds;
  return Math.max(until + signedUntilStepSeconds, known ?? now + longest);
}

/** Until when something that an authority signed may be valid, by the record; undefined where it does not say. */
export type MayHaveSignedUntil = (record: AuthorityRecord) => Seconds | undefined;

/** The proof that the record of a pool of this trust domain gives. */
export function mayHaveSignedUntil(
  signedUntil: SignedUntil,
  trustDomain: string | undefined,
): MayHaveSignedUntil {
  return (record) => {
    const key = signedUntilKeyOf(record, trustDomain);
    return key === undefined ? undefined : signedUntil.get(key);
  };
}
