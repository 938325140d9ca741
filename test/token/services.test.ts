import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { jwtSigningAt } from '../../signer/authority/may-sign.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { reserveNothing } from '../../signer/authority/reservations.ts';
import { identify } from '../../signer/identity/identify.ts';
import { type PodFacts, toPodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { learnServices, type ServiceParts } from '../../signer/token/services.ts';
import { ownAudiences } from '../../spiffe/infrastructure.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { timeWith } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { claimsOf, headerOf, signed } from './caller/bad-tokens.ts';
import { goodReview, someFacts } from './caller/psats.ts';

const facts = someFacts();
const trustDomain = 'example.org';
const records = await Promise.all([
  createAuthority({ id: '1', trustDomain, now: facts.now }),
  createJwtAuthority({ key: 'es256', now: facts.now }),
]);
const compiled = compilePool(newPool(trustDomain, ...records), trustDomain);
assert.ok(compiled.ok);
const { pool } = compiled;

const wire = { metadata: { name: 'web-0', uid: facts.pod.uid }, spec: { serviceAccountName: 'web' } };
const pod = toPodFacts(wire);
const key = 'shop/web-0';

/** The services as main joins them, with a watch-fed cache of pods that the test feeds, and a scripted API server. */
async function theServices(federateByDefault: ServiceParts['federateByDefault'] = 'all') {
  const api = createScriptedApi();
  const answers: Record<string, object> = {
    '/.well-known/openid-configuration': { issuer: facts.issuer },
    '/openid/v1/jwks': {
      keys: [{ ...facts.publicKey.export({ format: 'jwk' }), kid: facts.kid, alg: 'ES256' }],
    },
    '/apis/authentication.k8s.io/v1/tokenreviews': { status: goodReview(facts) },
    '/api/v1/namespaces/shop/pods/web-0': wire,
  };
  api.answer = ({ path }) => ({ status: 200, body: answers[path] ?? {} });
  const time = timeWith({ monotonic: () => 0, now: () => facts.now * 1000 });
  const pods = createStore<PodFacts>({ time });
  pods.replace([[key, pod]]);
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined };
  const services = await learnServices(
    {
      settings: {
        address: { host: '', port: 0 },
        minTlsVersion: 'TLSv1.3',
        clientCertificates: false,
        audiences: ownAudiences(trustDomain),
        serviceAccountIssuers: [],
        issuer: 'https://id.example.org',
        lifetimeSeconds: 300,
        algorithm: 'ES256',
        rs256Audiences: [],
        allowedAudiences: undefined,
        maxAudiences: 1,
        propagationDelaySeconds: 0,
        refreshHintSeconds: 300,
        reviewCacheMs: 30_000,
        podRate: 1_000,
        x509: undefined,
      },
      trustDomain,
      federateByDefault,
      transport: api.transport,
      authorization: async () => undefined,
      pods,
      pool: {
        current: () => pool,
        jwtSignable: (algorithm, now, propagation) => jwtSigningAt(pool, algorithm, now, propagation),
        reserve: reserveNothing,
      } as ServiceParts['pool'],
      publication: () => undefined,
      clockProblem: () => undefined,
      metrics: createMetrics(),
      log: log as unknown as ServiceParts['log'],
      onWaiting: () => undefined,
      time,
      authority: () => ({ ok: false, reason: 'PoolUnusable', detail: '' }),
      profile: svidProfile,
      identify: (pod) => identify(pod, { trustDomain }),
      randomBytes: (count) => new Uint8Array(count),
    },
    new AbortController().signal,
  );
  assert.ok(services);
  const token = signed(facts.key, headerOf(facts), claimsOf(facts));
  const request = {
    credential: { kind: 'token', token } as const,
    audiences: ['https://api.example.com'],
  };
  const context = { path: '/bundles', address: '10.0.0.1', startedAt: 0, caller: undefined };
  return {
    pods,
    federatedWith: (authorization: string | undefined) =>
      services.federatedWith({ authorization }, { ...context }, undefined),
    token,
    ask: () =>
      services.jwtSvid(request, { path: '/jwt-svid', address: '10.0.0.1', startedAt: 0, caller: undefined }),
    reviewed: () => api.requests.filter(({ resource }) => resource === 'tokenreviews').length,
  };
}

describe('the bundles of a caller', () => {
  for (const [byDefault, expected] of [
    ['all', 'all'],
    ['none', []],
  ] as const) {
    it(`a caller without a registration gets its bundles, with or without a credential: ${byDefault}`, async () => {
      const { federatedWith, token, pods, reviewed } = await theServices(byDefault);
      for (const authorization of [undefined, `Bearer ${token}`]) {
        const granted = await federatedWith(authorization);
        assert.ok(granted.ok);
        assert.deepEqual(granted.value.trustDomains, expected);
      }
      assert.equal(reviewed(), 1);
      // A caller with a credential is not anonymous when that is refused.
      pods.delete(key);
      const gone = await federatedWith(`Bearer ${token}x`);
      assert.equal(gone.ok, false);
    });
  }
});

describe('facts about a token', () => {
  const ends: [what: string, happen: (pods: Awaited<ReturnType<typeof theServices>>['pods']) => void][] = [
    ['is deleted', (pods) => pods.delete(key)],
    ['finishes', (pods) => pods.set(key, { ...pod, finished: 'Failed' })],
    ['is terminating', (pods) => pods.set(key, { ...pod, deletesAt: facts.now + 30 })],
    ['is replaced by another of its name', (pods) => pods.set(key, { ...pod, uid: 'other' })],
    ['is missing in a new list', (pods) => pods.replace([])],
  ];
  for (const [what, happen] of ends) {
    it(`the facts about a token are forgotten as soon as the watch shows that its pod ${what}`, async () => {
      const { pods, ask, reviewed } = await theServices();
      for (let i = 0; i < 3; i += 1) assert.ok((await ask()).ok);
      assert.equal(reviewed(), 1);
      happen(pods);
      await ask();
      assert.equal(reviewed(), 2);
    });
  }

  it('the facts about a token are kept through every other change, of this pod and of others', async () => {
    const { pods, ask, reviewed } = await theServices();
    assert.ok((await ask()).ok);
    pods.set(key, { ...pod });
    pods.set('shop/web-1', { ...pod, uid: 'other', finished: 'Succeeded' });
    pods.delete('shop/web-1');
    assert.ok((await ask()).ok);
    assert.equal(reviewed(), 1);
  });
});
