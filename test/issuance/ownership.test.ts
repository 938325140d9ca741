import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createOwnership } from '../../signer/issuance/ownership.ts';
import { createRequestStates } from '../../signer/issuance/request-state.ts';
import { ranking } from '../../signer/kube/ranking.ts';
import { timeWith } from '../kube/fake-time.ts';
import { anOpenRequest } from './examples.ts';

const both = ['a', 'b'];
/** A request that `a` owns. */
const owned = Array.from({ length: 50 }, (_, i) => `uid-${i}`).find(
  (uid) => ranking(uid, both)[0] === 'a',
) as string;

function ownershipOf(self: string) {
  const world = { ms: 0, members: both as readonly string[] };
  const time = timeWith({ monotonic: () => world.ms });
  const needs = { self, members: () => world.members, takeoverDelayMs: 1000, time };
  const { state } = createRequestStates({ time }).see(anOpenRequest({ uid: owned }));
  return { world, state, ownership: createOwnership(needs) };
}

describe('the wait for a turn', () => {
  const three = ranking(owned, ['a', 'b', 'c']);
  const rows: [string, { rank?: number; now?: number; ownerLastSeen?: number }, number][] = [
    ['the owner answers at once', { rank: 0 }, 0],
    ['the next replica waits for one delay', {}, 1000],
    ['the third replica waits for two delays', { rank: 2 }, 2000],
    ['the delay counts from when the request was seen open', { now: 5400 }, 600],
    ['the next replica answers when the delay is over', { now: 6000 }, 0],
    ['an owner that finishes other requests is left alone', { now: 6000, ownerLastSeen: 5900 }, 900],
    ['an earlier certificate of the owner does not lengthen the wait', { now: 6000, ownerLastSeen: 100 }, 0],
  ];
  for (const [name, { rank = 1, now = 5000, ownerLastSeen }, expected] of rows) {
    it(name, () => {
      const { world, state, ownership } = ownershipOf(three[rank] as string);
      world.members = ['a', 'b', 'c'];
      state.changedAt = 5000;
      world.ms = ownerLastSeen ?? 0;
      if (ownerLastSeen !== undefined) ownership.sawIssued(three[0] as string);
      world.ms = now;
      assert.deepEqual(ownership.turnOf(state), { rank, waitMs: expected });
    });
  }
});

describe('the turn of a replica', () => {
  it('the turn comes at once for the owner of a request, and after the takeover delay for the other replica', () => {
    for (const [self, expected] of [
      ['a', { rank: 0, waitMs: 0 }],
      ['b', { rank: 1, waitMs: 1000 }],
    ] as const) {
      const { ownership, state } = ownershipOf(self);
      assert.deepEqual(ownership.turnOf(state), expected);
    }
  });

  it('the turn follows the members: the replica that is left owns every request', () => {
    const { ownership, state, world } = ownershipOf('b');
    assert.equal(ownership.turnOf(state).rank, 1);
    world.members = ['b'];
    assert.deepEqual(ownership.turnOf(state), { rank: 0, waitMs: 0 });
    world.members = both;
    assert.equal(ownership.turnOf(state).rank, 1);
  });

  it('the turn comes later when the owner issues other certificates', () => {
    const { ownership, state, world } = ownershipOf('b');
    world.ms = 900;
    ownership.sawIssued('a');
    world.ms = 1000;
    assert.equal(ownership.turnOf(state).waitMs, 900);
  });

  it('the turn does not come later because a replica that is not the owner issues certificates', () => {
    const { ownership, state, world } = ownershipOf('b');
    world.ms = 1000;
    ownership.sawIssued('b');
    assert.equal(ownership.turnOf(state).waitMs, 0);
  });

  it('the turn comes a takeover delay after a change, so that the owner has the first chance', () => {
    const { ownership, state, world } = ownershipOf('b');
    world.ms = 5000;
    state.changedAt = world.ms;
    assert.equal(ownership.turnOf(state).waitMs, 1000);
  });
});
