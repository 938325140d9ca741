import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Identify, identify } from '../../../signer/identity/identify.ts';
import type { PodFacts, PodLookup } from '../../../signer/kube/pods.ts';
import { createStore } from '../../../signer/kube/store.ts';
import { realTime } from '../../../signer/kube/time.ts';
import type { Caller } from '../../../signer/token/caller/caller.ts';
import { identifyCaller, isHeardFrom, lookUpCaller } from '../../../signer/token/caller/pods.ts';
import { createRecent } from '../../../signer/token/caller/recent.ts';
import { timeWith } from '../../kube/fake-time.ts';
import { createScriptedApi } from '../../kube/scripted-api.ts';

const psat = {
  provedBy: 'token' as const,
  subject: 'system:serviceaccount:shop:web',
  namespace: 'shop',
  serviceAccount: { name: 'web', uid: 'sa-uid' },
  pod: { name: 'web-0', uid: 'pod-uid' },
  expiresAt: 0,
  notBefore: 0,
  id: '',
};
const pod: PodFacts = {
  uid: 'pod-uid',
  nodeName: 'node-1',
  serviceAccountName: 'web',
  finished: undefined,
};
const now = 1_800_000_000;
const identifyPod: Identify = (named) => identify(named, { trustDomain: 'example.org' });

describe('the decision on a pod', () => {
  const found = (different: Partial<PodFacts>): PodLookup => ({
    kind: 'found',
    pod: { ...pod, ...different },
  });
  const rows: [name: string, lookup: PodLookup, expected: string][] = [
    ['a running pod', found({}), 'spiffe://example.org/ns/shop/sa/web'],
    ['one that is terminating', found({ deletesAt: now }), 'spiffe://example.org/ns/shop/sa/web'],
    ['one that should be gone by now', found({ deletesAt: now - 1 }), 'PodDeleted'],
    ['one that is gone', { kind: 'gone' }, 'PodGone'],
    ['one that cannot be looked up', { kind: 'unavailable', error: new Error('timeout') }, 'PodUnavailable'],
    ['another one of the same name', found({ uid: 'other' }), 'PodReplaced'],
    ['one of another ServiceAccount', found({ serviceAccountName: 'admin' }), 'ServiceAccountMismatch'],
    ['one that has succeeded', found({ finished: 'Succeeded' }), 'PodFinished'],
    ['one that has failed', found({ finished: 'Failed' }), 'PodFinished'],
  ];
  for (const [name, lookup, expected] of rows) {
    it(`the decision on a pod is ${expected}: ${name}`, () => {
      const decision = identifyCaller(psat, lookup, identifyPod, now);
      assert.equal(decision.ok ? decision.value.spiffeId : decision.code, expected);
    });
  }
});

describe('the identity of a caller', () => {
  const running: PodLookup = { kind: 'found', pod };

  it('the identity of a caller is the whole subject from the signer, with its SPIFFE ID', () => {
    const subject = { uris: ['spiffe://example.org/x'], dnsNames: ['web.shop.svc'], display: 'x' };
    assert.deepEqual(
      identifyCaller(psat, running, () => ({ ok: true, subject }), now),
      { ok: true, value: { subject, spiffeId: 'spiffe://example.org/x' } },
    );
  });

  it('a caller whose subject has no SPIFFE ID is refused, because an SVID needs one', () => {
    const subject = { uris: [], dnsNames: ['web.shop.svc'], display: 'web.shop.svc' };
    const decision = identifyCaller(psat, running, () => ({ ok: true, subject }), now);
    assert.deepEqual(decision, {
      ok: false,
      code: 'IdentityInvalid',
      detail: 'web.shop.svc has no SPIFFE ID',
    });
  });

  it('a certificate is refused if the pod has another SPIFFE ID now', () => {
    const caller = { ...psat, provedBy: 'certificate' as const, spiffeId: 'spiffe://example.org/other' };
    const decision = identifyCaller(caller, running, identifyPod, now);
    assert.equal(!decision.ok && decision.code, 'CertificateNotOfPod');
  });
});

