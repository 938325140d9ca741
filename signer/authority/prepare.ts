import type { AuthorityKeyType } from '../../spiffe/pki/algorithms.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { createAuthority } from './create.ts';
import { createJwtAuthority } from './create-jwt.ts';
import { type AuthorityRecord, type PoolDocument, poolLimits } from './document.ts';
import type { AuthorityKind } from './states.ts';
import type { Refusal } from './transitions.ts';
import { type Change, changesBetween } from './verbs.ts';

/** Names of new authorities, followed by a number. */
const prefixes: Readonly<Record<AuthorityKind, string>> = {
  X509: 'ca',
  'JWT-ES256': 'jwt-es256',
  'JWT-RS256': 'jwt-rs256',
};

/**
 * The pool with one more authority, which is in no bundle and signs nothing.
 *
 * @throws KubespiffeError USAGE for an id or a lifetime that is not allowed.
 */
export async function prepareAuthority(
  document: PoolDocument,
  wanted: {
    readonly kind: AuthorityKind;
    readonly now: Seconds;
    /** The next number unless given. */
    readonly id?: string;
    /** X509 only. */
    readonly keyType?: AuthorityKeyType;
    readonly lifetimeSeconds?: number;
  },
): Promise<Change | Refusal> {
  const { trustDomain, authorities } = document;
  const { kind, now, id = nextId(document, prefixes[kind]) } = wanted;
  if (kind !== 'X509' && trustDomain === undefined) {
    const what = 'the pool is of no trust domain, so no tokens are signed with it';
    return { ok: false, what, remedy: 'name the pool of a trust domain with --name' };
  }
  if (authorities.some((each) => each.id === id)) {
    return { ok: false, what: `there is an authority ${id} already`, remedy: 'choose another --ca-id' };
  }
  if (authorities.length >= poolLimits.authorities) {
    const what = `the pool has ${authorities.length} authorities, which is the limit`;
    return { ok: false, what, remedy: 'remove retired ones with `kubespiffe ca remove`' };
  }
  const made =
    kind === 'X509'
      ? await createAuthority({ ...wanted, id, trustDomain })
      : await createJwtAuthority({ key: kind === 'JWT-ES256' ? 'es256' : 'rs256', id, now });
  const { publishedAt: _, activatedAt: __, ...unpublished } = made;
  const prepared: AuthorityRecord = { ...unpublished, state: 'prepared', createdAt: rfc3339(now) };
  const after = { ...document, sequence: document.sequence + 1, authorities: [...authorities, prepared] };
  return {
    ok: true,
    document: after,
    changed: changesBetween(document, after),
    consequence: undefined,
    notes: [],
  };
}

function nextId({ authorities }: PoolDocument, prefix: string): string {
  const taken = new Set(authorities.map(({ id }) => id));
  let number = 1;
  while (taken.has(`${prefix}-${number}`)) number += 1;
  return `${prefix}-${number}`;
}
