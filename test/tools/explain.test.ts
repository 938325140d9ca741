import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ParsedJwt } from '../../spiffe/jwt-svid.ts';
import type { SignerEvent } from '../../tools/cluster/events.ts';
import { denialsIn } from '../../tools/explain/denial.ts';
import { lastEventOf } from '../../tools/explain/next.ts';
import { explainPod } from '../../tools/explain/pod.ts';
import { type RequestExplanation, withEvent } from '../../tools/explain/requests.ts';
import type { Step } from '../../tools/explain/steps.ts';
import { explainJwtSvid, explainServiceAccountToken } from '../../tools/explain/token.ts';
import { explainWholePod } from '../../tools/explain/whole-pod.ts';
import { aKnownPod, aRegistration, aService, aWirePod, aWorld } from './world.ts';

const dns = 'kubespiffe.io/service-dns';
const administrator = 'cluster administrator';

describe('the explanation of a pod', () => {
  it('the explanation of a pod has the default identity, the facts behind it, and the shortest lifetime', async () => {
    const pod = [{ maxExpirationSeconds: 7200 }];
    const world = await aWorld({ pods: [aWirePod(pod)] });
    const [spiffe, ...others] = explainPod(world, 'shop/web-0', aKnownPod(pod));
    assert.deepEqual(others, []);
    assert.equal(spiffe?.spiffeId, 'spiffe://example.org/ns/shop/sa/web');
    assert.equal(spiffe?.lifetimeSeconds, 7200);
    assert.equal(spiffe?.verdict.verdict, 'issue');
    assert.ok(spiffe?.steps.every(({ ok }) => ok !== false));
    assert.ok(
      spiffe?.steps.some(({ fact }) => fact.includes('runs on node-1, ServiceAccount web, labels app=web')),
    );
  });

  it('the explanation of a pod lists the Services that select it, and why the others do not', async () => {
    const pod = [{ signerName: dns }];
    const services = [aService('web'), aService('api', { app: 'api' }), aService('plain', {})];
    const world = await aWorld({ pods: [aWirePod(pod)], services });
    const explained = explainPod(world, 'shop/web-0', aKnownPod(pod), dns);
    assert.deepEqual(explained[0]?.dnsNames, ['web.shop.svc', 'web.shop.svc.cluster.local']);
    const steps = explained[0]?.steps.filter(({ what }) => what === 'service');
    assert.deepEqual(
      steps?.map(({ ok, fact }) => [ok, fact]),
      [
        [true, 'it selects the pod'],
        [null, 'the pod has the label app=web, and the selector needs app=api'],
      ],
    );
  });

  const refused: [what: string, source: object, different: object, reason: string, owner: string][] = [
    ['a key type that is not served', { keyType: 'RSA2048' }, {}, 'UnsupportedKeyType', 'pod author'],
    [
      'an annotation that is not known',
      { userAnnotations: { 'example.org/x': 'y' } },
      {},
      'InvalidUnverifiedUserAnnotations',
      'pod author',
    ],
    ['a pod that no Service selects', { signerName: dns }, {}, 'NoService', 'pod author'],
    ['a finished pod', {}, { status: { phase: 'Succeeded' } }, 'PodFinished', 'nobody'],
  ];
  for (const [what, source, different, reason, owner] of refused) {
    it(`the explanation of a pod reports why nothing is issued, and who acts: ${what}`, async () => {
      const world = await aWorld({ pods: [aWirePod([source], different)] });
      const all = explainPod(world, 'shop/web-0', aKnownPod([source], different));
      const explained = all.find(({ volume }) => volume !== null);
      assert.equal(explained?.verdict.reason, reason);
      assert.equal(explained?.verdict.owner, owner);
      assert.equal(explained?.lifetimeSeconds, null);
      assert.ok(explained?.verdict.message);
      assert.ok(explained?.steps.some(({ ok }) => ok === false));
    });
  }

  it('the explanation of a pod lists the registrations, why each does not count, and the annotation that chooses', async () => {
    const workloadregistrations = [
      aRegistration('web'),
      aRegistration('web-2'),
      aRegistration('api', { podSelector: { matchLabels: { app: 'api' } } }),
    ];
    const world = await aWorld({ pods: [aWirePod()], workloadregistrations });
    const [undecided] = explainPod(world, 'shop/web-0', aKnownPod());
    assert.equal(undecided?.verdict.reason, 'RegistrationAmbiguous');
    const stepsOf = (steps: readonly Step[] = []) =>
      steps.filter(({ what }) => what === 'registration').map(({ ok, fact }) => [ok, fact]);
    const ambiguous = 'it matches, but: RegistrationAmbiguous (shop/web, shop/web-2)';
    assert.deepEqual(stepsOf(undecided?.steps), [
      [false, ambiguous],
      [false, ambiguous],
      [null, 'the pod has the label app=web, and the selector needs app=api'],
    ]);
    const choosing = [{ userAnnotations: { 'kubespiffe.io/registration': 'web-2' } }];
    const [chosen] = explainPod(world, 'shop/web-0', aKnownPod(choosing));
    assert.equal(chosen?.registration, 'shop/web-2');
    assert.deepEqual(stepsOf(chosen?.steps).slice(0, 2), [
      [true, 'it matches, with priority 0'],
      [null, 'the request asks for web-2'],
    ]);
  });

  const labelled = 'spiffe://{{ .TrustDomain }}/ns/shop/app/{{ index .PodMeta.Labels "tier" }}';
  const unusable = { spiffeIDTemplate: labelled };
  const ofCluster = (name: string, spec?: object) => ({
    ...{ ...aRegistration(name, spec), kind: 'ClusterWorkloadRegistration', metadata: { name } },
  });
  const team = 'owner of the registration';
  const owned: [what: string, own: object[], cluster: object[], reason: string, owner: string][] = [
    ['two of a team', [aRegistration('a'), aRegistration('b')], [], 'RegistrationAmbiguous', team],
    ['two of the cluster', [], [ofCluster('a'), ofCluster('b')], 'RegistrationAmbiguous', administrator],
    ['one of each', [aRegistration('a')], [ofCluster('b')], 'RegistrationAmbiguous', team],
    ['an unusable one of a team', [aRegistration('a', unusable)], [], 'IdentityInvalid', team],
    ['an unusable one of the cluster', [], [ofCluster('b', unusable)], 'IdentityInvalid', administrator],
  ];
  for (const [what, workloadregistrations, clusterworkloadregistrations, reason, owner] of owned) {
    it(`the explanation names the owner of registrations that prevent a name: ${what}`, async () => {
      const registrations = { workloadregistrations, clusterworkloadregistrations };
      const world = await aWorld({ pods: [aWirePod()], ...registrations });
      const [explained] = explainPod(world, 'shop/web-0', aKnownPod());
      assert.deepEqual([explained?.verdict.reason, explained?.verdict.owner], [reason, owner]);
      assert.ok(explained?.steps.some(({ ok }) => ok === false));
    });
  }

  it('the explanation of a volume for pod-identity has the name of the single pod', async () => {
    const pod = [{ signerName: 'kubespiffe.io/pod-identity' }];
    const world = await aWorld({ pods: [aWirePod(pod)] });
    const explained = explainPod(world, 'shop/web-0', aKnownPod(pod)).find(({ volume }) => volume !== null);
    assert.equal(explained?.spiffeId, 'spiffe://example.org/ns/shop/pod/web-0');
    assert.equal(explained?.steps.find(({ what }) => what === 'name')?.from, 'the pod itself');
  });

  it('the explanation of a pod names the setting that decides if no registration matches', async () => {
    const world = await aWorld({ pods: [aWirePod()] }, ['--default-identity', 'none']);
    const [explained] = explainPod(world, 'shop/web-0', aKnownPod());
    assert.equal(explained?.verdict.reason, 'NotRegistered');
    const step = explained?.steps.find(({ ok }) => ok === false);
    assert.deepEqual([step?.fact, step?.from], ['none matches', 'setting defaultIdentity=none of a test']);
  });

  it('the explanation of a pod without a volume for us has its identity for tokens', async () => {
    const world = await aWorld({ pods: [aWirePod([])] });
    const [spiffe, ...others] = explainPod(world, 'shop/web-0', aKnownPod([]));
    assert.deepEqual(others, []);
    assert.equal(spiffe?.volume, null);
    assert.equal(spiffe?.spiffeId, 'spiffe://example.org/ns/shop/sa/web');
    assert.equal(spiffe?.lifetimeSeconds, null);
  });
});

