import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { factsOf } from '../../signer/identity/facts.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { type ServiceFacts, toServiceFacts } from '../../signer/kube/services.ts';
import { createStore, type Store } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Service } from '../../signer/kube/types.ts';
import type { IdentifierNeeds } from '../../signer/signers/profile.ts';
import { allProfiles } from '../../signer/signers/profiles.ts';
import { serviceDns } from '../../signer/signers/service-dns.ts';
import { aPod } from '../issuance/examples.ts';

/** The identifier of the profile, on stores that stand for the cluster. */
function setup() {
  const pods = createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } });
  const services = createStore<ServiceFacts>({ time: realTime });
  const woken: string[] = [];
  const needs = {
    pods: { store: pods },
    config: { serviceDomains: ['svc.cluster.local'] },
    follow(_spec: unknown, podsOf: Parameters<typeof factsOf<ServiceFacts>>[1]) {
      factsOf(services, podsOf).onChange((podKey) => woken.push(podKey));
      return { store: services as Store<unknown> };
    },
    run() {},
  };
  const identify = serviceDns.identifier({} as never, needs as unknown as IdentifierNeeds);
  return {
    pods,
    woken,
    services,
    setService(key: string, spec: Service['spec']) {
      const facts = toServiceFacts({ metadata: { name: key }, ...(spec && { spec }) });
      if (facts) services.set(key, facts);
      else services.delete(key);
    },
    identify(facts: Partial<PodFacts>, annotations = {}) {
      const named = { namespace: 'shop', podName: 'web-0', podUID: 'pod-uid', serviceAccountName: 'web' };
      return identify(named, aPod(facts), annotations);
    },
  };
}

const web = { selector: { app: 'web' } };
const ofWeb = { labels: { app: 'web' } };

describe('the signer of DNS names', () => {
  it('the signer of DNS names is the only one without a trust domain, so that commands find its roots by that', () => {
    assert.deepEqual(
      allProfiles.filter(({ hasTrustDomain }) => !hasTrustDomain),
      [serviceDns],
    );
  });
  it('the signer of DNS names names a pod by its Services only, and shows how many there are', () => {
    const { identify, setService } = setup();
    setService('shop/web', web);
    assert.deepEqual(identify(ofWeb), {
      ok: true,
      subject: {
        uris: [],
        dnsNames: ['web.shop.svc', 'web.shop.svc.cluster.local'],
        display: 'web.shop.svc (2 DNS names)',
      },
    });
  });

  it('the signer of DNS names gives only the names of the Services that a request chooses', () => {
    const { identify, setService } = setup();
    setService('shop/web', web);
    setService('shop/other', web);
    const identity = identify(ofWeb, { 'kubespiffe.io/services': 'other' });
    assert.deepEqual(identity.ok && identity.subject.dnsNames, [
      'other.shop.svc',
      'other.shop.svc.cluster.local',
    ]);
  });

  it('the signer of DNS names lets a request choose among 501 Services with the same selector', () => {
    const { identify, setService } = setup();
    for (let each = 0; each <= 500; each += 1) setService(`shop/web-${each}`, web);
    const all = identify(ofWeb);
    assert.equal(!all.ok && all.reason, 'TooManyNames');
    assert.ok(identify(ofWeb, { 'kubespiffe.io/services': 'web-7,web-8' }).ok);
  });

  it('the signer of DNS names knows one annotation, and refuses values that can never be right', () => {
    assert.deepEqual(Object.keys(serviceDns.annotations ?? {}), ['kubespiffe.io/services']);
    const check = serviceDns.annotations?.['kubespiffe.io/services'];
    assert.equal(check?.('web,api'), undefined);
    assert.match(check?.('bank/vault') ?? '', /not the name of a Service/);
  });

  it('a change of a Service wakes the pods that it selects, and those that it selected before, and no others', () => {
    const { pods, woken, setService } = setup();
    pods.set('shop/web-0', aPod(ofWeb));
    pods.set('shop/api-0', aPod({ labels: { app: 'api' } }));
    pods.set('bank/web-0', aPod(ofWeb));
    const after = (change: () => void) => {
      woken.length = 0;
      change();
      return [...woken];
    };
    assert.deepEqual(
      after(() => setService('shop/web', web)),
      ['shop/web-0'],
    );
    assert.deepEqual(
      after(() => setService('shop/web', web)),
      [],
    );
    assert.deepEqual(
      after(() => setService('shop/web', { selector: { app: 'api' } })),
      ['shop/web-0', 'shop/api-0'],
    );
    assert.deepEqual(
      after(() => setService('shop/web', undefined)),
      ['shop/api-0'],
    );
  });

  const strange: [what: string, spec: unknown][] = [
    ['no spec', undefined],
    ['a null selector', { selector: null }],
    ['an empty selector', { selector: {} }],
    ['the type ExternalName and a selector', { ...web, type: 'ExternalName' }],
    ['labels of every object in its selector', { selector: { constructor: 'x', toString: 'y' } }],
  ];
  for (const [what, spec] of strange) {
    it(`the signer of DNS names gives no name for a Service with ${what}`, () => {
      const { identify, setService } = setup();
      setService('shop/web', spec as Service['spec']);
      const identity = identify(ofWeb);
      assert.equal(!identity.ok && identity.reason, 'NoService');
    });
  }

  it('the signer of DNS names makes certificates for servers only', () => {
    assert.deepEqual(serviceDns.certificate({} as never).extKeyUsage, ['serverAuth']);
  });
});
