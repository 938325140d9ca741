import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { describe, it } from 'node:test';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { createAuthority } from '../../signer/authority/create.ts';
import { addJwtKey, createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { createPoolHolder } from '../../signer/authority/holder.ts';
import {
  defaultJwtPropagation,
  jwtPropagationSeconds,
  jwtSigningAt,
} from '../../signer/authority/may-sign.ts';
import { compilePool, parsePool } from '../../signer/authority/pool.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import { nothingPublished } from './published.ts';

const now = Date.UTC(2026, 10, 22, 12) / 1000;
const hour = 3600;
const trustDomain = 'example.org';
const ca = await createAuthority({ id: 'ca-1', trustDomain, now });
const es256 = await createJwtAuthority({ key: 'es256', now });
const rs256 = await createJwtAuthority({ key: 'rs256', now });
const other = { ...(await createJwtAuthority({ key: 'es256', now })), id: 'jwt-es256-2' };

const pem = (key: KeyObject) =>
  String(key.export({ format: 'pem', type: key.type === 'private' ? 'pkcs8' : 'spki' }));
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength });
const utc = (seconds: number) => new Date(seconds * 1000).toISOString();

function compile(...authorities: AuthorityRecord[]) {
  return compilePool({ ...newPool(trustDomain), authorities }, trustDomain);
}

