import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRecent } from '../../../signer/token/caller/recent.ts';

describe('what was seen a moment ago', () => {
  it('counts for its time, from the last time on', () => {
    let nowMs = 0;
    const recent = createRecent({ lifetimeMs: 100, monotonic: () => nowMs });
    recent.add('a');
    nowMs = 60;
    recent.add('b');
    recent.add('a');
    nowMs = 159;
    assert.deepEqual([recent.has('a'), recent.has('b'), recent.has('c')], [true, true, false]);
    nowMs = 160;
    assert.deepEqual([recent.has('a'), recent.has('b')], [false, false]);
  });

  it('is nothing where nothing is to be remembered', () => {
    const recent = createRecent({ lifetimeMs: 0, monotonic: () => 0 });
    recent.add('a');
    assert.equal(recent.has('a'), false);
  });

  it('is bounded, the oldest first', () => {
    const recent = createRecent({ lifetimeMs: 100, monotonic: () => 0 });
    for (let i = 0; i <= 20_000; i += 1) recent.add(String(i));
    assert.deepEqual([recent.has('0'), recent.has('1'), recent.has('20000')], [false, true, true]);
  });
});
