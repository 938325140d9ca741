import assert from 'node:assert/strict';
import { createPublicKey, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Authority } from '../../../signer/authority/pool.ts';
import { reserveNothing } from '../../../signer/authority/reservations.ts';
import { identify } from '../../../signer/identity/identify.ts';
import { parseKeyRef } from '../../../signer/keys/key-ref.ts';
import { createRemoteKey } from '../../../signer/keys/remote-key.ts';
import { createStore } from '../../../signer/kube/store.ts';
import { realTime } from '../../../signer/kube/time.ts';
import { pass, refuse } from '../../../signer/observe/checked.ts';
import type { WaitReason } from '../../../signer/observe/reasons.ts';
import { withOwner } from '../../../signer/token/caller/caller.ts';
import { createRecent } from '../../../signer/token/caller/recent.ts';
import type { RequestContext } from '../../../signer/token/svid/request-context.ts';
import { createX509Service, type X509ServiceNeeds } from '../../../signer/token/svid/x509-service.ts';
import { keyTypes } from '../../../spiffe/pki/algorithms.ts';
import type { SigningKey } from '../../../spiffe/pki/sign.ts';
import { svidProfile } from '../../../spiffe/svid-profile.ts';
import { timeWith } from '../../kube/fake-time.ts';
import { createScriptedApi } from '../../kube/scripted-api.ts';
import { authorityOf, makeCa } from '../../spiffe/pki/authorities.ts';
import { makeKey } from '../../spiffe/pki/keys.ts';
import { requestAround, stubRequest } from '../../spiffe/pki/requests.ts';

const now = Math.floor(Date.now() / 1000);
const ca = await makeCa();
const key = makeKey('ECDSA P-256');
const good = { subjectToken: 'a.b.c', body: stubRequest(key) };
const psat = {
  provedBy: 'token' as const,
  subject: 'system:serviceaccount:shop:web',
  namespace: 'shop',
  serviceAccount: { name: 'web', uid: 'sa-uid' },
  pod: { name: 'web-0', uid: 'pod-uid' },
  node: { name: 'node-1', uid: 'node-uid' },
  expiresAt: now + 7200,
  notBefore: now - 60,
  id: 'jti',
};
const unusable = (reason: WaitReason, detail: string) => () => ({ ok: false as const, reason, detail });

const withKey = (signer: SigningKey) =>
  ({
    ...{ id: 'ca-1', signing: { sha256Hex: 'ca-1' }, dnsConstraints: [] },
    signingAuthority: { ...authorityOf(ca), signer },
  }) as unknown as Authority;

const keyRef = parseKeyRef('pkcs11:token=kubespiffe;object=ca-1');
assert.ok(keyRef.ok);
/** A key of a cloud that names an account when it refuses. */
const failing = createRemoteKey(keyRef.value, createPublicKey(ca.key.privateKey), keyTypes['ecdsa-p256'], {
  open: () => Promise.reject(new Error('arn:aws:sts::123456789012:assumed-role/signer may not kms:Sign')),
  ...{ concurrency: 1, timeoutMs: 1_000, onSigned: () => undefined, onState: () => undefined },
  time: timeWith({ monotonic: () => 0 }),
});
failing.problem();
await failing.tend();

/** The service with a good token, a live pod and a CA; what the real ones say is in test/contract/x509-svid.test.ts. */
function aService(different: Partial<X509ServiceNeeds> = {}) {
  const context: RequestContext = { path: '', address: '', startedAt: 0, caller: undefined };
  const api = createScriptedApi();
  api.answer = () => ({
    status: 200,
    body: { metadata: { name: 'web-0', uid: 'pod-uid' }, spec: { serviceAccountName: 'web' } },
  });
  const answer = createX509Service({
    authenticate: async () => pass(psat),
    pods: {
      pods: createStore({ time: realTime }),
      hearsOfPods: () => false,
      seenLive: createRecent<true>({ lifetimeMs: 0, time: timeWith({ monotonic: () => 0 }) }),
      transport: api.transport,
    },
    authority: () => ({ ok: true, authority: withKey(authorityOf(ca).signer) }),
    reserve: reserveNothing,
    roots: () => ca.pem,
    profile: svidProfile,
    identify: (pod) => identify(pod, { trustDomain: 'example.org' }),
    lifetimeSeconds: 3600,
    randomBytes,
    time: timeWith({ now: () => now * 1000 }),
    ...different,
  });
  return { answer: (request = good) => answer(request, context), context, api };
}