const now = 1_800_000_000;

/** A projected ServiceAccount token of the pod shop/web-0. */
function aToken(different: object = {}): ParsedJwt {
  const claims = {
    iss: 'https://kubernetes.default.svc',
    aud: ['spiffe://example.org/kubespiffe/token-endpoint'],
    sub: 'system:serviceaccount:shop:web',
    ...{ iat: now - 10, nbf: now - 10, exp: now + 600, jti: 'one' },
    'kubernetes.io': {
      namespace: 'shop',
      pod: { name: 'web-0', uid: 'u-1' },
      serviceaccount: { name: 'web', uid: 's-1' },
    },
    ...different,
  };
  return { header: { alg: 'ES256', kid: 'k' }, claims } as unknown as ParsedJwt;
}

const withEndpoint = ['--token-address', ':8443', '--jwt-issuer', 'https://tokens.example.org'];

describe('the explanation of a ServiceAccount token', () => {
  it('the explanation of a ServiceAccount token has the SPIFFE ID that the pod gets for it', async () => {
    const world = await aWorld({ pods: [aWirePod()] }, withEndpoint);
    const explained = explainServiceAccountToken(aToken(), world, { now });
    assert.equal(explained.verdict.reason, 'Issued');
    assert.equal(explained.spiffeId, 'spiffe://example.org/ns/shop/sa/web');
    assert.ok(explained.steps.some(({ what, fact }) => what === 'lifetime' && fact === 'at most 5m'));
  });

  const rows: [what: string, different: object, wishes: object, reason: string][] = [
    ['expired', { exp: now - 1 }, {}, 'TokenExpired'],
    ['for another audience', { aud: ['https://api.example.org'] }, {}, 'AudienceWrong'],
    [
      'not bound to a pod',
      { 'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'web', uid: 's' } } },
      {},
      'NotBoundToPod',
    ],
    ['for a registration that does not match', {}, { registration: 'api' }, 'RegistrationNotMatching'],
  ];
  for (const [what, different, wishes, reason] of rows) {
    it(`the explanation of a token names the refusal of one that is ${what}`, async () => {
      const world = await aWorld({ pods: [aWirePod()] }, withEndpoint);
      const { verdict } = explainServiceAccountToken(aToken(different), world, { now, ...wishes });
      assert.equal(verdict.reason, reason);
    });
  }

  it('the explanation of a token names the refusal of one whose pod was replaced', async () => {
    const replaced = aWirePod([{}], { metadata: { name: 'web-0', namespace: 'shop', uid: 'u-9' } });
    const world = await aWorld({ pods: [replaced] }, withEndpoint);
    assert.equal(explainServiceAccountToken(aToken(), world, { now }).verdict.reason, 'PodReplaced');
  });

  it('the explanation of a token says which setting is missing if there is no endpoint', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    const { verdict } = explainServiceAccountToken(aToken(), world, { now });
    assert.equal(verdict.reason, 'NotConfigured');
    assert.match(verdict.message, /Set tokenAddress/);
  });
});

