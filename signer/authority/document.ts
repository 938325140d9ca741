import { parseJsonObject } from '../../spiffe/json.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { parseKeyRef } from '../keys/key-ref.ts';
import { type PoolProblem, type PoolProblemReason, poolProblem } from './problem.ts';
import {
  type AuthorityKind,
  type AuthorityState,
  authorityKinds,
  authorityStates,
  isJwtKind,
} from './states.ts';

const poolApiVersion = 'kubespiffe.io/v1alpha1';
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
  /** Since when it no longer signs: what it signed ends at the latest a longest lifetime after that. */
  readonly deactivatedAt?: string;
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

/** The id of the next authority: a prefix and the first number that is free, such as `ca-2`. */
export function nextAuthorityId({ authorities }: Pick<PoolDocument, 'authorities'>, prefix: string): string {
  const taken = new Set(authorities.map(({ id }) => id));
  let number = 1;
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

/** A check names the first fault of a value, at a field. */
type Check = (value: unknown, field: string) => PoolProblem | undefined;

/** The entry of a retired root keeps an old copy from bringing it back. */
const removeRetired = 'remove retired authorities, first those whose root has expired';

const restore = 'correct it, or put a copy back with `kubespiffe ca restore`';

const fault = (
  field: string,
  what: string,
  remedy: string = restore,
  reason: PoolProblemReason = 'PoolMalformed',
): PoolProblem => poolProblem(reason, field, what, remedy);

const text =
  (what: string, accepts: (value: string) => boolean): Check =>
  (value, field) =>
    typeof value === 'string' && accepts(value) ? undefined : fault(field, `must be ${what}`);

const exactly = (expected: string): Check => text(JSON.stringify(expected), (value) => value === expected);

const pem = text(
  `one PEM block of at most ${poolLimits.pemBytes / 1024} KiB`,
  (value) => value.length <= poolLimits.pemBytes && value.includes('-----BEGIN '),
);

/** The value is not repeated: a private key may have been pasted there. */
const keyReference: Check = (value, field) => {
  const read = typeof value === 'string' ? parseKeyRef(value) : undefined;
  if (read?.ok) return undefined;
  return fault(field, read?.reason ?? 'must be a reference to a key', 'correct it (docs/guides/keys.md)');
};

const time = text(
  'a time like 2026-01-31T12:00:00Z',
  (value) =>
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value) &&
    !Number.isNaN(Date.parse(value)),
);

const flag: Check = (value, field) =>
  typeof value === 'boolean' ? undefined : fault(field, 'must be true or false');

const count: Check = (value, field) =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= poolLimits.sequence
    ? undefined
    : fault(field, `must be a whole number from 0 to ${poolLimits.sequence}`);

const knownState: Check = (value, field) => {
  if ((authorityStates as readonly unknown[]).includes(value)) return undefined;
  if (typeof value !== 'string') return fault(field, `must be one of ${authorityStates.join(', ')}`);
  return fault(
    field,
    `the state "${printable(value)}" is not known to this version`,
    `run the version of kubespiffe that wrote it; if it is a typing error, write one of ${authorityStates.join(', ')}`,
    'PoolStateUnknown',
  );
};

const listOf =
  (limit: number, item: Check, remedy: string): Check =>
  (value, field) => {
    if (!Array.isArray(value)) return fault(field, 'must be a list');
    if (value.length > limit) return fault(field, `has ${value.length} entries, more than ${limit}`, remedy);
    return firstOf(value.map((entry, index) => () => item(entry, `${field}[${index}]`)));
  };

function firstOf(checks: readonly (() => PoolProblem | undefined)[]): PoolProblem | undefined {
  for (const check of checks) {
    const problem = check();
    if (problem) return problem;
  }
  return undefined;
}

