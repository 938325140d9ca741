import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { factsOf } from '../../signer/identity/facts.ts';
import { readPolicy } from '../../signer/identity/guard-rails.ts';
import { registrationAnnotation } from '../../signer/identity/identify-registered.ts';
import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import type { Informer } from '../../signer/kube/informer.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore, type Store } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Follow, IdentifierNeeds } from '../../signer/signers/profile.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import { aClusterRegistration, aRegistration, templateContext } from '../identity/registrations.ts';
import { aPod } from '../issuance/examples.ts';

/** The decision of the signer, on stores that stand for the cluster. */
function setup(different: object = {}, isMissing = false) {
  const pods = createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } });
  const stores = new Map<string, Store<unknown>>();
  const woken: string[] = [];
  const follow = ((spec, podsOf) => {
    const store = createStore<unknown>({ time: realTime });
    stores.set(spec.resource.name, store);
    factsOf(store, podsOf as never).onChange((podKey) => woken.push(podKey));
    return { store, isMissing: () => isMissing } as Pick<Informer<unknown>, 'store' | 'isMissing'>;
  }) as Follow;
  const config = {
    ...{ ...templateContext, defaultIdentity: 'serviceAccount', registrationClass: undefined },
    serviceDomains: ['svc.cluster.local'],
    ...different,
  };
  const needs = { pods: { store: pods }, config, follow, run() {} } as unknown as IdentifierNeeds;
  const identify = spiffe.identifier({ trustDomain: 'example.org' } as never, needs);
  const store = (name: string) => stores.get(name) as Store<unknown>;
  store('namespaces').set('shop', {});
  const put = (registration: Registration) => {
    const kind =
      registration.namespace === undefined ? 'clusterworkloadregistrations' : 'workloadregistrations';
    store(kind).set(nameOfRegistration(registration), registration);
  };
  return {
    ...{ pods, woken, store, put },
    /** The names of a pod, or why it has none. */
    nameOf(facts: Partial<PodFacts> = {}, annotations: Record<string, string> = {}, namespace = 'shop') {
      const named = { namespace, podName: 'web-0', podUID: 'pod-uid', serviceAccountName: 'web' };
      const identity = identify(named, aPod({ labels: { app: 'web' }, ...facts }), annotations);
      if (!identity.ok) return `${identity.reason}: ${identity.detail}`;
      return [...identity.subject.uris, ...identity.subject.dnsNames].join(' ');
    },
  };
}

const ofServiceAccount = 'spiffe://example.org/ns/shop/sa/web';
const ofApp = 'spiffe://example.org/ns/shop/app/web';
const choosing = (name: string) => ({ [registrationAnnotation]: name });