describe('the service for certificates', () => {
  it('the service for certificates issues one for the pod, and notes the pod in the context of the request', async () => {
    const { answer, context } = aService();
    const given = await answer();
    assert.ok(given.ok);
    assert.partialDeepStrictEqual(given.value, {
      kind: 'x509-svid',
      spiffeId: 'spiffe://example.org/ns/shop/sa/web',
      authority: 'ca-1',
      notAfter: now + 3480,
      refreshAt: now + 1740,
    });
    assert.equal(context.caller, psat);
  });

  it('the service for certificates passes on the pod, with the node in the token, for the optional extension', async () => {
    const asked: object[] = [];
    const profile = { ...svidProfile, extensionsFor: (identity: object) => void asked.push(identity) };
    await aService({ profile }).answer();
    const { node: _node, ...elsewhere } = psat;
    await aService({ profile, authenticate: async () => pass(elsewhere) }).answer();
    assert.partialDeepStrictEqual(asked[0], { podUID: 'pod-uid', nodeName: 'node-1', nodeUID: 'node-uid' });
    assert.partialDeepStrictEqual(asked[1], { podUID: 'pod-uid', nodeName: '', nodeUID: '' });
  });

  it('the service for certificates signs no DNS name that the name constraints of the CA do not permit', async () => {
    const authority = {
      id: 'ca-1',
      signing: { sha256Hex: 'ca-1' },
      signingAuthority: authorityOf(ca),
      dnsConstraints: [{ permitted: ['svc'], excluded: [] }],
    } as unknown as Authority;
    const named = (dnsName: string): Partial<X509ServiceNeeds> => ({
      authority: () => ({ ok: true, authority }),
      identify: (pod) => {
        const identity = identify(pod, { trustDomain: 'example.org' });
        assert.ok(identity.ok);
        return { ok: true, subject: { ...identity.subject, dnsNames: [dnsName] } };
      },
    });
    assert.ok((await aService(named('web.shop.svc')).answer()).ok);
    const refused = await aService(named('web.example.com')).answer();
    assert.ok(!refused.ok);
    assert.equal(refused.code, 'SigningUnavailable');
    assert.match(
      refused.detail,
      /do not permit a DNS name of the pod \(web\.example\.com, by authority ca-1\)/,
    );
  });

  const forged = { ...good, body: requestAround(key.spki) };
  const refused: [
    name: string,
    different: Partial<X509ServiceNeeds>,
    expected: { code: string; detail?: string; isKnown?: false },
    request?: typeof good,
  ][] = [
    [
      'a token that is refused, before anything else is looked at',
      { authenticate: async () => refuse('TokenRefused') },
      { code: 'TokenRefused', isKnown: false },
      forged,
    ],
    [
      'a pod that is over its rate, with any body',
      { authenticate: async () => withOwner(refuse('PodLimited'), psat) },
      { code: 'PodLimited' },
      forged,
    ],
    ['a request for another key', {}, { code: 'CsrSignatureInvalid' }, forged],
    [
      'a root that is not shown yet, with one full stop',
      { authority: unusable('TrustNotPublished', 'ClusterTrustBundle x') },
      {
        code: 'SigningUnavailable',
        detail:
          'The root of the signing CA is not yet seen in ClusterTrustBundle x; certificates are issued once it is',
      },
    ],
    [
      'a clock that is wrong',
      { authority: unusable('ClockSkew', '200 s fast') },
      { code: 'SigningUnavailable' },
    ],
    [
      'while a key outside of the pool fails, without what its cloud says',
      { authority: () => ({ ok: true, authority: withKey(failing) }) },
      {
        code: 'SigningUnavailable',
        detail:
          'The key of the signing CA is kept outside of the pool and cannot be used now: authority ca-1, the log of the ' +
          'signer has the reason',
      },
    ],
    ['a pool without roots', { roots: () => undefined }, { code: 'SigningUnavailable' }],
    [
      'a token that ends in a moment',
      { authenticate: async () => pass({ ...psat, expiresAt: now + 29 }) },
      { code: 'TokenEndsTooSoon' },
    ],
  ];
  for (const [name, different, expected, request] of refused) {
    it(`the service for certificates refuses ${name}`, async () => {
      const { answer, context } = aService(different);
      const given = await answer(request);
      assert.ok(!given.ok);
      assert.equal(given.code, expected.code);
      if (expected.detail !== undefined) assert.equal(given.detail, expected.detail);
      assert.equal(context.caller !== undefined, expected.isKnown ?? true);
    });
  }

  for (const [status, code] of [
    [404, 'PodGone'],
    [500, 'PodUnavailable'],
  ] as const) {
    it(`the service for certificates looks up the pod live each time, and refuses with ${code} for ${status}`, async () => {
      const { answer, api } = aService();
      assert.ok((await answer()).ok);
      api.answer = () => ({
        status,
        body: { kind: 'Status', reason: 'NotFound', details: { name: 'web-0', kind: 'pods' } },
      });
      const given = await answer();
      assert.equal(given.ok ? 'given' : given.code, code);
      assert.equal(api.requests.length, 2);
    });
  }
});
