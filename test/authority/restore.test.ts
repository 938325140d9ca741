import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { blindRaise, restoredPool } from '../../signer/authority/restore.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 25) / 1000;
const ca = await createAuthority({ id: 'ca-1', trustDomain, now });
const key = await createJwtAuthority({ key: 'es256', now });
const copy: PoolDocument = { ...newPool(trustDomain, ca, key), sequence: 4 };

test('a restored pool has a greater sequence than the copy, the live pool and what was published', () => {
  const sequence = fc.nat({ max: 1_000_000 });
  const maybe = fc.option(sequence, { nil: undefined });
  fc.assert(
    fc.property(sequence, maybe, maybe, (ofCopy, ofLive, published) => {
      const { pool } = restoredPool(
        { ...copy, sequence: ofCopy },
        {
          ...(ofLive !== undefined && { live: { ...copy, sequence: ofLive } }),
          ...(published !== undefined && { publishedSequence: published }),
        },
      );
      const known = [ofCopy, ofLive ?? 0, published ?? 0];
      assert.ok(known.every((one) => pool.sequence > one));
      const isBlind = ofLive === undefined && published === undefined;
      assert.equal(pool.sequence - Math.max(...known), isBlind ? blindRaise : 1);
    }),
  );
});

test('what was tainted since the copy was made stays tainted, under whatever name and line breaks', () => {
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
  const { pool, stillTainted } = restoredPool(copy, { live });
  assert.deepEqual(stillTainted, ['ca-1']);
  assert.deepEqual(pool.authorities, [{ ...ca, tainted: true }, key]);
});

test('all else is as in the copy', () => {
  const { pool, stillTainted } = restoredPool(copy, { live: { ...copy, authorities: [key] } });
  assert.deepEqual({ ...pool, sequence: copy.sequence }, copy);
  assert.deepEqual(stillTainted, []);
});
