import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { RegistrationPolicy } from '../../signer/identity/guard-rails.ts';
import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import { createRegistrations } from '../../signer/identity/registrations.ts';
import { matches } from '../../signer/identity/resolve.ts';
import { labelIndex } from '../../signer/kube/label-index.ts';
import type { Labels } from '../../signer/kube/label-selector.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { aPod } from '../issuance/examples.ts';
import { aClusterRegistration, aPolicy, aRegistration } from './registrations.ts';

function setup(className?: string) {
  const stores = {
    workload: createStore<Registration>({ time: realTime }),
    cluster: createStore<Registration>({ time: realTime }),
    policies: createStore<RegistrationPolicy>({ time: realTime }),
    namespaces: createStore<Labels>({ time: realTime }),
    pods: createStore<PodFacts>({ time: realTime, indexes: { label: labelIndex } }),
  };
  const put = (registration: Registration) => {
    const store = registration.namespace === undefined ? stores.cluster : stores.workload;
    store.set(nameOfRegistration(registration), registration);
  };
  return { ...stores, put, registrations: createRegistrations(stores, className) };
}

const namesIn = (registrations: readonly Registration[]) => registrations.map(nameOfRegistration).sort();

const key = fc.constantFrom('app', 'tier', 'constructor');
const value = fc.constantFrom('a', 'b', '');
const labels = fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true });
const expression = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.uniqueArray(value, { minLength: 1 }),
  }),
  fc.record({ key, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
);
const selector = fc.record(
  { matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 2 }) },
  { requiredKeys: [] },
);
const account = fc.constantFrom('web', 'db', 'job');
const common = { podSelector: selector, serviceAccountNames: fc.uniqueArray(account, { minLength: 1 }) };
const optional = { requiredKeys: [] };
const namespace = fc.constantFrom('shop', 'bank');
const ofTeam = fc.record({ spec: fc.record(common, optional), namespace });
const ofCluster = fc.record({ ...common, namespaceSelector: selector }, optional);
const cluster = fc.record({
  teams: fc.array(ofTeam, { maxLength: 6 }),
  admins: fc.array(ofCluster, { maxLength: 6 }),
  pods: fc.array(fc.record({ namespace, labels, serviceAccountName: account }), {
    minLength: 1,
    maxLength: 8,
  }),
  namespaces: fc.record({ shop: labels, bank: labels }, { requiredKeys: ['shop'] }),
});

