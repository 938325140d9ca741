import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createNews } from '../../signer/observe/news.ts';
import { timeWith } from '../kube/fake-time.ts';

function start() {
  const state = { now: 0 };
  return { state, isNews: createNews(timeWith({ monotonic: () => state.now })) };
}

describe('news of a loop', () => {
  test('a lasting problem is news once, even if two problems alternate', () => {
    const { state, isNews } = start();
    const told: string[] = [];
    for (let round = 0; round < 100; round += 1) {
      const message = round % 2 === 0 ? 'refused' : 'the API server answered 503';
      if (isNews(message)) told.push(message);
      state.now += 30_000;
    }
    assert.deepEqual(told, ['refused', 'the API server answered 503']);
  });

  test('a problem that was not seen for more than a minute is news again', () => {
    const { state, isNews } = start();
    assert.equal(isNews('refused'), true);
    state.now += 60_001;
    assert.equal(isNews('refused'), true);
  });

  const alike: [one: string, other: string][] = [
    ['no answer within 9999 ms', 'no answer within 873.5 ms'],
    ['read tcp 10.0.0.1:48712->10.0.0.2:443: reset', 'read tcp 10.0.0.1:50120->10.0.0.2:443: reset'],
  ];
  for (const [one, other] of alike) {
    test(`a number that differs each time does not make a problem new: ${one}`, () => {
      const { isNews } = start();
      assert.equal(isNews(one), true);
      assert.equal(isNews(other), false);
    });
  }

  test('a problem with another status is news', () => {
    const { isNews } = start();
    assert.equal(isNews('the API server answered 503'), true);
    assert.equal(isNews('the API server answered 403'), true);
  });
});
