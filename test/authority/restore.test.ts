import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { restoredPool } from '../../signer/authority/restore.ts';
import { authorityStates, isPublished } from '../../signer/authority/states.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 25) / 1000;
const ca = await createAuthority({ id: 'ca-1', trustDomain, now });
const key = await createJwtAuthority({ key: 'es256', now });
const copy: PoolDocument = { ...newPool(trustDomain, ca, key), sequence: 4 };

test('a restored pool has a greater sequence than the copy, the live pool and what was published', () => {
  const sequence = fc.nat({ max: 2 * now });
  const maybe = fc.option(sequence, { nil: undefined });
  fc.assert(
    fc.property(sequence, maybe, maybe, (ofCopy, ofLive, published) => {
      const { pool } = restoredPool(
        { ...copy, sequence: ofCopy },
        {
          now,
          ...(ofLive !== undefined && { live: { ...copy, sequence: ofLive } }),
          ...(published !== undefined && { publishedSequence: published }),
        },
      );
      const known = [ofCopy, ofLive ?? 0, published ?? 0];
      assert.ok(known.every((one) => pool.sequence > one));
      assert.equal(pool.sequence, Math.max(now, Math.max(...known) + 1));
    }),
  );
});

test('an authority that was tainted since the copy was made stays tainted, under any name and with any line breaks', () => {
  const live = {
    ...copy,
    authorities: [
      {
        ...ca,
        id: 'renamed',
        certificate: `${ca.certificate?.trimEnd()}`,
        tainted: true,
        state: 'retiring' as const,
      },
      key,
    ],
  };
  const { pool, stillTainted } = restoredPool(copy, { live, now });
  assert.deepEqual(stillTainted, ['ca-1']);
  assert.deepEqual(pool.authorities, [{ ...ca, tainted: true }, key]);
});

const newer = await createAuthority({ id: 'ca-2', trustDomain, now });

test('an authority that only the live pool has is kept with its key, and no longer signs', () => {
  const live = { ...copy, authorities: [{ ...ca, state: 'retiring' as const }, newer, key] };
  const { pool, kept } = restoredPool(copy, { live, now });
  const retiring = { ...newer, state: 'retiring' };
  assert.deepEqual(pool.authorities, [ca, key, retiring]);
  assert.deepEqual(kept, [retiring]);
});

test('an authority still signs if the copy has none of its kind, or one that was tainted since', () => {
  const tainted = { ...ca, state: 'retiring' as const, tainted: true };
  const live = { ...copy, authorities: [tainted, newer, key] };
  const { pool, stillTainted } = restoredPool({ ...copy, authorities: [ca] }, { live, now });
  assert.deepEqual(pool.authorities, [tainted, newer, key]);
  assert.deepEqual(stillTainted, ['ca-1']);
});

test('an authority gets another id if the copy has given its own to another authority', () => {
  const ids = (id: string) => {
    const known = { live: { ...copy, authorities: [{ ...newer, id }] }, now };
    const { authorities } = restoredPool({ ...copy, authorities: [{ ...ca, id }] }, known).pool;
    return authorities.map((each) => each.id);
  };
  assert.deepEqual(ids('ca-1'), ['ca-1', 'ca-1-2']);
  const long = 'x'.repeat(63);
  assert.deepEqual(ids(long), [long, `${'x'.repeat(59)}-2`]);
});

test('a retirement since the copy was made is kept, and the key does not come back', () => {
  const { privateKey: _, ...anchor } = ca;
  const retired = { ...anchor, state: 'retired' as const };
  const live = { ...copy, authorities: [retired, newer, key] };
  const { pool, kept, stillRetired } = restoredPool(copy, { live, now });
  assert.deepEqual(pool.authorities, [retired, key, newer]);
  assert.deepEqual(stillRetired, ['ca-1']);
  assert.deepEqual(
    kept.map(({ id }) => id),
    ['ca-2'],
  );
  assert.deepEqual(restoredPool({ ...copy, authorities: [newer, key] }, { live, now }).kept, []);
});