describe('the name of a pod', () => {
  it('a pod has the name of its ServiceAccount while no registration matches, and then that of the registration', () => {
    const { nameOf, put, store } = setup();
    put(aRegistration({ podSelector: { matchLabels: { app: 'db' } } }));
    assert.equal(nameOf(), ofServiceAccount);
    put(aRegistration({ podSelector: { matchLabels: { app: 'web' } } }));
    assert.equal(nameOf(), ofApp);
    store('workloadregistrations').replace([]);
    assert.equal(nameOf(), ofServiceAccount);
  });

  it('a pod keeps the name of its ServiceAccount if the API server serves no registrations', () => {
    assert.equal(setup({}, true).nameOf(), ofServiceAccount);
  });

  it('a pod has no name without a registration if defaultIdentity is none, and the reason says what would help', () => {
    const { nameOf, put } = setup({ defaultIdentity: 'none' });
    assert.equal(nameOf(), 'NotRegistered: there is none for the namespace shop');
    const selector = { podSelector: { matchLabels: { app: 'job' } } };
    put(
      aClusterRegistration({ ...selector, namespaceSelector: { matchLabels: { tier: 'x' } } }, 'elsewhere'),
    );
    assert.equal(nameOf(), 'NotRegistered: there is none for the namespace shop');
    put(aClusterRegistration(selector, 'jobs'));
    assert.equal(
      nameOf(),
      'NotRegistered: jobs: the pod has the label app=web, and the selector needs app=job',
    );
    put(aRegistration({ podSelector: { matchLabels: { app: 'db' } } }));
    assert.match(
      nameOf(),
      /^NotRegistered: shop\/web: the pod has the label app=web, and the selector needs app=db; jobs: /,
    );
    for (const other of ['a', 'b', 'c']) put(aRegistration({ serviceAccountNames: ['x'] }, other));
    assert.equal(nameOf().split('; ').length, 3);
    put(aRegistration());
    assert.equal(nameOf(), ofApp);
    const missing = setup({ defaultIdentity: 'none' }, true).nameOf();
    assert.equal(missing, 'NotRegistered: the API server serves no registrations; apply manifests/crds');
  });

  it('a pod has no name in a namespace with more than 1,000 registrations, so that they cannot keep the signer busy', () => {
    const { nameOf, put, store } = setup();
    const other = { podSelector: { matchLabels: { app: 'db' } } };
    for (let at = 0; at < 1_000; at += 1) put(aRegistration(other, `r${at}`));
    assert.equal(nameOf(), ofServiceAccount);
    put(aRegistration(other, 'more'));
    assert.equal(
      nameOf(),
      'IdentityInvalid: the namespace shop has 1001 WorkloadRegistrations, and at most 1000 are allowed; delete some',
    );
    assert.equal(nameOf({}, {}, 'bank').slice(0, 9), 'spiffe://');
    store('workloadregistrations').delete('shop/more');
    assert.equal(nameOf(), ofServiceAccount);
  });

  it('a request may choose among the registrations that match, and no other', () => {
    const { nameOf, put } = setup();
    put(aRegistration({}, 'one'));
    put(aRegistration({ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/shop/two' }, 'two'));
    put(aRegistration({ serviceAccountNames: ['db'] }, 'db'));
    put(aRegistration({ className: 'blue' }, 'blue'));
    assert.equal(nameOf(), 'RegistrationAmbiguous: shop/one, shop/two');
    assert.equal(nameOf({}, choosing('two')), 'spiffe://example.org/ns/shop/two');
    assert.equal(
      nameOf({}, choosing('db')),
      'RegistrationNotMatching: shop/db: the ServiceAccount of the pod is web, not db',
    );
    assert.equal(
      nameOf({}, choosing('none')),
      'RegistrationNotMatching: there is no none in shop or of the cluster',
    );
    assert.equal(
      nameOf({}, choosing('blue')),
      "RegistrationNotMatching: shop/blue: its className is blue, which is not this signer's",
    );
  });

  it('a choice that cannot be the name of a registration is refused', () => {
    const check = spiffe.annotations?.[registrationAnnotation];
    assert.equal(check?.('web.v2'), undefined);
    for (const name of ['', 'Web', 'shop/web', 'a'.repeat(254)]) {
      assert.match(check?.(name) ?? '', /which is not the name of a registration/);
    }
  });

  it('a pod waits for the labels of its namespace if a registration selects by such labels', () => {
    const { nameOf, put } = setup();
    assert.equal(nameOf({}, {}, 'new'), 'spiffe://example.org/ns/new/sa/web');
    put(
      aClusterRegistration({
        namespaceSelector: { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] },
      }),
    );
    assert.equal(nameOf({}, {}, 'new'), 'PodNotVisible: the namespace new was not seen yet');
    assert.equal(nameOf(), ofApp);
  });

  it('a pod has the DNS names of the Services that select it if its registration says so', () => {
    const { nameOf, put, store } = setup();
    put(aRegistration({ autoPopulateDNSNames: true }));
    assert.equal(nameOf(), ofApp);
    store('services').set('shop/web', {
      selector: { equal: [['app', 'web']], expressions: [] },
      isHeadless: false,
    });
    assert.equal(nameOf(), `${ofApp} web.shop.svc web.shop.svc.cluster.local`);
    for (let at = 0; at < 60; at += 1) {
      store('services').set(`shop/s${at}`, {
        selector: { equal: [['app', 'web']], expressions: [] },
        isHeadless: false,
      });
    }
    assert.match(nameOf(), /^IdentityInvalid: WorkloadRegistration shop\/web: 61 Services give 122 names/);
  });
});

describe('the requests that a change wakes', () => {
  const ten = Array.from({ length: 10 }, (_, at) => `shop/web-${at}`);
  const changed = (act: (cluster: ReturnType<typeof setup>) => void) => {
    const cluster = setup();
    for (const key of ten) cluster.pods.set(key, aPod({ labels: { app: 'web' } }));
    for (let at = 0; at < 9_990; at += 1)
      cluster.pods.set(`shop/other-${at}`, aPod({ labels: { app: `app-${at}` } }));
    cluster.put(aRegistration({ podSelector: { matchLabels: { app: 'web' } } }));
    cluster.woken.length = 0;
    act(cluster);
    return cluster.woken.sort();
  };
  const selector = { podSelector: { matchLabels: { app: 'web' } } };
  const rows: [change: string, act: (cluster: ReturnType<typeof setup>) => void, woken: string[]][] = [
    [
      'a registration that now gives another name',
      ({ put }) => put(aRegistration({ ...selector, hint: 'x' })),
      ten,
    ],
    [
      'a registration that now selects other pods',
      ({ put }) => put(aRegistration({ podSelector: { matchLabels: { app: 'app-7' } } })),
      ['shop/other-7', ...ten],
    ],
    ['a registration that is listed again', ({ put }) => put(aRegistration(selector)), []],
    ['a registration that is deleted', ({ store }) => store('workloadregistrations').delete('shop/web'), ten],
    [
      'a registration of another class',
      ({ put }) => put(aRegistration({ ...selector, className: 'blue' }, 'blue')),
      [],
    ],
    ['a registration of another namespace', ({ put }) => put(aRegistration(selector, 'web', 'bank')), []],
    ['a registration of the cluster', ({ put }) => put(aClusterRegistration(selector)), ten],
    [
      'a policy that grants something to the namespace',
      ({ store }) =>
        store('clusterregistrationpolicies').set(
          'default',
          readPolicy({ spec: { grants: [{ namespaces: ['shop'] }] } }),
        ),
      ten,
    ],
    [
      'a policy that grants something to others',
      ({ store }) =>
        store('clusterregistrationpolicies').set(
          'default',
          readPolicy({ spec: { grants: [{ namespaces: ['bank'] }] } }),
        ),
      [],
    ],
    [
      'labels of a namespace by which nothing selects',
      ({ store }) => store('namespaces').set('shop', { a: 'b' }),
      [],
    ],
  ];
  for (const [change, act, woken] of rows) {
    it(`a change wakes the requests of the pods that it affects, ${woken.length} of 10,000: ${change}`, () => {
      assert.deepEqual(changed(act), woken);
    });
  }

  it('a namespace that passes its limit of registrations, or gets back below it, wakes the requests of all its pods', () => {
    const inShop = ['shop/web-0', 'shop/web-1'];
    const { pods, woken, put, store, nameOf } = setup();
    for (const key of [...inShop, 'bank/web-0']) pods.set(key, aPod({ labels: { app: 'web' } }));
    const others = { podSelector: { matchLabels: { app: 'other' } } };
    for (let at = 0; at < 1000; at += 1) put(aRegistration(others, `r${at}`));
    const wokenBy = (act: () => void) => {
      woken.length = 0;
      act();
      return [...woken].sort();
    };
    assert.deepEqual(
      wokenBy(() => put(aRegistration({ ...others, hint: 'x' }, 'r0'))),
      [],
    );
    assert.deepEqual(
      wokenBy(() => put(aRegistration({ ...others, className: 'blue' }, 'not-ours'))),
      [],
    );
    assert.deepEqual(
      wokenBy(() => put(aRegistration(others, 'one-more'))),
      inShop,
    );
    assert.match(nameOf(), /has 1001 WorkloadRegistrations/);
    assert.deepEqual(
      wokenBy(() => put(aRegistration(others, 'two-more'))),
      [],
    );
    assert.deepEqual(
      wokenBy(() => store('workloadregistrations').delete('shop/two-more')),
      [],
    );
    assert.deepEqual(
      wokenBy(() => store('workloadregistrations').delete('shop/r0')),
      inShop,
    );
    assert.equal(nameOf(), ofServiceAccount);
  });

  it('a change of namespace labels wakes the requests of its pods if a registration selects by such labels', () => {
    const woken = changed(({ put, store, woken }) => {
      put(aClusterRegistration({ ...selector, namespaceSelector: { matchLabels: { tier: 'front' } } }));
      assert.deepEqual(woken, []);
      store('namespaces').set('shop', { tier: 'front' });
    });
    assert.deepEqual(woken, ten);
  });
});