describe('the explanation of a JWT-SVID', () => {
  const svid = (different: object) =>
    aToken({ sub: 'spiffe://example.org/ns/shop/sa/web', aud: 'https://api.example.org', ...different });

  it('the explanation of a JWT-SVID lists the pods that have its SPIFFE ID', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    const explained = explainJwtSvid(svid({}), world, { now });
    assert.deepEqual(explained.pods, ['shop/web-0']);
    assert.equal(explained.verdict.verdict, 'issue');
  });

  it('the explanation of a JWT-SVID reports why a receiver refuses it', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    const explained = explainJwtSvid(svid({ exp: now - 600 }), world, { now });
    assert.equal(explained.verdict.verdict, 'deny');
    assert.match(explained.verdict.message, /exp/);
  });
});

describe('the explanation of an open request', () => {
  const open: RequestExplanation = {
    ...{
      request: 'shop/req-2',
      signer: 'kubespiffe.io/spiffe',
      pod: 'shop/web-0',
      names: [],
      notAfter: null,
    },
    ...{ createdAt: '2026-11-29T15:00:00Z', state: 'Open', reason: 'Issued', message: 'a certificate for x' },
  };
  const ofDns = { ...open, request: 'shop/req-3', signer: dns };
  const event = (reason: string, at: string, request = 'req-1'): SignerEvent => ({
    ...{ pod: 'shop/web-0', uid: 'u-1', message: `${reason}!`, isDenial: false, reason, at, request },
  });
  const rows: [what: string, events: SignerEvent[], reason: string][] = [
    ['none without an Event', [], 'Issued'],
    ['the Event', [event('PoolUnusable', '2026-11-29T15:00:01.5Z')], 'PoolUnusable'],
    [
      'the last of several Events',
      [event('ClockSkew', '2026-11-29T15:02:00Z'), event('PoolUnusable', '2026-11-29T15:01:00Z')],
      'ClockSkew',
    ],
    [
      'an Event about an earlier request that is repeated every 10 minutes',
      [event('PoolUnusable', '2026-11-29T14:50:30Z')],
      'PoolUnusable',
    ],
    ['not an Event from long before', [event('PoolUnusable', '2026-11-29T14:49:30Z')], 'Issued'],
    ['not an Event about another signer', [event('PoolUnusable', '2026-11-29T15:00:01Z', 'req-3')], 'Issued'],
    [
      'not an Event without a reason to wait',
      [event('CertificateLacksNames', '2026-11-29T15:00:01Z')],
      'Issued',
    ],
  ];
  for (const [what, events, reason] of rows) {
    it(`the explanation of an open request has the reason that only a replica knows: ${what}`, () =>
      assert.equal(withEvent(open, [open, ofDns], events).reason, reason));
  }

  it('the explanation of an open request keeps a reason that follows from the pod', () => {
    const mismatch = { ...open, reason: 'NodeMismatch' };
    assert.equal(withEvent(mismatch, [], [event('ClockSkew', '2026-11-29T15:02:00Z')]), mismatch);
  });
});

