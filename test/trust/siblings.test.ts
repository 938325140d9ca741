import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { joinSiblings, noSiblings, type Sibling } from '../../signer/trust/siblings.ts';

const sibling = (roots: readonly string[], kids: readonly string[]): Sibling =>
  ({
    roots: roots.map((sha256Hex) => ({ sha256Hex })),
    jwtKeys: kids.map((kid) => ({ kid, jwk: {} })),
  }) as unknown as Sibling;
const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'));

describe('the other clusters of a trust domain', () => {
  it('give each root and each key once, in an order that does not depend on which cluster has it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, names)), (clusters) => {
        const all = clusters.map(([roots, kids]) => sibling(roots, kids));
        const joined = joinSiblings(all);
        assert.deepEqual(joinSiblings(all.toReversed()), joined);
        assert.deepEqual(
          joined.roots.map(({ sha256Hex }) => sha256Hex),
          [...new Set(clusters.flatMap(([roots]) => roots))].sort(),
        );
        assert.deepEqual(
          joined.jwtKeys.map(({ kid }) => kid),
          [...new Set(clusters.flatMap(([, kids]) => kids))].sort(),
        );
      }),
    );
  });

  it('have the same digest exactly where they have the same roots and keys', () => {
    fc.assert(
      fc.property(names, names, names, names, (roots, kids, otherRoots, otherKids) => {
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

  it('are none where nothing is known of them', () => {
    assert.equal(joinSiblings([]), noSiblings);
    assert.equal(joinSiblings([sibling([], [])]), noSiblings);
  });
});
