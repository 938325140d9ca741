import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeeper, type Keeper } from '../../signer/trust/keeper.ts';
import { createFakeTime, type FakeTime, settle } from '../kube/fake-time.ts';
import { onlyMember } from './membership.ts';

interface Scene {
  readonly keeper: Keeper;
  readonly time: FakeTime;
  /** The objects that are not as they should be. */
  readonly wrong: Set<string>;
  /** What every repair of an object answers: undefined makes it right. */
  readonly problems: Map<string, string>;
  readonly repairs: string[];
  readonly warnings: string[];
  setRank(rank: number): void;
}

/** Runs a keeper on a clock of its own, whose repairs do what the test says. */
async function withKeeper(act: (scene: Scene) => Promise<void>): Promise<void> {
  const time = createFakeTime();
  const wrong = new Set<string>();
  const problems = new Map<string, string>();
  const repairs: string[] = [];
  const warnings: string[] = [];
  let rank = 0;
  let membersChanged = () => {};
  const keeper = createKeeper(
    {
      membership: {
        ...onlyMember,
        onChange: (listener) => {
          membersChanged = listener;
        },
      },
      rankFor: () => rank,
      takeoverDelayMs: 1_000,
      time,
      log: { info: () => {}, warn: (_fields: object, message?: string) => void warnings.push(message ?? '') },
    },
    {
      difference: (key) => (wrong.has(key) ? 'it is wrong' : undefined),
      async repair(key) {
        repairs.push(key);
        if (problems.has(key)) return problems.get(key);
        wrong.delete(key);
        return undefined;
      },
      describe: (key) => ({ key }),
      concurrency: 2,
    },
  );
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  const setRank = (next: number) => {
    rank = next;
    membersChanged();
  };
  await act({ keeper, time, wrong, problems, repairs, warnings, setRank });
  stop.abort();
  await running;
}

describe('what is kept in the cluster', () => {
  it('an object is repaired at once by the first in rank, and left alone when it is as desired', () =>
    withKeeper(async ({ keeper, time, wrong, repairs }) => {
      keeper.look('well');
      wrong.add('a');
      keeper.look('a');
      await settle();
      assert.deepEqual(repairs, ['a']);
      await time.advance(60_000);
      assert.deepEqual(repairs, ['a']);
      assert.equal(time.pending(), 0);
    }));

  it('an object is repaired by the next in rank only if the difference remains', () =>
    withKeeper(async ({ keeper, time, wrong, repairs, setRank }) => {
      setRank(2);
      for (const key of ['stays', 'goes']) {
        wrong.add(key);
        keeper.look(key);
      }
      await time.advance(1_900);
      assert.deepEqual(repairs, []);
      wrong.delete('goes');
      keeper.look('goes');
      await time.advance(200);
      assert.deepEqual(repairs, ['stays']);
    }));

  it('an object is taken over as soon as this replica has become the first in rank', () =>
    withKeeper(async ({ keeper, time, wrong, repairs, setRank }) => {
      setRank(5);
      wrong.add('a');
      keeper.look('a');
      await time.advance(100);
      setRank(0);
      await settle();
      assert.deepEqual(repairs, ['a']);
    }));

  it('a failing repair is retried with growing intervals, and its problem is logged once and can be read meanwhile', () =>
    withKeeper(async ({ keeper, time, wrong, problems, repairs, warnings }) => {
      wrong.add('a');
      problems.set('a', 'the quota is used up');
      keeper.look('a');
      await time.advance(60_000);
      const early = repairs.length;
      await time.advance(60_000);
      assert.ok(early >= 5 && repairs.length - early <= 4, `${early}, then ${repairs.length - early}`);
      assert.deepEqual(warnings, ['the quota is used up']);
      assert.equal(keeper.problem('a'), 'the quota is used up');
      problems.set('a', 'something else');
      await time.advance(60_000);
      assert.deepEqual(warnings, ['the quota is used up', 'something else']);
      problems.delete('a');
      await time.advance(60_000);
      assert.equal(wrong.has('a'), false);
      assert.equal(keeper.problem('a'), undefined);
    }));

  it('an object does not wait for another one that cannot be repaired', () =>
    withKeeper(async ({ keeper, time, wrong, problems, repairs }) => {
      for (const key of ['bad', 'worse', 'good']) {
        wrong.add(key);
        if (key !== 'good') problems.set(key, 'no');
        keeper.look(key);
      }
      await settle();
      assert.ok(repairs.includes('good'));
      await time.advance(120_000);
      assert.equal(repairs.filter((key) => key === 'good').length, 1);
    }));

  it('an object is repaired once a second at most, even if it changes more often', () =>
    withKeeper(async ({ keeper, time, wrong, repairs }) => {
      for (let spoiled = 0; spoiled < 500; spoiled += 1) {
        wrong.add('a');
        keeper.look('a');
        await time.advance(20);
      }
      assert.ok(repairs.length >= 10 && repairs.length <= 11, String(repairs.length));
      await time.advance(1_000);
      assert.equal(wrong.has('a'), false);
    }));
});
