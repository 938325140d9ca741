import type { AuthorityKind, AuthorityState } from './states.ts';

export const poolApiVersion = 'kubespiffe.io/v1alpha1';
export const poolKind = 'AuthorityPool';

/** One authority as it is written. Times are RFC 3339, PEM texts hold one block each. */
export interface AuthorityRecord {
  /** Unique in the pool; at most 63 of A-Z a-z 0-9 - _ ., alphanumeric at both ends. */
  readonly id: string;
  readonly kind: AuthorityKind;
  readonly state: AuthorityState;
  readonly tainted: boolean;
  /** PKCS#8 PEM, unencrypted. An authority that does not sign may be without. */
  readonly privateKey?: string;
  /** X509 only, in place of the certificate: the request for it, PKCS#10 in PEM. It is `prepared` until the answer comes. */
  readonly request?: string;
  /** Beside a request that an automatic rotation made, and sends to its issuer. Absent for one that a person made. */
  readonly requestedBy?: 'rotation';
  /** Instead of privateKey: where the key is kept, such as `pkcs11:token=kubespiffe;object=ca-1` (keys/key-ref.ts). */
  readonly keyRef?: string;
  /** X509 only: the root, PEM. */
  readonly certificate?: string;
  /** X509 only: PEM, the issuer of the leaves first, the root left out. */
  readonly intermediates?: readonly string[];
  /** JWT kinds only: SubjectPublicKeyInfo, PEM. */
  readonly publicKey?: string;
  readonly createdAt?: string;
  /** X509 only: since when its root is in the preview bundle alone. */
  readonly previewedAt?: string;
  /** X509 only: when a pod verified a certificate of it by the preview bundle. */
  readonly verifiedAt?: string;
  readonly publishedAt?: string;
  readonly activatedAt?: string;
  /** Since when it no longer signs: what it signed ends at the latest one maximum lifetime after that. */
  readonly deactivatedAt?: string;
}

/** What is known of an authority of either kind once its keys and certificates were read. */
export interface CompiledAuthority
  extends Pick<AuthorityRecord, 'id' | 'state' | 'tainted' | 'createdAt' | 'publishedAt'> {
  /** Where it stands, such as `pool.authorities[0]`. */
  readonly field: string;
  /** Algorithm of the key that signs, such as `ECDSA P-256`. */
  readonly keyType: string;
}

export function commonOf(record: AuthorityRecord, field: string, keyType: string): CompiledAuthority {
  const { id, state, tainted, createdAt, publishedAt } = record;
  return {
    ...{ id, state, tainted, field, keyType },
    ...(createdAt === undefined ? {} : { createdAt }),
    ...(publishedAt === undefined ? {} : { publishedAt }),
  };
}

/** The JSON in key `pool.json` of the pool Secret (docs/reference/pool.md). */
export interface PoolDocument {
  readonly apiVersion: typeof poolApiVersion;
  readonly kind: typeof poolKind;
  /** Absent where the authorities sign for no trust domain, such as those for DNS names. */
  readonly trustDomain?: string;
  /**
   * Grows with every change of what is published, by any amount: a new or restored pool takes the time in seconds
   * since the epoch (sequence.ts). It is the sequence number of the bundles made from the pool.
   */
  readonly sequence: number;
  readonly authorities: readonly AuthorityRecord[];
}

/** Whether an authority has a key to sign with, in the pool or elsewhere. */
export function hasKey({ privateKey, keyRef }: Pick<AuthorityRecord, 'privateKey' | 'keyRef'>): boolean {
  return privateKey !== undefined || keyRef !== undefined;
}

/** Whether a text can be the id of an authority. */
export function isAuthorityId(id: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(id);
}

/** The id of the next authority: a prefix and the first number that is free, such as `ca-2`. */
export function nextAuthorityId({ authorities }: Pick<PoolDocument, 'authorities'>, prefix: string): string {
  return firstFree(prefix, new Set(authorities.map(({ id }) => id)), 1);
}

/** The id itself, or with a number where it is taken. */
export function freeId(id: string, taken: ReadonlySet<string>): string {
  return taken.has(id) ? firstFree(id.slice(0, 59), taken, 2) : id;
}

function firstFree(prefix: string, taken: ReadonlySet<string>, from: number): string {
  let number = from;
  while (taken.has(`${prefix}-${number}`)) number += 1;
  return `${prefix}-${number}`;
}

/** Far above any sensible pool, far below what a Secret may hold (1 MiB). */
export const poolLimits = {
  bytes: 512 * 1024,
  authorities: 32,
  intermediates: 4,
  pemBytes: 16 * 1024,
  /** Sequences are times in seconds as kubespiffe sets them. Beyond this lies a typing error, or an attack. */
  sequence: 1_000_000_000_000,
} as const;

/** The JSON of a pool, as readPoolDocument reads it. */
export function writePoolDocument(document: PoolDocument): string {
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** A pool at the beginning of its life. */
export function newPool(
  trustDomain: string | undefined,
  ...authorities: readonly AuthorityRecord[]
): PoolDocument {
  const owner = trustDomain === undefined ? {} : { trustDomain };
  return { apiVersion: poolApiVersion, kind: poolKind, ...owner, sequence: 1, authorities };
}
