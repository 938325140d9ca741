import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createServerClock } from '../../signer/kube/clock.ts';
import { timeWith } from './fake-time.ts';

/** A world with two clocks: `skew` is how much ours is ahead of the server's, in milliseconds. */
function makeWorld(skew: number) {
  const state = { monotonic: 5_000, skew, serverEpoch: 1_800_000_000_000 };
  const server = () => state.serverEpoch + state.monotonic;
  const clock = createServerClock(
    timeWith({ now: () => server() + state.skew, monotonic: () => state.monotonic }),
  );
  /** One answer: `there` ms until the server writes its Date, `back` ms until it is here. */
  const answer = (there: number, back: number) => {
    state.monotonic += there;
    const date = Math.floor(server() / 1000) * 1000;
    state.monotonic += back;
    clock.observe(date, there + back);
  };
  return { clock, state, answer };
}

describe('server clock', () => {
  test('the skew of the server clock is unknown before the first answer', () => {
    const { clock } = makeWorld(0);
    assert.equal(clock.skewMs(), undefined);
    assert.match(clock.problem() ?? '', /is not known yet/);
  });

  test('the true skew is within half a second and half the round trip of the first answer', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -1e6, max: 1e6 }),
        fc.nat(5000),
        fc.nat(3000),
        fc.nat(3000),
        (skew, offset, there, back) => {
          const { clock, state, answer } = makeWorld(skew);
          state.monotonic += offset;
          answer(there, back);
          const measured = clock.skewMs() ?? Number.NaN;
          assert.ok(Math.abs(measured - skew) <= 500 + (there + back) / 2 + 1, `${measured} for ${skew}`);
        },
      ),
    );
  });

  test('many answers narrow the skew down to the latency, although dates are whole seconds', () => {
    const { clock, state, answer } = makeWorld(1234);
    for (let asked = 0; asked < 200; asked += 1) {
      answer(3, 4);
      state.monotonic += 137;
    }
    assert.ok(Math.abs((clock.skewMs() ?? Number.NaN) - 1234) < 80, `${clock.skewMs()}`);
  });

  test('one very slow answer does not change the estimate', () => {
    const { clock, state, answer } = makeWorld(0);
    for (let asked = 0; asked < 100; asked += 1) {
      answer(2, 2);
      state.monotonic += 91;
    }
    answer(9000, 10);
    answer(10, 9000);
    assert.ok(Math.abs(clock.skewMs() ?? Number.NaN) < 80, `${clock.skewMs()}`);
  });

  test('the server clock follows with the second answer after it was set', () => {
    const { clock, state, answer } = makeWorld(0);
    for (let asked = 0; asked < 20; asked += 1) answer(2, 2);
    state.serverEpoch += 300_000;
    state.skew -= 300_000;
    answer(2, 2);
    assert.equal(clock.problem(), undefined);
    answer(2, 2);
    assert.ok(Math.abs((clock.skewMs() ?? Number.NaN) + 300_000) < 600, `${clock.skewMs()}`);
  });

  test('the server clock ignores dates that agree with no other, for any number of them', () => {
    const { clock, state, answer } = makeWorld(0);
    answer(2, 2);
    for (let round = 1; round < 10; round += 1) {
      state.serverEpoch += 100_000 * round;
      answer(2, 2);
      state.serverEpoch -= 100_000 * round;
      assert.equal(clock.problem(), undefined);
      if (round % 2 === 0) answer(2, 2);
    }
  });

  test('the server clock ignores a wrong Date that repeats between answers that agree', () => {
    const { clock, state, answer } = makeWorld(0);
    for (let round = 0; round < 10; round += 1) {
      answer(2, 2);
      state.serverEpoch += 300_000;
      answer(2, 2);
      state.serverEpoch -= 300_000;
      assert.equal(clock.problem(), undefined);
    }
  });

  test('the server clock notices at once that our own clock was set, without a new answer', () => {
    const { clock, state, answer } = makeWorld(0);
    answer(2, 2);
    assert.equal(clock.problem(), undefined);
    state.skew = 120_000;
    assert.match(clock.problem() ?? '', /s (fast|slow); at most/);
  });

  test('the server clock forgets old answers, so that drift causes no contradiction', () => {
    const { clock, state, answer } = makeWorld(0);
    for (let minute = 0; minute < 600; minute += 1) {
      for (let asked = 0; asked < 10; asked += 1) answer(1, 1);
      state.monotonic += 60_000;
      state.serverEpoch += 12; // 200 parts per million
      state.skew -= 12;
    }
    answer(1, 1);
    assert.ok(Math.abs((clock.skewMs() ?? Number.NaN) - state.skew) < 600);
  });

  for (const [skew, isGood] of [
    [0, true],
    [-149_000, true],
    [-151_500, false],
    [89_000, true],
    [91_500, false],
  ] as const) {
    test(`a skew of ${skew} ms is ${isGood ? 'within' : 'beyond'} the bounds`, () => {
      const { clock, state, answer } = makeWorld(skew);
      for (let asked = 0; asked < 50; asked += 1) {
        answer(1, 1);
        state.monotonic += 61;
      }
      assert.equal(clock.problem() === undefined, isGood);
    });
  }
});
