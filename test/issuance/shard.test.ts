import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ranking, waitForTurnMs } from '../../signer/issuance/shard.ts';

const replicas = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,20}$/), { minLength: 1, maxLength: 5 });

describe('the ranking of replicas for a request', () => {
  it('is the same whatever order a replica knows the others in', () => {
    fc.assert(
      fc.property(fc.uuid(), replicas, (uid, names) => {
        assert.deepEqual(ranking(uid, names.toReversed()), ranking(uid, names));
      }),
    );
  });

  it('only loses a replica that leaves: the order of the others stays', () => {
    fc.assert(
      fc.property(fc.uuid(), replicas, (uid, names) => {
        const left = names[0] ?? '';
        const rest = ranking(uid, names).filter((name) => name !== left);
        assert.deepEqual(ranking(uid, names.slice(1)), rest);
      }),
    );
  });

  it('gives each of two replicas about half of the requests', () => {
    const owned = Array.from({ length: 2000 }, (_, i) => ranking(`uid-${i}`, ['a', 'b'])[0]);
    const share = owned.filter((owner) => owner === 'a').length / owned.length;
    assert.ok(share > 0.4 && share < 0.6, `share of a: ${share}`);
  });
});

describe('waiting for one’s turn', () => {
  const delay = 1000;
  const turn = { rank: 1, openSince: 5000, ownerLastSeen: undefined, now: 5000, takeoverDelayMs: delay };
  const rows: [string, Partial<Parameters<typeof waitForTurnMs>[0]>, number][] = [
    ['the owner answers at once', { rank: 0 }, 0],
    ['the next replica waits for one delay', {}, delay],
    ['the third replica waits for two', { rank: 2 }, 2 * delay],
    ['time that has passed counts', { now: 5400 }, 600],
    ['when the delay is over it is its turn', { now: 6000 }, 0],
    ['an owner that finishes other work in that time is left alone', { now: 6000, ownerLastSeen: 5900 }, 900],
    ['an owner that was last seen before does not lengthen the wait', { now: 6000, ownerLastSeen: 100 }, 0],
  ];
  for (const [name, different, expected] of rows) {
    it(name, () => assert.equal(waitForTurnMs({ ...turn, ...different }), expected));
  }
});
