import { parseJsonObject } from '../../spiffe/json.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { parseKeyRef } from '../keys/key-ref.ts';
import {
  type AuthorityRecord,
  isAuthorityId,
  type PoolDocument,
  poolApiVersion,
  poolKind,
  poolLimits,
} from './document.ts';
import {
  type Check,
  exactly,
  flag,
  listOf,
  objectOf,
  problemAt,
  shownName,
  text,
} from './document-checks.ts';
import type { PoolProblem, Refusable } from './problem.ts';
import { authorityKinds, authorityStates, isJwtKind } from './states.ts';

/** The entry of a retired root keeps an old copy from bringing it back. */
const removeRetired = 'remove retired authorities, first those whose root has expired';

const pem = text(
  `one PEM block of at most ${poolLimits.pemBytes / 1024} KiB`,
  (value) => value.length <= poolLimits.pemBytes && value.includes('-----BEGIN '),
);

/** The value is not repeated: a private key may have been pasted there. */
const keyReference: Check = (value, field) => {
  const read = typeof value === 'string' ? parseKeyRef(value) : undefined;
  if (read?.ok) return undefined;
  return problemAt(field, read?.reason ?? 'must be a reference to a key', 'correct it (docs/guides/keys.md)');
};

const time = text(
  'a time like 2026-01-31T12:00:00Z',
  (value) =>
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value) &&
    !Number.isNaN(Date.parse(value)),
);

const count: Check = (value, field) =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= poolLimits.sequence
    ? undefined
    : problemAt(field, `must be a whole number from 0 to ${poolLimits.sequence}`);

const knownState: Check = (value, field) => {
  if ((authorityStates as readonly unknown[]).includes(value)) return undefined;
  if (typeof value !== 'string') return problemAt(field, `must be one of ${authorityStates.join(', ')}`);
  return problemAt(
    field,
    `the state "${shownName(value)}" is not known to this version`,
    `run the version of kubespiffe that wrote it; if it is a typing error, write one of ${authorityStates.join(', ')}`,
    'PoolStateUnknown',
  );
};

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

const keys: Record<string, Check> = { privateKey: pem, keyRef: keyReference };
const ofX509: Record<string, Check> = {
  ...keys,
  intermediates: listOf(poolLimits.intermediates, pem, 'use a CA with a shorter chain'),
  ...times,
  previewedAt: time,
  verifiedAt: time,
};
const ofJwt: Record<string, Check> = { ...keys, publicKey: pem, ...times };
const ofRequest: Record<string, Check> = { ...keys, createdAt: time, requestedBy: exactly('rotation') };

/** Every field that an authority of any kind may have. */
export const authorityFields: readonly string[] = Object.keys({
  ...{ ...common, certificate: pem, request: pem },
  ...{ ...ofX509, ...ofJwt, ...ofRequest },
});

const x509Authority = objectOf({ ...common, certificate: pem }, ofX509);
const jwtAuthority = objectOf(
  {
    ...common,
    state: (value, field) =>
      value === 'preview'
        ? problemAt(field, 'is preview, which only X509 authorities have')
        : knownState(value, field),
  },
  ofJwt,
);

/** It waits for its certificate. */
const requestedAuthority = objectOf(
  {
    ...common,
    state: (value, field) =>
      value === 'prepared'
        ? undefined
        : problemAt(field, 'must be prepared, as the authority has a request in place of a certificate'),
    request: pem,
  },
  ofRequest,
);

/** With both it would be unclear which one signs. */
const oneKey = ({ privateKey, keyRef }: AuthorityRecord, field: string): PoolProblem | undefined =>
  privateKey !== undefined && keyRef !== undefined
    ? problemAt(`${field}.keyRef`, 'stands beside a privateKey', 'remove the one that does not sign')
    : undefined;

const authority: Check = (value, field) => {
  if (typeof value !== 'object' || value === null) return problemAt(field, 'must be an object');
  const ofCa = 'request' in value ? requestedAuthority : x509Authority;
  const check = 'kind' in value && isJwtKind(value.kind) ? jwtAuthority : ofCa;
  return check(value, field) ?? oneKey(value as AuthorityRecord, field);
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

/**
 * Reads the JSON of a pool: its shape only, in the order in which docs/reference/pool.md lists the fields. Keys and
 * certificates inside are still text. The first problem is reported.
 */
export function readPoolDocument(json: string): Refusable<{ document: PoolDocument }> {
  if (json.length > poolLimits.bytes) {
    const what = `is larger than ${poolLimits.bytes / 1024} KiB`;
    return { ok: false, problem: problemAt('pool', what, removeRetired) };
  }
  const read = parseJsonObject(json, 'the text');
  if (!read.ok) return { ok: false, problem: problemAt('pool', read.reason) };
  const problem = pool(read.value, 'pool');
  return problem ? { ok: false, problem } : { ok: true, document: read.value as unknown as PoolDocument };
}