test('a retired authority keeps the reference to its key outside of the pool', () => {
  const { privateKey: _, ...anchor } = ca;
  const inToken = { ...anchor, keyRef: 'pkcs11:token=kubespiffe;object=ca-1' };
  const retired = { ...inToken, state: 'retired' as const };
  const live = { ...copy, authorities: [retired, newer, key] };
  const { pool } = restoredPool({ ...copy, authorities: [inToken, key] }, { live, now });
  assert.deepEqual(pool.authorities, [retired, key, newer]);
});

test('authorities that the live pool publishes stay published, with their times', () => {
  const prepared = { ...newer, id: 'next', state: 'prepared' as const };
  const { pool, kept } = restoredPool(
    { ...copy, authorities: [ca, prepared, key] },
    { live: { ...copy, authorities: [{ ...ca, state: 'retiring' }, newer, key] }, now },
  );
  assert.deepEqual(pool.authorities, [ca, { ...newer, id: 'next', state: 'retiring' }, key]);
  assert.deepEqual(
    kept.map(({ id }) => id),
    ['next'],
  );
});

test('a restore of any pool over any other loses no key, no place in the bundles and no taint', async () => {
  const materials: readonly AuthorityRecord[] = [
    ca,
    newer,
    await createAuthority({ id: 'ca-3', trustDomain, now }),
    key,
    await createJwtAuthority({ key: 'es256', now }),
    await createJwtAuthority({ key: 'es256', now }),
  ];
  // Ids go by the place, so that the same one is another authority in another pool.
  const pools = fc
    .tuple(
      ...materials.map((material) =>
        fc.option(
          fc.record({
            state: fc.constantFrom(
              ...authorityStates.filter((one) => material.kind === 'X509' || one !== 'preview'),
            ),
            tainted: fc.boolean(),
          }),
        ),
      ),
    )
    .map((wishes) => {
      const active = new Set<string>();
      return wishes
        .flatMap((wish, index): AuthorityRecord[] => {
          const material = materials[index];
          if (!wish || !material) return [];
          const isSecond = wish.state === 'active' && active.has(material.kind);
          if (wish.state === 'active') active.add(material.kind);
          return [{ ...material, ...wish, ...(isSecond && { state: 'trusted' }) }];
        })
        .map((each, index) => ({ ...each, id: `id-${index}` }));
    });
  const material = ({ certificate, publicKey }: AuthorityRecord) => certificate ?? publicKey;
  fc.assert(
    fc.property(pools, pools, (ofCopy, ofLive) => {
      fc.pre(ofCopy.length > 0);
      const live = { ...copy, authorities: ofLive };
      const { pool } = restoredPool({ ...copy, authorities: ofCopy }, { live, now });
      const found = (each: AuthorityRecord) =>
        pool.authorities.find((one) => material(one) === material(each)) ?? assert.fail('it is lost');
      for (const each of [...ofCopy, ...ofLive]) {
        const restored = found(each);
        const isRetired = ofLive.some((one) => one.state === 'retired' && material(one) === material(each));
        if (isRetired) assert.deepEqual([restored.state, restored.privateKey], ['retired', undefined]);
        else assert.equal(restored.privateKey, each.privateKey);
        if (isPublished(each.state) && !isRetired) assert.ok(isPublished(restored.state));
        if (each.tainted) assert.ok(restored.tainted);
      }
      const compiled = compilePool(pool, trustDomain);
      assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
    }),
  );
});

test('a restore keeps everything else as in the copy', () => {
  const { pool, stillTainted } = restoredPool(copy, { live: { ...copy, authorities: [key] }, now });
  assert.deepEqual({ ...pool, sequence: copy.sequence }, copy);
  assert.deepEqual(stillTainted, []);
});
