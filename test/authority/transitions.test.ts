import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { lostRootsProblem } from '../../signer/authority/lost-roots.ts';
import { rootOf } from '../../signer/authority/material.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import {
  carryRoots,
  dateTransitions,
  retireAuthority,
  writablePool,
} from '../../signer/authority/transitions.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const ca = await createAuthority({ id: 'ca-1', trustDomain, now: now - 10 * day });
const next = await createAuthority({ id: 'ca-2', trustDomain, now });
const key = await createJwtAuthority({ key: 'es256', now });
const nextKey = await createJwtAuthority({ key: 'es256', now, id: 'jwt-2' });
const lifetimes = { certificateSeconds: day };
const poolOf = (...authorities: AuthorityRecord[]): PoolDocument => newPool(trustDomain, ...authorities);
const retiring = (record: AuthorityRecord, deactivatedAt?: number): AuthorityRecord => ({
  ...record,
  state: 'retiring',
  ...(deactivatedAt !== undefined && { deactivatedAt: rfc3339(deactivatedAt) }),
});

describe('an authority that is dropped', () => {
  const reserve = (({ activatedAt: _, ...rest }) => ({ ...rest, state: 'trusted' as const }))(ca);
  const { privateKey: _, ...keyless } = reserve;
  const reserveKey = (({ activatedAt: _, ...rest }) => ({
    ...rest,
    state: 'trusted' as const,
    publishedAt: rfc3339(now - day),
  }))(key);
  const cases: [name: string, record: AuthorityRecord, consequence: RegExp | undefined][] = [
    ['signs', ca, /ca-1 is active: every certificate/],
    ['signs tokens', key, /jwt-es256-1 is active: every token/],
    ['stopped signing less than a lifetime ago', retiring(ca, now - day), /valid until 2026-11-29T12:00:30Z/],
    ['stopped signing more than a lifetime ago', retiring(ca, now - day - 31), undefined],
    ['stopped signing at a time that is not known', retiring(ca), /valid until 2027-/],
    ['signed tokens, until a time that is not known', retiring(key), /for a time that is not known/],
    ['signed tokens half an hour ago', retiring(key, now - 1800), /tokens that are valid until/],
    ['signed tokens two hours ago', retiring(key, now - 7200), undefined],
    ['is trusted without a key, so it never signed', keyless, undefined],
    [
      'is trusted and was published too recently to sign',
      { ...reserve, publishedAt: rfc3339(now + 1) },
      undefined,
    ],
    ['is trusted, and kubectl may have made it active before', reserve, /valid until 2027-/],
    [
      'is a JWT key in reserve, which kubectl may have made active',
      reserveKey,
      /for a time that is not known/,
    ],
    [
      'signed before it became trusted again',
      { ...reserve, deactivatedAt: rfc3339(now - 60) },
      /valid until/,
    ],
    ['is in no bundle', { ...reserve, state: 'prepared' }, undefined],
    ['cannot be read', { ...retiring(ca), certificate: 'broken' }, undefined],
  ];
  for (const [name, record, consequence] of cases) {
    it(`dropping an authority ${consequence ? 'breaks' : 'breaks nothing of'} what it signed when it ${name}`, () => {
      const retired = retireAuthority(poolOf(next, nextKey, record), record.id, now, lifetimes);
      assert.ok(retired.ok);
      if (consequence) assert.match(retired.consequence ?? 'none', consequence);
      else assert.equal(retired.consequence, undefined);
    });
  }

  it('dropping the last authority that keeps a root breaks what a retired authority below that root signed', () => {
    const gone = (deactivatedAt: number): AuthorityRecord => ({
      ...retiring(ca, deactivatedAt),
      ...{ id: 'ca-0', state: 'retired' },
    });
    const consequence = (...others: AuthorityRecord[]) => {
      const pool = poolOf(next, retiring(ca, now - 2 * day), ...others);
      const retired = retireAuthority(pool, 'ca-1', now, lifetimes);
      assert.ok(retired.ok);
      return retired.consequence;
    };
    assert.equal(consequence(gone(now - day - 31)), undefined);
    assert.match(consequence(gone(now - 3600)) ?? '', /^a retired .* valid until 2026-11-30T11:00:30Z/);
    assert.equal(consequence(gone(now - 3600), { ...retiring(ca), id: 'ca-3' }), undefined, 'the root stays');
  });

  it('a dropped authority is kept as retired and without its key, so that signers know that its root leaves', () => {
    const { privateKey: _, ...anchor } = retiring(ca);
    const retired = retireAuthority(poolOf(next, retiring(ca)), 'ca-1', now, lifetimes);
    assert.ok(retired.ok);
    assert.deepEqual(retired.document.authorities, [next, { ...anchor, state: 'retired' }]);
    const compiled = compilePool(retired.document, trustDomain);
    assert.ok(compiled.ok);
    assert.deepEqual(
      compiled.pool.roots.map(({ sha256Hex }) => sha256Hex),
      [compiled.pool.active?.root.sha256Hex],
    );
  });

  it('an authority to drop is found by the SHA-256 of its root, with colons or without', () => {
    const compiled = compilePool(poolOf(next), trustDomain);
    const sha256 = (compiled.ok && compiled.pool.active?.root.sha256Hex) || assert.fail('it is a pool');
    for (const name of [sha256, sha256.toUpperCase().replace(/..(?=.)/g, '$&:')]) {
      const retired = retireAuthority(poolOf(next), name, now, lifetimes);
      assert.equal(retired.ok && retired.id, 'ca-2');
    }
  });

  it('dropping an authority is refused when the pool does not have it, or has retired it', () => {
    const unknown = retireAuthority(poolOf(next), 'ca-9', now, lifetimes);
    assert.deepEqual(unknown, {
      ok: false,
      what: 'the pool has no authority ca-9',
      remedy: 'name one of ca-2',
    });
    const twice = retireAuthority(poolOf({ ...ca, state: 'retired' }), 'ca-1', now, lifetimes);
    assert.match(twice.ok ? '' : twice.what, /ca-1 is retired already/);
  });
});

