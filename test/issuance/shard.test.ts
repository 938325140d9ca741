import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { waitForTurnMs } from '../../signer/issuance/shard.ts';

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