describe('the registrations of a cluster', () => {
  it('matching registrations are found for a pod, and matching pods for a registration, and no others', () => {
    let found = 0;
    fc.assert(
      fc.property(cluster, ({ teams, admins, pods, namespaces }) => {
        const all = setup();
        for (const [name, ofNamespace] of Object.entries(namespaces)) all.namespaces.set(name, ofNamespace);
        for (const [at, pod] of pods.entries()) all.pods.set(`${pod.namespace}/pod-${at}`, aPod(pod));
        const given = [
          ...teams.map(({ spec, namespace }, at) => aRegistration(spec, `r${at}`, namespace)),
          ...admins.map((spec, at) => aClusterRegistration(spec, `c${at}`)),
        ];
        for (const registration of given) all.put(registration);
        const { registrations } = all;
        const named = [...all.pods.keys()].map((podKey) => {
          const [namespace = '', podName = ''] = podKey.split('/');
          return {
            podKey,
            pod: registrations.namedPod({ namespace, podName }, all.pods.get(podKey) as PodFacts),
          };
        });
        for (const { pod } of named) {
          const expected = namesIn(given.filter((each) => matches(each, pod)));
          assert.deepEqual(namesIn(registrations.matching(pod)), expected);
          found += expected.length;
        }
        for (const registration of given) {
          const expected = named.filter(({ pod }) => pod.namespaceLabels && matches(registration, pod));
          const pods = [...registrations.podsOf(registration, nameOfRegistration(registration))].filter(
            (podKey) => namespaces[podKey.split('/')[0] as 'shop'],
          );
          assert.deepEqual(pods.sort(), expected.map(({ podKey }) => podKey).sort());
        }
        for (const registration of given.slice(0, 3)) {
          (registration.namespace === undefined ? all.cluster : all.workload).delete(
            nameOfRegistration(registration),
          );
        }
        for (const { pod } of named) {
          const left = given.slice(3).filter((each) => matches(each, pod));
          assert.deepEqual(namesIn(registrations.matching(pod)), namesIn(left));
        }
      }),
      { numRuns: 500 },
    );
    assert.ok(found > 500);
  });

  it('the registrations are those that were there before, and follow each change', () => {
    const workload = createStore<Registration>({ time: realTime });
    workload.set('shop/web', aRegistration({ podSelector: { matchLabels: { app: 'web' } } }));
    const stores = { ...setup(), workload };
    const registrations = createRegistrations(stores, undefined);
    const found = (app: string) => {
      const pod = registrations.namedPod({ namespace: 'shop', podName: 'p' }, aPod({ labels: { app } }));
      return namesIn(registrations.matching(pod));
    };
    assert.deepEqual([found('web'), found('db')], [['shop/web'], []]);
    workload.set('shop/web', aRegistration({ podSelector: { matchLabels: { app: 'db' } } }));
    assert.deepEqual([found('web'), found('db')], [[], ['shop/web']]);
    workload.set('shop/web', aRegistration({ podSelector: 5 }));
    assert.deepEqual([found('web'), found('db')], [[], []]);
  });

  it('only registrations of the class of the signer are used', () => {
    for (const [own, expected] of [
      [undefined, ['shop/plain']],
      ['blue', ['shop/blue']],
    ] as const) {
      const { put, registrations } = setup(own);
      put(aRegistration({}, 'plain'));
      put(aRegistration({ className: 'blue' }, 'blue'));
      const pod = registrations.namedPod({ namespace: 'shop', podName: 'p' }, aPod());
      assert.deepEqual(namesIn(registrations.matching(pod)), expected);
      assert.deepEqual([...registrations.podsOf(aRegistration({ className: 'red' }), 'shop/web')], []);
    }
  });

  it('registrations are found for a policy and for a namespace as far as names depend on these', () => {
    const { put, pods, namespaces, registrations } = setup();
    for (const name of ['shop', 'bank']) namespaces.set(name, { tier: 'front' });
    for (const name of ['shop/a', 'shop/b', 'bank/c'])
      pods.set(name, aPod({ labels: { app: name.slice(-1) } }));
    put(aRegistration({ podSelector: { matchLabels: { app: 'a' } } }));
    put(
      aClusterRegistration(
        {
          namespaceSelector: { matchLabels: { tier: 'front' } },
          podSelector: { matchLabels: { app: 'b' } },
        },
        'front',
      ),
    );
    put(aClusterRegistration({}, 'all'));
    assert.deepEqual(
      [...registrations.podsOfPolicy(aPolicy({ namespaces: ['shop', 'bank'], pathPrefixes: ['/x/'] }))],
      ['shop/a'],
    );
    assert.deepEqual([...registrations.podsOfNamespace('shop', { tier: 'front' })], ['shop/b']);
    assert.deepEqual([...registrations.podsOfNamespace('shop', { tier: 'back' })], []);
  });
});

describe('ten thousand pods', () => {
  const { pods, namespaces } = setup();
  const looked = { pods: 0 };
  for (let at = 0; at < 100; at += 1)
    namespaces.set(`ns-${at}`, { 'kubernetes.io/metadata.name': `ns-${at}` });
  for (let at = 0; at < 10_000; at += 1) {
    pods.set(
      `ns-${at % 100}/pod-${at}`,
      aPod({ labels: { team: `t-${at % 100}`, app: `app-${at % 1000}` } }),
    );
  }
  const counting = createRegistrations(
    {
      ...setup(),
      namespaces,
      pods: {
        keysBy: pods.keysBy,
        get(podKey) {
          looked.pods += 1;
          return pods.get(podKey);
        },
      },
    },
    undefined,
  );

  for (const kind of ['r-8', 'c-9']) {
    it(`a change that affects ten of ten thousand pods looks at ten pods: ${kind}`, () => {
      const at = Number(kind.slice(2));
      const podSelector = { matchLabels: { app: `app-${at}` } };
      const registration =
        at === 8
          ? aRegistration({ podSelector }, kind, `ns-${at}`)
          : aClusterRegistration({ podSelector }, kind);
      looked.pods = 0;
      const affected = [...counting.podsOf(registration, nameOfRegistration(registration))];
      assert.equal(affected.length, 10);
      // Each is read by its label, and for its ServiceAccount.
      assert.equal(looked.pods, 20);
    });
  }
});