function poolOf(...authorities: AuthorityRecord[]) {
  const compiled = compile(ca, ...authorities);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

describe('the JWT authorities of a pool', () => {
  it('JWT authorities are read with the kid that jose computes, and sign what their public keys verify', async () => {
    const pool = poolOf(es256, rs256);
    assert.deepEqual(
      pool.jwt.map(({ id, algorithm, keyType, state }) => [id, algorithm, keyType, state]),
      [
        ['jwt-es256-1', 'ES256', 'ECDSA P-256', 'active'],
        ['jwt-rs256-1', 'RS256', 'RSA 2048', 'active'],
      ],
    );
    for (const each of pool.jwt) {
      assert.equal(each.kid, await calculateJwkThumbprint(await exportJWK(each.publicKey)));
      const signature = await each.signingKey?.sign(Buffer.from('a'));
      assert.ok(signature);
      assert.ok(verify('sha256', Buffer.from('a'), each.publicKey, signature));
      assert.equal(pool.activeJwt(each.algorithm), each);
    }
    assert.deepEqual(
      pool.authorities.map(({ id }) => id),
      ['ca-1'],
    );
  });

  it('JWT authorities are read from either key, and need the private key only to sign', () => {
    const { privateKey: _, ...published } = { ...other, state: 'retiring' as const };
    const { publicKey: __, ...signing } = es256;
    const pool = poolOf(signing, published);
    assert.equal(pool.jwt[0]?.kid, poolOf(es256).jwt[0]?.kid);
    assert.equal(pool.jwt[1]?.signingKey, undefined);
    assert.equal(pool.activeJwt('ES256')?.id, 'jwt-es256-1');
    assert.equal(pool.activeJwt('RS256'), undefined);
  });

  it('JWT authorities are unchanged after being written and read again', () => {
    const secret = {
      metadata: { name: 'pool' },
      data: serializePool(newPool(trustDomain, ca, es256, rs256)),
    };
    const parsed = parsePool(secret, { trustDomain, now });
    assert.ok(parsed.ok);
    assert.deepEqual(
      parsed.pool.jwt.map(({ kid }) => kid),
      poolOf(es256, rs256).jwt.map(({ kid }) => kid),
    );
  });

  it('JWT authorities do not change the places of the X.509 authorities in messages', () => {
    const compiled = compile(es256, { ...ca, tainted: true });
    assert.ok(compiled.ok);
    assert.equal(compiled.pool.active?.field, 'pool.authorities[1]');
  });

  const retired = { ...es256, state: 'retired' };
  for (const [name, records, field, says] of [
    [
      'a key of another curve',
      [{ ...es256, privateKey: pem(ec('P-384').privateKey), publicKey: undefined }],
      'privateKey',
      /ECDSA P-384, not ECDSA P-256/,
    ],
    ['an EC key for RS256', [{ ...es256, kind: 'JWT-RS256' }], 'privateKey', /not RSA of 2048/],
    ['an RSA key for ES256', [{ ...rs256, kind: 'JWT-ES256' }], 'privateKey', /RSA 2048, not ECDSA/],
    [
      'an RSA key that is too short',
      [{ ...rs256, privateKey: pem(rsa(1024).privateKey), publicKey: undefined }],
      'privateKey',
      /RSA 1024, not RSA of 2048/,
    ],
    [
      'an active one without private key',
      [{ ...es256, privateKey: undefined }],
      'privateKey',
      /active authority has to sign/,
    ],
    [
      'one without any key',
      [{ ...retired, privateKey: undefined, publicKey: undefined }],
      'publicKey',
      /so is privateKey/,
    ],
    [
      'a public key of another',
      [{ ...es256, publicKey: other.publicKey }],
      'privateKey',
      /does not belong to the publicKey/,
    ],
    [
      'a private key where the public one should be',
      [{ ...retired, publicKey: es256.privateKey }],
      'publicKey',
      /SubjectPublicKeyInfo/,
    ],
    ['a placeholder for a key', [{ ...es256, privateKey: '-----BEGIN nothing' }], 'privateKey', /PKCS#8/],
  ] as const) {
    it(`JWT authorities are refused with ${name}, at the field`, () => {
      const compiled = compile(ca, ...(JSON.parse(JSON.stringify(records)) as AuthorityRecord[]));
      assert.ok(!compiled.ok);
      assert.equal(compiled.problem.field, `pool.authorities[1].${field}`);
      assert.match(compiled.problem.what, says);
      assert.doesNotMatch(compiled.problem.message, /PRIVATE KEY-----\n/);
    });
  }

  it('JWT authorities are refused if two are active, or two have one key', () => {
    const twoActive = compile(ca, es256, other);
    assert.ok(!twoActive.ok);
    assert.match(twoActive.problem.what, /only one JWT-ES256 authority/);
    const twins = compile(ca, es256, { ...es256, id: 'twin', state: 'retiring' });
    assert.ok(!twins.ok);
    assert.match(twins.problem.what, /has the key of pool\.authorities\[1\] as well/);
  });

  it('JWT authorities have no preview, and the reader of the document refuses it', () => {
    const document = newPool(trustDomain, ca, { ...es256, state: 'preview' });
    const parsed = parsePool(
      { metadata: { name: 'a' }, data: serializePool(document) },
      { trustDomain, now },
    );
    assert.ok(!parsed.ok);
    assert.match(parsed.problem.what, /preview, which only X509/);
  });
});

describe('the time from which a JWT key signs', () => {
  const delay = 900;
  const later = (at: number, changes: Partial<AuthorityRecord> = {}): AuthorityRecord => ({
    ...other,
    createdAt: utc(at),
    publishedAt: utc(at),
    activatedAt: utc(at),
    ...changes,
  });
  const verdict = (records: AuthorityRecord[], at: number) => {
    const signable = jwtSigningAt(poolOf(...records), 'ES256', at, delay);
    return signable.ok ? signable.authority.id : `${signable.problem.reason} ${signable.problem.field}`;
  };
  const old = { ...es256, state: 'retiring' } as const;
  const added = now + hour;
  const { publishedAt: _, ...unpublished } = later(added);
  const { publishedAt: __, ...undated } = old;

  const rows: [name: string, records: AuthorityRecord[], at: number, expected: string][] = [
    ['at once if it is as old as its pool', [es256], now, 'jwt-es256-1'],
    [
      'not before it was published, not even then',
      [es256],
      now - 1,
      'JwtKeyTooNew pool.authorities[1].publishedAt',
    ],
    [
      'not before all verifiers know it',
      [old, later(added)],
      added + delay - 1,
      'JwtKeyTooNew pool.authorities[2].publishedAt',
    ],
    ['as soon as all verifiers know it', [old, later(added)], added + delay, 'jwt-es256-2'],
    [
      'with a delay as the first JWT key of an older pool',
      [later(added)],
      added,
      'JwtKeyTooNew pool.authorities[1].publishedAt',
    ],
    [
      'with a delay beside a retired key',
      [{ ...old, state: 'retired' }, later(added)],
      added,
      'JwtKeyTooNew pool.authorities[2].publishedAt',
    ],
    [
      'at once beside a key that never was published',
      [{ ...undated, state: 'prepared' }, later(now)],
      now,
      'jwt-es256-2',
    ],
    [
      'with a delay beside a key of unknown age',
      [undated, later(now)],
      now,
      'JwtKeyTooNew pool.authorities[2].publishedAt',
    ],
    [
      'never without the time of its publication',
      [old, unpublished],
      added + hour,
      'JwtKeyTooNew pool.authorities[2].publishedAt',
    ],
    [
      'never when it is tainted',
      [{ ...es256, tainted: true }],
      now,
      'PoolNotSigning pool.authorities[1].tainted',
    ],
    [
      'never when it is only trusted',
      [{ ...es256, state: 'trusted' }],
      now + hour,
      'PoolNotSigning pool.authorities',
    ],
    ['never for another algorithm', [rs256], now, 'PoolNotSigning pool.authorities'],
  ];
  for (const [name, records, at, expected] of rows) {
    it(`a JWT key signs ${name}`, () => assert.equal(verdict(records, at), expected));
  }

  it('a JWT key signs after the longest of three refresh hints, the age of a JWKS from a slow replica, and the setting', () => {
    assert.equal(jwtPropagationSeconds(defaultJwtPropagation), 900);
    assert.equal(jwtPropagationSeconds({ refreshHintSeconds: 10, jwksMaxAgeSeconds: 300 }), 330);
    assert.equal(jwtPropagationSeconds({ ...defaultJwtPropagation, delaySeconds: 86_400 }), 86_400);
  });
});

describe('a key that is added to a pool', () => {
  const later = now + hour;

  it('a new JWT key is active if none of its kind is, and signs after the delay', async () => {
    const before = newPool(trustDomain, ca, es256);
    const { pool, added } = await addJwtKey(before, { key: 'rs256', now: later });
    assert.equal(pool.sequence, before.sequence + 1);
    assert.deepEqual([added.id, added.state], ['jwt-rs256-1', 'active']);
    assert.deepEqual(pool.authorities, [ca, es256, added]);
    const compiled = compilePool(pool, trustDomain);
    assert.ok(compiled.ok);
    assert.equal(jwtSigningAt(compiled.pool, 'RS256', later + 899, 900).ok, false);
    assert.equal(jwtSigningAt(compiled.pool, 'RS256', later + 900, 900).ok, true);
    assert.equal(jwtSigningAt(compiled.pool, 'ES256', later, 900).ok, true);
  });

  it('a new JWT key waits for the delay even if it is added in the second in which the pool was made', async () => {
    const { pool } = await addJwtKey(newPool(trustDomain, ca), { key: 'es256', now });
    const compiled = compilePool(pool, trustDomain);
    assert.ok(compiled.ok);
    assert.equal(jwtSigningAt(compiled.pool, 'ES256', now + 1, 900).ok, false);
  });

  it('a new JWT key is kept in reserve beside an active one, under an id of its own', async () => {
    const { pool, added } = await addJwtKey(newPool(trustDomain, ca, es256), { key: 'es256', now: later });
    assert.deepEqual([added.id, added.state, added.activatedAt], ['jwt-es256-2', 'trusted', undefined]);
    const compiled = compilePool(pool, trustDomain);
    assert.ok(compiled.ok);
    assert.equal(compiled.pool.activeJwt('ES256')?.id, 'jwt-es256-1');
  });
});

describe('the pool that a replica holds', () => {
  let sequence = 0;
  const secretOf = (...records: AuthorityRecord[]) => {
    sequence += 1;
    return {
      metadata: { name: 'pool' },
      data: serializePool({ ...newPool(trustDomain, ...records), sequence }),
    };
  };
  const held = () => {
    const holder = createPoolHolder({
      trustDomain,
      published: nothingPublished,
      rootPropagationSeconds: 390,
      onChange: () => undefined,
    });
    const verdict = (at = now) => {
      const signable = holder.jwtSignable('ES256', at, 900);
      return signable.ok ? signable.authority.id : signable.problem.reason;
    };
    return { holder, verdict };
  };

  it('a replica signs tokens with the key of the pool, and nothing before it was read or once it is gone or broken', () => {
    const { holder, verdict } = held();
    assert.equal(verdict(), 'PoolMissing');
    holder.offer(secretOf(ca, es256), now);
    assert.equal(verdict(), 'jwt-es256-1');
    holder.offer(secretOf(ca, { ...es256, state: 'resting' as 'active' }), now);
    assert.equal(verdict(), 'PoolStateUnknown');
    holder.offer(undefined, now);
    assert.equal(verdict(), 'PoolMissing');
  });

  it('a replica still signs tokens when its CA has expired', () => {
    const { holder, verdict } = held();
    holder.offer(secretOf(ca, es256), now);
    assert.equal(verdict(now + 400 * 24 * hour), 'jwt-es256-1');
  });

  it('a replica signs tokens when it starts after its CA has expired', () => {
    const { holder, verdict } = held();
    const ended = now + 400 * 24 * hour;
    holder.offer(secretOf(ca, es256), ended);
    assert.equal(verdict(ended), 'jwt-es256-1');
  });

  it('a replica signs no tokens with a pool that its bundles are not made of', async () => {
    const { holder, verdict } = held();
    holder.offer(secretOf(await createAuthority({ id: 'a', trustDomain, now }), other), now);
    const ended = now + 400 * 24 * hour;
    holder.offer(secretOf(ca, es256), ended);
    assert.equal(verdict(ended), 'PoolExpired');
  });
});
