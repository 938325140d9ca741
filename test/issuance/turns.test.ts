import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTurns } from '../../signer/issuance/turns.ts';
import { ranking } from '../../signer/kube/ranking.ts';

const members = ['a', 'b'];
/** A request that `a` owns, and another one. */
const [owned, alsoOwned] = Array.from({ length: 50 }, (_, i) => `uid-${i}`).filter(
  (uid) => ranking(uid, members)[0] === 'a',
) as [string, string];

function turnsOf(self: string) {
  const clock = { ms: 0 };
  const turns = createTurns({
    self,
    members: () => members,
    takeoverDelayMs: 1000,
    monotonic: () => clock.ms,
  });
  return { turns, clock };
}

const answered = (uid: string, answeredBy: string, as: 'Issued' | 'Denied' = 'Issued') =>
  ({ uid, namespace: 'n', name: uid, version: 'v1', answered: as, answeredBy }) as const;

describe('turns', () => {
  it('let the owner answer at once, and the other replica after the takeover delay', () => {
    for (const [self, expected] of [
      ['a', { rank: 0, waitMs: 0 }],
      ['b', { rank: 1, waitMs: 1000 }],
    ] as const) {
      const { turns } = turnsOf(self);
      turns.sawOpen(owned);
      assert.deepEqual(turns.turnOf(owned), expected);
    }
  });

  it('count from the first sight of a request, however often it is seen', () => {
    const { turns, clock } = turnsOf('b');
    assert.equal(turns.sawOpen(owned), true);
    clock.ms = 700;
    assert.equal(turns.sawOpen(owned), false);
    assert.equal(turns.turnOf(owned).waitMs, 300);
  });

  it('follow the members: a request is whoever is left to answer it', () => {
    let alive: readonly string[] = members;
    const needs = { self: 'b', members: () => alive, takeoverDelayMs: 1000, monotonic: () => 0 };
    const turns = createTurns(needs);
    turns.sawOpen(owned);
    assert.equal(turns.turnOf(owned).rank, 1);
    alive = ['b'];
    assert.deepEqual(turns.turnOf(owned), { rank: 0, waitMs: 0 });
    alive = members;
    assert.equal(turns.turnOf(owned).rank, 1);
  });

  it('leave an owner alone that finishes other requests', () => {
    const { turns, clock } = turnsOf('b');
    turns.sawOpen(owned);
    turns.sawOpen(alsoOwned);
    clock.ms = 900;
    turns.sawAnswer(answered(alsoOwned, 'a'));
    clock.ms = 1000;
    assert.equal(turns.turnOf(owned).waitMs, 900);
  });

  it('do not take a takeover for a sign of life of the owner', () => {
    const { turns, clock } = turnsOf('b');
    turns.sawOpen(owned);
    turns.sawOpen(alsoOwned);
    clock.ms = 1000;
    turns.sawAnswer(answered(alsoOwned, 'b'));
    assert.equal(turns.turnOf(owned).waitMs, 0);
  });

  it('do not take denials for a sign that their owner can issue: anybody can have one, and it needs no CA', () => {
    const { turns, clock } = turnsOf('b');
    turns.sawOpen(owned);
    for (clock.ms = 0; clock.ms < 1000; clock.ms += 250) {
      const denied = `denied-${clock.ms}`;
      turns.sawOpen(denied);
      turns.sawAnswer(answered(denied, 'a', 'Denied'));
    }
    assert.equal(turns.turnOf(owned).waitMs, 0);
  });

  it('give the owner the first chance anew when something changed', () => {
    for (const change of [owned, undefined]) {
      const { turns, clock } = turnsOf('b');
      turns.sawOpen(owned);
      clock.ms = 5000;
      turns.changed(change);
      assert.equal(turns.turnOf(owned).waitMs, 1000);
    }
  });

  it('know how many requests are open and for how long the oldest has been', () => {
    const { turns, clock } = turnsOf('a');
    turns.sawOpen(owned);
    clock.ms = 300;
    turns.sawOpen(alsoOwned);
    clock.ms = 500;
    assert.deepEqual(turns.pending(), { count: 2, oldestMs: 500 });
    turns.sawAnswer(answered(owned, 'a'));
    assert.deepEqual(turns.pending(), { count: 1, oldestMs: 200 });
  });
});
