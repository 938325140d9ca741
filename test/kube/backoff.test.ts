import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { backoffMs, createBackoff, readRetryAfter } from '../../signer/kube/backoff.ts';

describe('back-off', () => {
  test('a back-off doubles up to its maximum, and is in the upper half of each span', () => {
    const policy = { baseMs: 100, maxMs: 1000 };
    const low = createBackoff(policy, () => 0);
    assert.deepEqual([low.next(), low.next(), low.next(), low.next(), low.next()], [50, 100, 200, 400, 500]);
    const high = createBackoff(policy, () => 0.999);
    assert.ok(high.next() < 100 && high.next() > 199);
  });

  test('a back-off starts over after a reset', () => {
    const backoff = createBackoff({ baseMs: 100, maxMs: 1000 }, () => 0);
    backoff.next();
    backoff.next();
    assert.equal(backoff.failures(), 2);
    backoff.reset();
    assert.equal(backoff.next(), 50);
  });

  test('a back-off is never shorter than the server asked', () => {
    fc.assert(
      fc.property(
        fc.nat(60_000),
        fc.nat(40),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (asked, failures, jitter) => {
          const backoff = createBackoff({ baseMs: 100, maxMs: 8000 }, () => jitter);
          for (let failed = 0; failed < failures; failed += 1) backoff.next();
          assert.ok(backoff.next(asked) >= asked);
        },
      ),
    );
  });

  test('a back-off stays within its policy for any number of failures', () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.double({ min: 0, max: 0.999, noNaN: true }), (failures, jitter) => {
        const wait = backoffMs({ baseMs: 100, maxMs: 8000 }, failures, () => jitter);
        assert.ok(wait >= 50 && wait < 8000);
      }),
    );
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  for (const [header, expected] of [
    [undefined, undefined],
    ['', undefined],
    ['soon', undefined],
    ['-1', undefined],
    ['0', 0],
    ['1', 1000],
    [' 7 ', 7000],
    ['999999', 300_000],
    ['99999999999999999999', 300_000],
    ['Sun, 22 Nov 2026 12:00:05 GMT', 5000],
    ['Sun, 22 Nov 2026 11:00:00 GMT', 0],
  ] as const) {
    test(`Retry-After "${header}" is ${expected} ms`, () =>
      assert.equal(readRetryAfter(header, now), expected));
  }
});