describe('the dates of an authority', () => {
  const dated = (after: AuthorityRecord, before?: AuthorityRecord) =>
    dateTransitions(poolOf(after), { pool: before && poolOf(before) }, now).authorities[0];
  const at = rfc3339(now);

  it('an authority is dated as no longer signing by the change that stopped it', () => {
    assert.equal(dated(retiring(ca), ca)?.deactivatedAt, at);
    assert.equal(dated(retiring(ca, now - day), ca)?.deactivatedAt, at);
    assert.equal(dated(retiring(ca), retiring(ca, now - day))?.deactivatedAt, rfc3339(now - day));
  });
  it('an authority is dated by the first change that is seen, if nothing is known before', () => {
    assert.equal(dated(retiring(ca))?.deactivatedAt, at);
    assert.equal(dated(retiring(ca, now - day))?.deactivatedAt, rfc3339(now - day));
  });
  it('an authority is dated when it begins to sign', () => {
    const { activatedAt: _, ...rest } = next;
    const active = dated({ ...rest, deactivatedAt: at }, { ...rest, state: 'trusted' });
    assert.deepEqual([active?.activatedAt, active?.deactivatedAt], [at, undefined]);
  });
  it('an authority is dated as published by the change that brings it into the bundles', () => {
    const before = poolOf(ca);
    const publishedAt = (after: PoolDocument, known: Parameters<typeof dateTransitions>[1]) =>
      dateTransitions(after, known, now).authorities.at(-1)?.publishedAt;
    const old = { ...next, publishedAt: rfc3339(now - day), state: 'trusted' as const };
    const root = new Set([rootOf(next) ?? '']);
    const [own] = [new Set([rootOf(ca) ?? ''])];
    for (const [what, known, expected] of [
      ['a CA that comes in', { pool: before }, now],
      ['a CA that was prepared', { pool: poolOf(ca, { ...old, state: 'prepared' }) }, now],
      ['a CA that was in preview', { pool: poolOf(ca, { ...old, state: 'preview' }) }, now],
      ['a CA that was in the bundles already', { pool: poolOf(ca, old) }, now - day],
      ['a CA that the cluster shows', { pool: before, roots: root }, now - day],
      [
        'a CA that the cluster does not show, in place of a pool that is lost',
        { pool: undefined, roots: own },
        now,
      ],
      ['a pool that is put back where nothing is known', { pool: undefined }, now - day],
      [
        'a pool that is put back where nothing is published',
        { pool: undefined, roots: new Set<string>() },
        now - day,
      ],
    ] as const) {
      assert.equal(publishedAt(poolOf(ca, old), known), rfc3339(expected), what);
    }
    const leaves = dateTransitions(poolOf({ ...old, state: 'prepared' }), { pool: poolOf(old) }, now);
    assert.equal(leaves.authorities[0]?.publishedAt, undefined);
    const young = poolOf({ ...ca, publishedAt: rfc3339(now) });
    assert.equal(publishedAt(poolOf(ca, old), { pool: young }), rfc3339(now + 1), 'never as old as its pool');
  });
  it('the dates of a JWT key that only a copy has are kept', () => {
    const copy = { ...key, publishedAt: rfc3339(now - day) };
    const restored = dateTransitions(poolOf(ca, copy), { pool: poolOf(next) }, now);
    assert.equal(restored.authorities[1]?.publishedAt, copy.publishedAt);
  });
  it('an authority that never signed has no dates of signing', () => {
    const { activatedAt: _, ...rest } = next;
    assert.equal(dated({ ...rest, state: 'trusted' })?.deactivatedAt, undefined);
  });
});

