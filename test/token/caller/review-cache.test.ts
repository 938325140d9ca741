import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createReviewCache } from '../../../signer/token/caller/review-cache.ts';
import { timeWith } from '../../kube/fake-time.ts';

describe('the review cache', () => {
  const psat = (uid: string) => ({
    subject: 's',
    namespace: 'n',
    serviceAccount: { name: 'a', uid: 'b' },
    pod: { name: 'p', uid },
    expiresAt: 0,
    notBefore: 0,
    id: '',
    provedBy: 'token' as const,
  });

  it('the review cache keeps a limited number, the newest', () => {
    const cache = createReviewCache({ lifetimeMs: 1000, time: timeWith({ monotonic: () => 0 }) });
    for (let i = 0; i < 20_010; i += 1) cache.put(`token-${i}`, psat('pod'));
    assert.equal(cache.size, 20_000);
    assert.equal(cache.get('token-9'), undefined);
    assert.ok(cache.get('token-20009'));
  });

  it('the review cache drops expired entries when others come', () => {
    let nowMs = 0;
    const cache = createReviewCache({ lifetimeMs: 1000, time: timeWith({ monotonic: () => nowMs }) });
    for (let i = 0; i < 100; i += 1) cache.put(`token-${i}`, psat(`pod-${i}`));
    nowMs = 1000;
    cache.put('late', psat('late'));
    assert.equal(cache.size, 1);
  });

  it('the review cache forgets the tokens of one pod and no others', () => {
    const cache = createReviewCache({ lifetimeMs: 1000, time: timeWith({ monotonic: () => 0 }) });
    for (const [token, pod] of [
      ['1', 'a'],
      ['2', 'a'],
      ['3', 'b'],
    ] as const)
      cache.put(token, psat(pod));
    cache.forgetPod('a');
    assert.deepEqual([cache.get('1'), cache.get('2'), cache.get('3')?.pod.uid], [undefined, undefined, 'b']);
  });

  it('the review cache keeps nothing if it is switched off', () => {
    const cache = createReviewCache({ lifetimeMs: 0, time: timeWith({ monotonic: () => 0 }) });
    cache.put('1', psat('a'));
    assert.equal(cache.get('1'), undefined);
  });
});
