import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { NewKey } from '../keys/new-key.ts';
import { withAuthorities } from './change.ts';
import { type AuthorityRecord, nextAuthorityId, type PoolDocument } from './document.ts';
import { publishedLater } from './may-sign.ts';
import type { JwtKind } from './states.ts';

const generate = promisify(generateKeyPair);

/**
 * The kinds of new JWT keys, by the name that a person writes. RSA has 2048 bits: every cloud takes that length, a
 * signature costs a third of one with 3072 bits, and a key that is replaced every few weeks need not last for years.
 */
export const newJwtKeys = { es256: 'JWT-ES256', rs256: 'JWT-RS256' } as const satisfies Record<
  string,
  JwtKind
>;
export type NewJwtKey = keyof typeof newJwtKeys;
const rsaBits = 2048;

/**
 * Makes a key for JWT-SVIDs, as the first of its kind in a new pool: active at once, since no reader has a bundle without
 * it. `now` is seconds since the epoch.
 */
export async function createJwtAuthority(wanted: {
  readonly key: NewJwtKey;
  readonly now: number;
  /** `jwt-<key>-1` unless given. */
  readonly id?: string;
  /** A key outside of the pool instead of a new one. */
  readonly keptKey?: NewKey;
}): Promise<AuthorityRecord> {
  const { privateKey, publicKey } = wanted.keptKey
    ? { privateKey: undefined, publicKey: wanted.keptKey.publicKey }
    : wanted.key === 'es256'
      ? await generate('ec', { namedCurve: 'P-256' })
      : await generate('rsa', { modulusLength: rsaBits });
  const createdAt = rfc3339(wanted.now);
  return {
    id: wanted.id ?? `jwt-${wanted.key}-1`,
    kind: newJwtKeys[wanted.key],
    state: 'active',
    tainted: false,
    ...(privateKey && {
      privateKey: encodePem('PRIVATE KEY', privateKey.export({ format: 'der', type: 'pkcs8' })),
    }),
    ...(wanted.keptKey && { keyRef: wanted.keptKey.keyRef }),
    publicKey: encodePem('PUBLIC KEY', publicKey.export({ format: 'der', type: 'spki' })),
    createdAt,
    publishedAt: createdAt,
    activatedAt: createdAt,
  };
}

/**
 * The pool with one more key for JWT-SVIDs. It is published at once, and the sequence grows with it: active where no
 * other of its kind is, and then it signs as soon as all verifiers know it; else trusted, in reserve.
 */
export async function addJwtKey(
  pool: PoolDocument,
  wanted: { readonly key: NewJwtKey; readonly now: number },
): Promise<{ pool: PoolDocument; added: AuthorityRecord }> {
  const now = publishedLater(pool.authorities, wanted.now);
  const created = await createJwtAuthority({
    ...wanted,
    now,
    id: nextAuthorityId(pool, `jwt-${wanted.key}`),
  });
  const isNeeded = !pool.authorities.some(({ kind, state }) => kind === created.kind && state === 'active');
  const { activatedAt: _, ...reserve } = { ...created, state: 'trusted' as const };
  const added = isNeeded ? created : reserve;
  return { pool: withAuthorities(pool, [...pool.authorities, added]), added };
}