it('a root that is carried on stays published, signs nothing and is dated', () => {
  const compiled = compilePool(poolOf(ca), trustDomain);
  assert.ok(compiled.ok);
  const carried = carryRoots(poolOf(next), compiled.pool.roots, now);
  const written = writablePool(carried, now);
  assert.ok(written.ok);
  assert.equal(written.pool.roots.length, 2);
  const [, old] = written.pool.authorities;
  assert.match(old?.id ?? '', /^published-[0-9a-f]{8}$/);
  assert.deepEqual(
    [old?.state, old?.signingAuthority, written.pool.active?.id],
    ['retiring', undefined, 'ca-2'],
  );
  assert.equal(carried.authorities[1]?.deactivatedAt, rfc3339(now));
});

it('a root that was published outside of the pool leaves by the SHA-256 that the problem names, and only with force', () => {
  const [own, foreign] = [poolOf(ca), poolOf(next)].map((each) => compilePool(each, trustDomain));
  assert.ok(own?.ok && foreign?.ok);
  const problem = lostRootsProblem(own.pool, foreign.pool.roots, now);
  const sha256 = /SHA-256 ([0-9a-f]+)/.exec(problem?.what ?? '')?.[1] ?? 'none';
  assert.match(problem?.remedy ?? '', /--drop-authority SHA-256 --force-drop/);
  const retired = retireAuthority(carryRoots(poolOf(ca), foreign.pool.roots, now), sha256, now, lifetimes);
  assert.ok(retired.ok, sha256);
  assert.match(retired.consequence ?? 'no force is needed', /become invalid at once/);
});

it('a pool that is to be written can sign, and one that cannot is known as such', () => {
  assert.ok(writablePool(poolOf(next), now).ok);
  for (const unusable of [poolOf(retiring(ca)), poolOf({ ...next, tainted: true }), poolOf(key)]) {
    const result = writablePool(unusable, now);
    assert.deepEqual([result.ok, result.pool !== undefined], [false, true]);
  }
  const broken = writablePool(poolOf({ ...next, certificate: '-----BEGIN nothing' }), now);
  assert.deepEqual([broken.ok, broken.pool], [false, undefined]);
});
