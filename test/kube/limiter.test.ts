import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLimiter } from '../../signer/kube/limiter.ts';
import { timeWith } from './fake-time.ts';

describe('the limiter', () => {
  it('the limiter lets twice the rate through at once, then the rate, for each key', () => {
    let nowMs = 0;
    const limiter = createLimiter({ perSecond: 5, time: timeWith({ monotonic: () => nowMs }) });
    const taken = (key: string, times: number) =>
      Array.from({ length: times }, () => limiter.take(key)).filter((wait) => wait === 0).length;
    assert.equal(taken('a', 20), 10);
    assert.equal(taken('b', 20), 10);
    nowMs = 1000;
    assert.equal(taken('a', 20), 5);
    assert.equal(limiter.take('a'), 200);
    nowMs = 100_000;
    assert.equal(taken('a', 20), 10);
  });

  it('the limiter makes a key wait until its debt is paid, two bursts at most', () => {
    let nowMs = 0;
    const limiter = createLimiter({ perSecond: 5, time: timeWith({ monotonic: () => nowMs }) });
    limiter.charge('a', 15);
    assert.equal(limiter.take('a'), 1_200);
    assert.equal(limiter.take('b'), 0);
    limiter.charge('a', 1_000);
    nowMs = 2_199;
    assert.ok(limiter.take('a') > 0);
    nowMs = 2_201;
    assert.equal(limiter.take('a'), 0);
  });

  it('the limiter drops the least recently used key, and holds a bounded number of keys', () => {
    const limiter = createLimiter({ perSecond: 1, time: timeWith({ monotonic: () => 0 }) });
    for (let i = 0; i < 2; i += 1) limiter.take('first');
    assert.ok(limiter.take('first') > 0);
    for (let i = 0; i < 20_000; i += 1) limiter.take(`other-${i}`);
    assert.equal(limiter.take('first'), 0);
  });
});
