import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { jwtSigningAt } from '../../signer/authority/may-sign.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { reserveNothing } from '../../signer/authority/reservations.ts';
import { identify } from '../../signer/identity/identify.ts';
import { onceRead } from '../../signer/identity/once-read.ts';
import type { Informer } from '../../signer/kube/informer.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import { type PodFacts, toPodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import type { IdentifierNeeds } from '../../signer/signers/profile.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import { learnServices, type ServiceParts } from '../../signer/token/services.ts';
import { publicationOf } from '../../signer/trust/publication.ts';
import { ownAudiences } from '../../spiffe/infrastructure.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { aRegistration, templateContext } from '../identity/registrations.ts';
import { timeWith } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { makeKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
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
const { active } = pool;
assert.ok(active?.signingAuthority);
const authority = { ...active, signingAuthority: active.signingAuthority };

const wire = { metadata: { name: 'web-0', uid: facts.pod.uid }, spec: { serviceAccountName: 'web' } };
const pod = toPodFacts(wire);
const key = 'shop/web-0';

/** The services as main joins them, with a watch-fed cache of pods that the test feeds, and a scripted API server. */
async function theServices(
  federateByDefault: ServiceParts['federateByDefault'] = 'all',
  different: Partial<ServiceParts> = {},
) {
  const api = createScriptedApi();
  const answers: Record<string, object> = {
    '/.well-known/openid-configuration': { issuer: facts.issuer },
    '/openid/v1/jwks': {
      keys: [{ ...facts.publicKey.export({ format: 'jwk' }), kid: facts.kid, alg: 'ES256' }],
    },
    '/api/v1/namespaces/shop/pods/web-0': wire,
  };
  api.answer = ({ path, body }) => {
    if (path !== '/apis/authentication.k8s.io/v1/tokenreviews')
      return { status: 200, body: answers[path] ?? {} };
    const { audiences } = (body as { spec: { audiences: string[] } }).spec;
    return { status: 200, body: { status: { ...goodReview(facts), audiences } } };
  };
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
        x509: { lifetimeSeconds: 3600 },
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
      publication: publicationOf(() => pool),
      clockProblem: () => undefined,
      metrics: createMetrics(),
      log: log as unknown as ServiceParts['log'],
      onWaiting: () => undefined,
      time,
      authority: () => ({ ok: true, authority }),
      profile: svidProfile,
      identify: (pod) => identify(pod, { trustDomain }),
      randomBytes: (count) => new Uint8Array(count),
      ...different,
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
    certify() {
      const claims = claimsOf({ ...facts, audience: ownAudiences(trustDomain).x509 });
      const subjectToken = signed(facts.key, headerOf(facts), claims);
      const body = stubRequest(makeKey('ECDSA P-256'));
      return (services.x509Svid ?? assert.fail())({ subjectToken, body }, { ...context, path: '/x509-svid' });
    },
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

describe('a replica that has just started', () => {
  /** The decision of the signer over stores that nothing was read into yet, by the names of their resources. */
  function notRead() {
    const followed = new Map<string, Informer<unknown>>();
    const needs = {
      pods: { store: createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } }) },
      config: {
        ...{ ...templateContext, defaultIdentity: 'serviceAccount', registrationClass: undefined },
        serviceDomains: [],
      },
      follow(spec: Informer<unknown>['spec']) {
        const store = createStore<unknown>({ time: realTime });
        const informer = { spec, store, isMissing: () => false, isUnlisted: () => false };
        followed.set(spec.resource.name, informer as unknown as Informer<unknown>);
        return informer;
      },
      run() {},
    } as unknown as IdentifierNeeds;
    const decided = spiffe.identifier({ trustDomain } as never, needs);
    return { followed, identify: onceRead(decided, [...followed.values()]) };
  }
  const resources = [
    ...['clusterregistrationpolicies', 'clusterworkloadregistrations', 'namespaces', 'services'],
    'workloadregistrations',
  ];

  for (const late of resources) {
    it(`a replica refuses every caller while it has not read this, and then serves it by its registration: ${late}`, async () => {
      const { followed, identify } = notRead();
      assert.deepEqual([...followed.keys()].sort(), resources);
      const { federatedWith, token, ask, certify } = await theServices('all', { identify });
      const asked = () => Promise.all([ask(), certify(), federatedWith(`Bearer ${token}`)]);
      const registration = aRegistration({
        ...{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/shop/registered' },
        ...{ federatesWith: ['partner.example'], jwtTTL: '60s', ttl: '3600s' },
      });
      const listOf = (resource: string) =>
        resource === 'workloadregistrations' ? ([['shop/web', registration]] as const) : [];
      for (const [resource, { store }] of followed) {
        if (resource !== late) store.replace(listOf(resource));
      }
      for (const answer of await asked()) {
        assert.ok(!answer.ok, JSON.stringify(answer));
        assert.deepEqual([answer.code, answer.detail], ['NotReady', `the signer has not read ${late} yet`]);
      }

      followed.get(late)?.store.replace(listOf(late));
      const [jwt, x509, federated] = await asked();
      assert.ok(jwt?.ok && x509?.ok && federated?.ok, JSON.stringify([jwt, x509, federated]));
      const spiffeId = 'spiffe://example.org/ns/shop/registered';
      assert.partialDeepStrictEqual(jwt.value, { spiffeId, expiresIn: 60 });
      assert.partialDeepStrictEqual(x509.value, { spiffeId });
      assert.partialDeepStrictEqual(federated.value, { trustDomains: ['partner.example'] });
    });
  }

  it('a replica gives callers the names of their ServiceAccounts once it knows that there are no registrations', async () => {
    const { followed, identify } = notRead();
    const { ask, certify } = await theServices('all', { identify });
    for (const { store } of followed.values()) store.replace([]);
    for (const answer of [await ask(), await certify()]) {
      assert.ok(answer.ok, JSON.stringify(answer));
      assert.equal(answer.value.spiffeId, 'spiffe://example.org/ns/shop/sa/web');
    }
  });
});
