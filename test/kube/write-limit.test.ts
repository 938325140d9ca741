import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createWriteLimit } from '../../signer/kube/write-limit.ts';
import { timeWith } from './fake-time.ts';

/**
 * A server that takes `perSecond` writes one after another, `awayMs` away, with a backlog that never ends.
 * @returns the limit and the rate at the end.
 */
function answerBacklog(server: { awayMs: number; perSecond: number; jitterMs?: number }, writes = 5_000) {
  let now = 0;
  let random = 1;
  const jitter = () => {
    random = (random * 48_271) % 2_147_483_647;
    return (random / 2_147_483_647) * (server.jitterMs ?? 0);
  };
  const limit = createWriteLimit({ most: 64, time: timeWith({ monotonic: () => now }) });
  const underWay: { sentAt: number; endsAt: number }[] = [];
  let freeAt = 0;
  let halfTimeAt = 0;
  for (let ended = 0; ended < writes; ended += 1) {
    while (underWay.length < limit.current(false)) {
      freeAt = Math.max(freeAt, now + server.awayMs / 2) + 1_000 / server.perSecond;
      underWay.push({ sentAt: now, endsAt: freeAt + server.awayMs / 2 + jitter() });
    }
    underWay.sort((one, other) => one.endsAt - other.endsAt);
    const next = underWay.shift();
    assert.ok(next);
    now = Math.max(now, next.endsAt);
    limit.observe(now - next.sentAt);
    if (ended === writes / 2) halfTimeAt = now;
  }
  return { limit: limit.current(false), perSecond: (writes / 2 / (now - halfTimeAt)) * 1_000 };
}

describe('writes under way at the same time', () => {
  test('the limit of writes under way is small for a fast server nearby, and keeps it busy', () => {
    const { limit, perSecond } = answerBacklog({ awayMs: 2, perSecond: 600 });
    assert.ok(limit >= 5 && limit <= 9, `${limit}`);
    assert.ok(perSecond > 590, `${perSecond}/s`);
  });

  test('the limit of writes under way is high enough for a server that is 20 ms away', () => {
    const { limit, perSecond } = answerBacklog({ awayMs: 20, perSecond: 1_000 });
    assert.ok(limit >= 22 && limit <= 30, `${limit}`);
    assert.ok(perSecond > 950, `${perSecond}/s`);
  });

  test('the limit of writes under way is high enough when the duration of writes varies', () => {
    const { perSecond } = answerBacklog({ awayMs: 5, perSecond: 1_000, jitterMs: 10 });
    assert.ok(perSecond > 400, `${perSecond}/s`);
  });

  test('the limit of writes under way adapts to a server that has moved', () => {
    let now = 0;
    const limit = createWriteLimit({ most: 64, time: timeWith({ monotonic: () => now }) });
    const answerIn = (tookMs: number, count: number) => {
      for (let done = 0; done < count; done += 1) {
        now += tookMs / limit.current(false);
        limit.observe(tookMs);
      }
    };
    answerIn(3, 2_000);
    assert.equal(limit.current(false), 64, 'nothing waits');
    answerIn(60, 1_000);
    assert.equal(limit.current(false), 6, 'everything seems to wait');
    assert.equal(limit.current(true), 24, 'nobody else waits');
    answerIn(60, 24_000);
    assert.equal(limit.current(false), 64, 'but it is only far away');
  });

  test('the limit of writes under way never exceeds the setting', () => {
    const limit = createWriteLimit({ most: 2, time: timeWith({ monotonic: () => 0 }) });
    for (let done = 0; done < 1_000; done += 1) limit.observe(done % 2 === 0 ? 1 : 100);
    assert.equal(limit.current(false), 2);
    assert.equal(limit.current(true), 2);
  });
});
