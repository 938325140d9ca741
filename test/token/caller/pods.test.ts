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
    it(`${expected}: ${name}`, () => {
      const decision = identifyCaller(psat, lookup, identifyPod, now);
      assert.equal(decision.ok ? decision.value.spiffeId : decision.code, expected);
    });
  }
});

describe('the identity of a caller', () => {
  const running: PodLookup = { kind: 'found', pod };

  it('is the whole subject of the signer and the SPIFFE ID in it', () => {
    const subject = { uris: ['spiffe://example.org/x'], dnsNames: ['web.shop.svc'], display: 'x' };
    assert.deepEqual(
      identifyCaller(psat, running, () => ({ ok: true, subject }), now),
      { ok: true, value: { subject, spiffeId: 'spiffe://example.org/x' } },
    );
  });

  it('is refused where the subject has no SPIFFE ID, since there is no SVID without', () => {
    const subject = { uris: [], dnsNames: ['web.shop.svc'], display: 'web.shop.svc' };
    const decision = identifyCaller(psat, running, () => ({ ok: true, subject }), now);
    assert.deepEqual(decision, {
      ok: false,
      code: 'IdentityInvalid',
      detail: 'web.shop.svc has no SPIFFE ID',
    });
  });

  it('is refused for a certificate of another SPIFFE ID than the pod has now', () => {
    const caller = { ...psat, provedBy: 'certificate' as const, spiffeId: 'spiffe://example.org/other' };
    const decision = identifyCaller(caller, running, identifyPod, now);
    assert.equal(!decision.ok && decision.code, 'CertificateNotOfPod');
  });
});

/** The third row of "How long a deleted pod can go on" in docs/security/token-endpoint.md. */
describe('the cache of the pods', () => {
  it('is believed once it is complete, and until nothing was heard for 90 s', () => {
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

  it('takes the word of the cache where it agrees with the token', async () => {
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
    it(`is live where the cache ${name}`, async () => {
      const { api, live, look } = aLook(cached, hears);
      assert.deepEqual(await look(), { kind: 'found', pod: live });
      assert.deepEqual(
        api.requests.map(({ path }) => path),
        ['/api/v1/namespaces/shop/pods/web-0'],
      );
    });
  }

  it('is live for a certificate, about which nobody asked the API server, and then counts for a while', async () => {
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

  it('tells a pod that is gone from an API server that is', async () => {
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
