import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRecent } from '../../../signer/token/caller/recent.ts';
import { timeWith } from '../../kube/fake-time.ts';

describe('recent entries', () => {
  it('a recent entry counts for its time, from the last use on', () => {
    let nowMs = 0;
    const recent = createRecent<string>({ lifetimeMs: 100, time: timeWith({ monotonic: () => nowMs }) });
    recent.set('a', 'seen');
    nowMs = 60;
    recent.set('b', 'seen');
    recent.set('a', 'seen');
    nowMs = 159;
    assert.deepEqual(
      [recent.get('a') === 'seen', recent.get('b') === 'seen', recent.get('c') === 'seen'],
      [true, true, false],
    );
    nowMs = 160;
    assert.deepEqual([recent.get('a') === 'seen', recent.get('b') === 'seen'], [false, false]);
  });

  it('no entry is kept if the time is zero', () => {
    const recent = createRecent<string>({ lifetimeMs: 0, time: timeWith({ monotonic: () => 0 }) });
    recent.set('a', 'seen');
    assert.equal(recent.get('a'), undefined);
  });

  it('the recent entries are limited, and the oldest go first', () => {
    const recent = createRecent<string>({ lifetimeMs: 100, time: timeWith({ monotonic: () => 0 }) });
    for (let i = 0; i <= 20_000; i += 1) recent.set(String(i), 'seen');
    assert.deepEqual(
      [recent.get('0') === 'seen', recent.get('1') === 'seen', recent.get('20000') === 'seen'],
      [false, true, true],
    );
  });
});
