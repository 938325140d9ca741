import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { joinSiblings, noSiblings, type Sibling } from '../../signer/trust/siblings.ts';

/** A key is written `KID/KEY`. */
const kidOf = (each: string) => each.split('/')[0] ?? each;
const sibling = (roots: readonly string[], kids: readonly string[]): Sibling =>
  ({
    roots: roots.map((sha256Hex) => ({ sha256Hex })),
    jwtKeys: kids.map((each) => ({ kid: kidOf(each), jwk: { kty: 'EC', crv: 'P-256', x: each, y: '' } })),
  }) as unknown as Sibling;
const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'));
/** Keys of one cluster, which has each kid once. */
const keys = fc.uniqueArray(fc.constantFrom('a/1', 'a/2', 'b/1', 'b/2', 'c/1'), { selector: kidOf });

describe('the other clusters of a trust domain', () => {
  it('the other clusters give each root and each key once, in an order that does not depend on the cluster', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, keys)), (clusters) => {
        const all = clusters.map(([roots, kids]) => sibling(roots, kids));
        const joined = joinSiblings(all);
        assert.deepEqual(joinSiblings(all.toReversed()), joined);
        assert.deepEqual(
          joined.roots.map(({ sha256Hex }) => sha256Hex),
          [...new Set(clusters.flatMap(([roots]) => roots))].sort(),
        );
        assert.deepEqual(
          joined.jwtKeys.map(({ kid }) => kid),
          [...new Set(clusters.flatMap(([, kids]) => kids.map(kidOf)))].sort(),
        );
      }),
    );
  });

  it('the other clusters have the same digest exactly if they have the same roots and keys', () => {
    fc.assert(
      fc.property(names, keys, names, keys, (roots, kids, otherRoots, otherKids) => {
        const [one, other] = [
          joinSiblings([sibling(roots, kids)]),
          joinSiblings([sibling(otherRoots, otherKids)]),
        ];
        const isSame =
          roots.sort().join() === otherRoots.sort().join() && kids.sort().join() === otherKids.sort().join();
        assert.equal(one.content === other.content, isSame);
      }),
    );
  });

  it('the other clusters have no roots and keys if none of them is known', () => {
    assert.equal(joinSiblings([]), noSiblings);
    assert.equal(joinSiblings([sibling([], [])]), noSiblings);
  });
});