/** The third row of "How long a deleted pod can go on" in docs/security/token-endpoint.md. */
describe('the cache of the pods', () => {
  it('the cache of pods counts once it is complete, and for 90 s after the last word of the watch', () => {
    let monotonic = 0;
    const pods = createStore<PodFacts>({ time: timeWith({ monotonic: () => monotonic }) });
    pods.set('shop/web-0', pod);
    assert.equal(isHeardFrom(pods, monotonic), false);
    pods.replace([['shop/web-0', pod]]);
    for (const hear of [() => pods.touch(), () => pods.set('shop/web-1', pod), () => pods.delete('none')]) {
      hear();
      assert.equal(isHeardFrom(pods, monotonic + 89_999), true);
      monotonic += 90_000;
      assert.equal(isHeardFrom(pods, monotonic), false);
    }
  });
});

describe('the look at a pod', () => {
  function aLook(cached: PodFacts | undefined, hearsOfPods = true) {
    const api = createScriptedApi();
    api.answer = () => ({
      status: 200,
      body: {
        metadata: { name: 'web-0', uid: 'pod-uid' },
        spec: { nodeName: 'node-1', serviceAccountName: 'web' },
        status: { phase: 'Failed' },
      },
    });
    const pods = createStore<PodFacts>({ time: realTime });
    if (cached) pods.set('shop/web-0', cached);
    const live: PodFacts = { ...pod, finished: 'Failed' };
    const clock = { ms: 0 };
    const seenLive = createRecent<true>({
      lifetimeMs: 30_000,
      time: timeWith({ monotonic: () => clock.ms }),
    });
    const needs = {
      pods,
      hearsOfPods: () => hearsOfPods,
      seenLive,
      transport: api.transport,
    };
    return { api, live, clock, look: (caller: Caller = psat) => lookUpCaller(caller, needs) };
  }

  it('the cached pod is used if it agrees with the token', async () => {
    const { api, look } = aLook(pod);
    assert.deepEqual(await look(), { kind: 'found', pod });
    assert.equal(api.requests.length, 0);
  });

  const doubts: [string, PodFacts | undefined, boolean][] = [
    ['knows nothing of it', undefined, true],
    ['knows another UID', { ...pod, uid: 'other' }, true],
    ['knows another ServiceAccount', { ...pod, serviceAccountName: 'other' }, true],
    ['was not heard from lately', pod, false],
  ];
  for (const [name, cached, hears] of doubts) {
    it(`the pod is read from the API server when the cache ${name}`, async () => {
      const { api, live, look } = aLook(cached, hears);
      assert.deepEqual(await look(), { kind: 'found', pod: live });
      assert.deepEqual(
        api.requests.map(({ path }) => path),
        ['/api/v1/namespaces/shop/pods/web-0'],
      );
    });
  }

  it('the pod of a certificate, which no review confirmed, is read from the API server once, and then cached for a while', async () => {
    const { api, live, clock, look } = aLook(pod);
    const holder = { ...psat, provedBy: 'certificate' as const };
    assert.deepEqual(await look(holder), { kind: 'found', pod: live });
    clock.ms = 29_999;
    assert.deepEqual(await look(holder), { kind: 'found', pod });
    assert.equal(api.requests.length, 1);
    clock.ms = 30_000;
    assert.deepEqual(await look(holder), { kind: 'found', pod: live });
    assert.equal(api.requests.length, 2);
  });

  it('a pod that is gone is distinguished from an API server that is gone', async () => {
    const { api, look } = aLook(undefined);
    const status = { kind: 'Status', reason: 'NotFound', details: { name: 'web-0', kind: 'pods' } };
    api.answer = () => ({ status: 404, body: status });
    assert.equal((await look()).kind, 'gone');
    api.answer = () => 'broken';
    assert.equal((await look()).kind, 'unavailable');
    api.answer = () => ({ status: 403 });
    assert.equal((await look()).kind, 'unavailable');
  });
});
