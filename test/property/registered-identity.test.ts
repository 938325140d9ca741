import assert from 'node:assert/strict';
import { randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { jwtSigningAt } from '../../signer/authority/may-sign.ts';
import { type Authority, compilePool } from '../../signer/authority/pool.ts';
import { reserveNothing } from '../../signer/authority/reservations.ts';
import type { RegistrationPolicy } from '../../signer/identity/guard-rails.ts';
import type { Identify } from '../../signer/identity/identify.ts';
import { createIdentify, registrationAnnotation } from '../../signer/identity/identify-registered.ts';
import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import { createRegistrations } from '../../signer/identity/registrations.ts';
import { decideOnPod } from '../../signer/issuance/decide.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import type { Labels } from '../../signer/kube/label-selector.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { pass } from '../../signer/observe/checked.ts';
import { createRecent } from '../../signer/token/caller/recent.ts';
import { readX509Request } from '../../signer/token/svid/csr-request.ts';
import { readExchange, readShortForm } from '../../signer/token/svid/exchange.ts';
import { createTokenService } from '../../signer/token/svid/jwt-service.ts';
import { createX509Service } from '../../signer/token/svid/x509-service.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { aClusterRegistration, aPolicy, aRegistration } from '../identity/registrations.ts';
import { anOpenRequest, aPod, aSupportedKey } from '../issuance/examples.ts';
import { timeWith } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { makeKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';

const now = 1_800_000_000;
const time = timeWith({ now: () => now * 1000, monotonic: () => 0 });
const records = await Promise.all([
  createAuthority({ id: '1', trustDomain: 'example.org', now }),
  createJwtAuthority({ key: 'es256', now }),
]);
const compiled = compilePool(newPool('example.org', ...records), 'example.org');
assert.ok(compiled.ok && compiled.pool.active);
const { pool } = compiled;
const authority = compiled.pool.active;
const body = stubRequest(makeKey('ECDSA P-256'));

/** The ways to an SVID, as they are joined in a signer, for the pod shop/web-0. */
function waysToAnSvid(identify: Identify, pods: ReturnType<typeof createStore<PodFacts>>) {
  const caller = {
    ...{
      provedBy: 'token' as const,
      subject: '',
      id: '',
      namespace: 'shop',
      expiresAt: now + 86_400,
      notBefore: now,
    },
    ...{ serviceAccount: { name: 'web', uid: 's' }, pod: { name: 'web-0', uid: 'pod-uid' } },
  };
  const common = {
    identify,
    time,
    pods: {
      pods,
      hearsOfPods: () => true,
      seenLive: createRecent<true>({ lifetimeMs: 0, time }),
      transport: createScriptedApi().transport,
    },
  };
  const issueToken = createTokenService({
    ...common,
    authenticate: async () => pass(caller),
    pool: {
      jwtSignable: (algorithm, at, delay) => jwtSigningAt(pool, algorithm, at, delay),
      reserve: reserveNothing,
    },
    clockProblem: () => undefined,
    policy: {
      ...{ issuer: 'https://id.example.org', lifetimeSeconds: 300, algorithm: 'ES256', rs256Audiences: [] },
      ...{
        maxAudiences: 1,
        allowedAudiences: undefined,
        isForbidden: () => false,
        propagationSeconds: 0,
      },
    },
    newId: randomUUID,
  });
  const issueCertificate = createX509Service({
    ...common,
    authenticate: async () => pass(caller),
    authority: () => ({ ok: true, authority: authority as Authority }),
    reserve: reserveNothing,
    roots: () => 'PEM',
    profile: svidProfile,
    lifetimeSeconds: 86_400,
    randomBytes,
  });
  const context = () => ({ path: '', address: '', startedAt: 0, caller: undefined });
  const asked = { audience: 'api' };
  const bearer = { authorization: 'Bearer a.b.c' };

  return {
    request(annotations: Record<string, string>) {
      const pod = pods.get('shop/web-0') as PodFacts;
      const request = anOpenRequest({ podUID: 'pod-uid', annotations });
      const decision = decideOnPod(request, aSupportedKey, { kind: 'found', pod }, identify);
      assert.ok(decision.kind === 'issue' || decision.kind === 'wait');
      if (decision.kind === 'wait') return decision.reason;
      return { names: decision.subject, terms: decision.terms };
    },
    async tokens(registration: string | undefined) {
      const chosen = registration === undefined ? {} : { registration };
      const form = new URLSearchParams({
        ...{ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token: 'a.b.c' },
        ...{ subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', ...asked, ...chosen },
      });
      const requests = [
        readExchange(form.toString(), { authorization: undefined }),
        readShortForm(JSON.stringify({ ...asked, ...chosen }), bearer),
      ];
      return Promise.all(
        requests.map(async (request) => {
          assert.ok(request.ok);
          const answer = await issueToken(request.value, context());
          if (!answer.ok) return answer.code;
          const { sub = '', exp = 0 } = decodeJwt(answer.value.token);
          return { uri: sub, seconds: exp - now, registration: answer.value.registration };
        }),
      );
    },
    async certificate(registration: string | undefined) {
      const request = readX509Request(body, bearer, registration);
      assert.ok(request.ok);
      const answer = await issueCertificate(request.value, context());
      if (!answer.ok) return answer.code;
      const { subjectAltName = '', validFromDate, validToDate } = new X509Certificate(answer.value.chainPem);
      const seconds = (validToDate.getTime() - validFromDate.getTime()) / 1000;
      return { names: subjectAltName, seconds, registration: answer.value.registration };
    },
  };
}

const td = 'spiffe://{{ .TrustDomain }}';
const app = '{{ index .PodMeta.Labels "app" }}';
const specs = fc.record(
  {
    spiffeIDTemplate: fc.constantFrom(
      `${td}/ns/shop/${app}`,
      `${td}/ns/shop/one`,
      `${td}/teams/${app}`,
      `${td}/kubespiffe/x`,
      '{{',
    ),
    podSelector: fc.constantFrom({ matchLabels: { app: 'web' } }, { matchLabels: { app: 'db' } }, {}),
    serviceAccountNames: fc.constantFrom(['web'], ['web', 'db'], ['db']),
    dnsNameTemplates: fc.constantFrom([], [`${app}.example.org`], ['granted.example.com']),
    priority: fc.constantFrom(0, 0, 1),
    fallback: fc.boolean(),
    ttl: fc.constantFrom('1h', '48h'),
    jwtTTL: fc.constantFrom('1m', '1h'),
    audiences: fc.constantFrom(['api'], ['a*'], ['other']),
  },
  { requiredKeys: ['spiffeIDTemplate'] },
);
const name = fc.constantFrom('a', 'b', 'c');
const worlds = fc.record({
  team: fc.uniqueArray(fc.record({ name, spec: specs }), { selector: (each) => each.name }),
  cluster: fc.uniqueArray(fc.record({ name, spec: specs }), { selector: (each) => each.name }),
  labels: fc.constantFrom({ app: 'web' }, { app: 'db' }, { app: '..' }, {}),
  wanted: fc.option(name, { nil: undefined }),
  defaultIdentity: fc.constantFrom('serviceAccount' as const, 'none' as const),
});

test('a pod has one identity by its registrations: its request, both kinds of token and the certificate over HTTP agree', async () => {
  const seen = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(worlds, async ({ team, cluster, labels, wanted, defaultIdentity }) => {
      const stores = {
        workload: createStore<Registration>({ time: realTime }),
        cluster: createStore<Registration>({ time: realTime }),
        policies: createStore<RegistrationPolicy>({ time: realTime }),
        namespaces: createStore<Labels>({ time: realTime }),
        pods: createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } }),
      };
      const given = [
        ...team.map((each) => aRegistration(each.spec, each.name)),
        ...cluster.map((each) => aClusterRegistration(each.spec, each.name)),
      ];
      for (const each of given)
        (each.namespace ? stores.workload : stores.cluster).set(nameOfRegistration(each), each);
      stores.policies.set('default', aPolicy({ namespaces: ['shop'], dnsNames: ['granted.example.com'] }));
      stores.namespaces.set('shop', {});
      stores.pods.set('shop/web-0', aPod({ labels }));
      const identify = createIdentify(createRegistrations(stores, undefined), {
        ...{ trustDomain: 'example.org', clusterName: undefined, defaultIdentity },
        serviceNames: () => ({ ok: true, value: [] }),
        unserved: () => undefined,
      });
      const ways = waysToAnSvid(identify, stores.pods);

      const decided = ways.request(wanted === undefined ? {} : { [registrationAnnotation]: wanted });
      const [certificate, ...tokens] = [await ways.certificate(wanted), ...(await ways.tokens(wanted))];
      seen.set(typeof decided === 'string' ? decided : 'Issued', 1);
      if (typeof decided === 'string') {
        assert.deepEqual([certificate, ...tokens], [decided, decided, decided]);
        return;
      }
      const { names, terms } = decided;
      const sans = [...names.uris.map((uri) => `URI:${uri}`), ...names.dnsNames.map((dns) => `DNS:${dns}`)];
      assert.deepEqual(certificate, {
        names: sans.join(', '),
        seconds: Math.min(86_400, terms?.maxLifetimeSeconds ?? Number.POSITIVE_INFINITY),
        registration: terms?.registration,
      });
      const isAllowed = !terms?.audiences?.includes('other');
      if (!isAllowed) seen.set('AudienceNotAllowed', 1);
      const token = {
        uri: names.uris[0],
        seconds: Math.min(300, terms?.maxTokenLifetimeSeconds ?? Number.POSITIVE_INFINITY),
        registration: terms?.registration,
      };
      assert.deepEqual(tokens, isAllowed ? [token, token] : ['AudienceNotAllowed', 'AudienceNotAllowed']);
    }),
    { numRuns: 600 },
  );
  assert.deepEqual([...seen.keys()].sort(), [
    'AudienceNotAllowed',
    'IdentityInvalid',
    'Issued',
    'NotRegistered',
    'RegistrationAmbiguous',
    'RegistrationNotMatching',
  ]);
});
