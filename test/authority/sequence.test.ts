import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { freshSequence, markOf, sequenceProblem } from '../../signer/authority/sequence.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 25, 12) / 1000;
const ca = await createAuthority({ id: 'ca-1', trustDomain, now });
const next: AuthorityRecord = {
  ...(await createAuthority({ id: 'ca-2', trustDomain, now })),
  state: 'trusted',
};
const key = await createJwtAuthority({ key: 'es256', now });

function compile(sequence: number, ...authorities: readonly AuthorityRecord[]): Pool {
  const compiled = compilePool({ ...newPool(trustDomain), sequence, authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

describe('a pool that takes the place of one that was published', () => {
  const published = markOf(compile(5, ca, key));
  const rows: [name: string, pool: Pool, says: RegExp | undefined][] = [
    ['may raise the sequence without a change', compile(6, ca, key), undefined],
    ['may raise the sequence with a change', compile(6, ca), undefined],
    ['may be the same', compile(5, ca, key), undefined],
    ['may stand in another order', compile(5, key, ca), undefined],
    ['may be tainted, which is not published', compile(5, { ...ca, tainted: true }, key), undefined],
    ['may hold more that is not published', compile(5, ca, key, { ...next, state: 'prepared' }), undefined],
    [
      'is refused with a root less',
      compile(5, key),
      /^pool\.sequence: is 5, as that of a pool with other roots/,
    ],
    ['is refused with a root more', compile(5, ca, key, next), /with other roots or keys/],
    ['is refused with a key less', compile(5, ca), /with other roots or keys/],
    [
      'is refused with a smaller sequence',
      compile(4, ca, key),
      /is 4, and a pool of sequence 5 was published/,
    ],
    ['is refused with what to do', compile(1, ca), /kubespiffe ca restore.*set sequence to 6/],
  ];
  for (const [name, pool, says] of rows) {
    it(`a pool in place of a published one ${name}`, () => {
      const problem = sequenceProblem(pool, [undefined, published]);
      if (!says) return assert.equal(problem, undefined);
      assert.equal(problem?.reason, 'PoolSequenceNotRaised');
      assert.match(problem?.message ?? '', says);
    });
  }

  it('a pool is compared with everything that is known to be published, and with nothing if that is unknown', () => {
    const later = markOf(compile(8, next));
    assert.match(sequenceProblem(compile(7, ca), [published, later])?.what ?? '', /sequence 8/);
    assert.match(sequenceProblem(compile(7, ca), [later, published])?.what ?? '', /sequence 8/);
    assert.equal(sequenceProblem(compile(0, ca), [undefined]), undefined);
  });
});

describe('the mark of a pool', () => {
  it('the mark of a pool is the same in every version, so that replicas agree on the content', () => {
    const root = 'a'.repeat(64);
    const pool = {
      ...compile(7, ca),
      roots: [{ ...compile(7, ca).roots[0], sha256Hex: root }],
      jwt: [{ ...compile(7, ca, key).jwt[0], kid: 'kid' }],
    } as Pool;
    assert.deepEqual(markOf(pool), {
      sequence: 7,
      content: '4c86f797856a07747bd580ac98923d2d3450aadd03192b02bc65760c92a7c951',
    });
  });
});

describe('the sequence of a pool that takes the place of others', () => {
  it('the sequence of a new pool is above all that are known, and not below the time', () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.nat({ max: 2 ** 40 })), (at, known) => {
        const fresh = freshSequence(at, ...known);
        assert.ok(fresh >= at && known.every((one) => fresh > one));
        assert.ok(fresh === at || known.includes(fresh - 1));
      }),
    );
  });
});