describe('the last Event of a pod', () => {
  const waited: SignerEvent = {
    ...{ pod: 'shop/web-0', uid: 'u-1', reason: 'RegistrationAmbiguous', message: 'two of them' },
    ...{ isDenial: false, at: '2026-11-29T15:00:01Z' },
  };
  const twice = [aRegistration('web'), aRegistration('web-2')];
  const rows: [what: string, registrations: object[], event: SignerEvent, isShown: boolean][] = [
    ['is shown while the pod gets no name', twice, waited, true],
    ['is left out once the pod gets a name, and nothing waits', [aRegistration('web')], waited, false],
    ['is shown for good where it is a denial', [], { ...waited, isDenial: true }, true],
  ];
  for (const [what, workloadregistrations, event, isShown] of rows) {
    it(`the last Event of a pod ${what}`, async () => {
      const world = await aWorld({ pods: [aWirePod()], workloadregistrations });
      const seen = { requests: [], events: [event] };
      const explained = explainWholePod(world, 'shop/web-0', aKnownPod(), seen);
      assert.deepEqual(lastEventOf(explained), isShown ? event : undefined);
    });
  }
});

describe('the explanation of denials', () => {
  const denied: RequestExplanation = {
    ...{
      request: 'shop/req-1',
      signer: 'kubespiffe.io/spiffe',
      pod: 'shop/web-0',
      createdAt: '2026-11-29T15:00:00Z',
    },
    ...{
      state: 'Denied',
      reason: 'UnsupportedKeyType',
      message: 'The key is RSA2048.',
      names: [],
      notAfter: null,
    },
  };
  const event = {
    ...{ pod: 'shop/web-0', uid: 'u-1', reason: 'UnsupportedKeyType', message: 'The key is RSA2048.' },
    ...{ isDenial: true, at: '2026-11-29T14:00:00Z' },
  };

  it('the explanation of a denial reports what the same pod would get now', async () => {
    const bad = await aWorld({ pods: [aWirePod([{ keyType: 'RSA2048' }])] });
    assert.equal(denialsIn(bad, [denied], [])[0]?.now?.reason, 'UnsupportedKeyType');
    const corrected = await aWorld({ pods: [aWirePod()] });
    assert.equal(denialsIn(corrected, [denied], [])[0]?.now?.reason, 'Issued');
  });

  it('the explanation of denials lists one once if its request and its Event exist, or only the Event', async () => {
    const world = await aWorld({ pods: [aWirePod()] });
    assert.equal(denialsIn(world, [denied], [event]).length, 1);
    const [only] = denialsIn(world, [], [event]);
    assert.deepEqual([only?.request, only?.podExists], [null, true]);
    assert.equal(denialsIn(world, [], [{ ...event, uid: 'another' }])[0]?.podExists, false);
    assert.deepEqual(denialsIn(world, [], [{ ...event, isDenial: false }]), []);
  });
});