/** An object of these fields and no others: a misspelt `tainted` must not pass as "not tainted". */
const objectOf =
  (required: Record<string, Check>, optional: Record<string, Check> = {}): Check =>
  (value, field) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return fault(field, 'must be an object');
    const present = value as Record<string, unknown>;
    const all = { ...required, ...optional };
    const unknown = Object.keys(present).find((name) => !Object.hasOwn(all, name));
    return firstOf([
      () =>
        unknown === undefined
          ? undefined
          : fault(
              `${field}.${printable(unknown)}`,
              'is not a field of a pool',
              'correct its name (docs/reference/pool.md lists the fields) or remove it',
            ),
      ...Object.entries(all).map(([name, check]) => () => {
        const at = `${field}.${name}`;
        if (Object.hasOwn(present, name)) return check(present[name], at);
        return Object.hasOwn(required, name) ? fault(at, 'is missing') : undefined;
      }),
    ]);
  };

/** An untrusted word, if it is one: a key that was pasted in the wrong place is not repeated. */
function printable(word: string): string {
  return /^[A-Za-z][A-Za-z0-9_-]{0,31}$/.test(word) ? word : '?';
}

const common: Record<string, Check> = {
  id: text('1 to 63 of A-Z a-z 0-9 - _ ., alphanumeric at both ends', isAuthorityId),
  kind: text(`one of ${authorityKinds.join(', ')}`, (value) =>
    (authorityKinds as readonly string[]).includes(value),
  ),
  state: knownState,
  tainted: flag,
};
const times: Record<string, Check> = {
  createdAt: time,
  publishedAt: time,
  activatedAt: time,
  deactivatedAt: time,
};

const x509Authority = objectOf(
  { ...common, certificate: pem },
  {
    privateKey: pem,
    keyRef: keyReference,
    intermediates: listOf(poolLimits.intermediates, pem, 'use a CA with a shorter chain'),
    ...times,
    previewedAt: time,
    verifiedAt: time,
  },
);
const jwtAuthority = objectOf(
  {
    ...common,
    state: (value, field) =>
      value === 'preview'
        ? fault(field, 'is preview, which only X509 authorities have')
        : knownState(value, field),
  },
  { privateKey: pem, keyRef: keyReference, publicKey: pem, ...times },
);

/** It waits for its certificate. */
const requestedAuthority = objectOf(
  {
    ...common,
    state: (value, field) =>
      value === 'prepared'
        ? undefined
        : fault(field, 'must be prepared, as the authority has a request in place of a certificate'),
    request: pem,
  },
  { privateKey: pem, keyRef: keyReference, createdAt: time, requestedBy: exactly('rotation') },
);

/** With both nobody could say which one signs. */
const oneKey = ({ privateKey, keyRef }: AuthorityRecord, field: string): PoolProblem | undefined =>
  privateKey !== undefined && keyRef !== undefined
    ? fault(`${field}.keyRef`, 'stands beside a privateKey', 'remove the one that does not sign')
    : undefined;

const authority: Check = (value, field) => {
  if (typeof value !== 'object' || value === null) return fault(field, 'must be an object');
  if ('kind' in value && isJwtKind(value.kind)) {
    return jwtAuthority(value, field) ?? oneKey(value as AuthorityRecord, field);
  }
  return (
    ('request' in value ? requestedAuthority : x509Authority)(value, field) ??
    oneKey(value as AuthorityRecord, field)
  );
};

const pool = objectOf(
  {
    apiVersion: exactly(poolApiVersion),
    kind: exactly(poolKind),
    sequence: count,
    authorities: listOf(poolLimits.authorities, authority, removeRetired),
  },
  { trustDomain: text('the name of a trust domain', (value) => parseTrustDomain(value).ok) },
);

/** Whether a text can be the id of an authority. */
export function isAuthorityId(id: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(id);
}

/**
 * Reads the JSON of a pool: its shape only, in the order in which docs/reference/pool.md lists the fields. Keys and
 * certificates inside are still text. The first problem is reported.
 */
export function readPoolDocument(
  json: string,
): { ok: true; document: PoolDocument } | { ok: false; problem: PoolProblem } {
  if (json.length > poolLimits.bytes) {
    const what = `is larger than ${poolLimits.bytes / 1024} KiB`;
    return { ok: false, problem: fault('pool', what, removeRetired) };
  }
  const read = parseJsonObject(json, 'the text');
  if (!read.ok) return { ok: false, problem: fault('pool', read.reason) };
  const problem = pool(read.value, 'pool');
  return problem ? { ok: false, problem } : { ok: true, document: read.value as unknown as PoolDocument };
}

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
