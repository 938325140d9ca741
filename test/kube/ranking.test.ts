import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ranking } from '../../signer/kube/ranking.ts';

const replicas = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,20}$/), { minLength: 1, maxLength: 5 });

describe('the ranking of replicas for a request', () => {
  it('the ranking of replicas is the same for any order of the replicas', () => {
    fc.assert(
      fc.property(fc.uuid(), replicas, (uid, names) => {
        assert.deepEqual(ranking(uid, names.toReversed()), ranking(uid, names));
      }),
    );
  });

  it('the ranking of the others stays when a replica leaves', () => {
    fc.assert(
      fc.property(fc.uuid(), replicas, (uid, names) => {
        const left = names[0] ?? '';
        const rest = ranking(uid, names).filter((name) => name !== left);
        assert.deepEqual(ranking(uid, names.slice(1)), rest);
      }),
    );
  });

  it('the ranking gives each of two replicas about half of the requests', () => {
    const owned = Array.from({ length: 2000 }, (_, i) => ranking(`uid-${i}`, ['a', 'b'])[0]);
    const share = owned.filter((owner) => owner === 'a').length / owned.length;
    assert.ok(share > 0.4 && share < 0.6, `share of a: ${share}`);
  });
});
