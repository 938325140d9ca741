import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explainPod } from '../../tools/explain/pod.ts';
import { aKnownPod, aService, aWirePod, aWorld } from './world.ts';

const dns = 'kubespiffe.io/service-dns';

describe('the explanation of a pod', () => {
  it('gives the default identity, the facts behind it, and the shortest of the lifetimes', async () => {
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

  it('lists the Services that select the pod, and why the others do not', async () => {
    const pod = [{ signerName: dns }];
    const services = [aService('web'), aService('api', { app: 'api' }), aService('plain', {})];
    const world = await aWorld({ pods: [aWirePod(pod)], services });
    const explained = explainPod(world, 'shop/web-0', aKnownPod(pod), dns);
    assert.deepEqual(explained[0]?.dnsNames, ['web.shop.svc', 'web.shop.svc.cluster.local']);
    const steps = explained[0]?.steps.filter(({ what }) => what === 'service');
    assert.deepEqual(
      steps?.map(({ ok, fact }) => [ok, fact]),
      [
        [true, 'shop/web is a Service that selects the pod'],
        [null, 'shop/api: the label app is "web", not "api"'],
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
    it(`says why nothing is issued, and who acts: ${what}`, async () => {
      const world = await aWorld({ pods: [aWirePod([source], different)] });
      const all = explainPod(world, 'shop/web-0', aKnownPod([source], different));
      const explained = all.find(({ volume }) => volume !== null);
      assert.equal(explained?.verdict.reason, reason);
      assert.equal(explained?.verdict.owner, owner);
      assert.equal(explained?.lifetimeSeconds, null);
      assert.ok(explained?.verdict.message);
    });
  }

  it('covers the identity for tokens of a pod without any volume for us', async () => {
    const world = await aWorld({ pods: [aWirePod([])] });
    const [spiffe, ...others] = explainPod(world, 'shop/web-0', aKnownPod([]));
    assert.deepEqual(others, []);
    assert.equal(spiffe?.volume, null);
    assert.equal(spiffe?.spiffeId, 'spiffe://example.org/ns/shop/sa/web');
    assert.equal(spiffe?.lifetimeSeconds, null);
  });
});
