import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { serviceDomain } from '../../signer/config/name-values.ts';
import { type PodOfServices, serviceNames } from '../../signer/identity/service-names.ts';
import { createServices, type Services } from '../../signer/identity/services.ts';
import { type ServiceFacts, toServiceFacts } from '../../signer/kube/services.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Service } from '../../signer/kube/types.ts';

const domains = ['svc.cluster.local'];

type Spec = NonNullable<Service['spec']>;
const web = { selector: { app: 'web' } };

/** The Services of a cluster, by `namespace/name`. */
function servicesOf(specs: Readonly<Record<string, Spec>>): Services {
  const store = createStore<ServiceFacts>({ time: realTime });
  for (const [key, spec] of Object.entries(specs)) {
    const facts = toServiceFacts({ metadata: { name: key }, spec });
    if (facts) store.set(key, facts);
  }
  return createServices(store);
}

const pod = (facts: PodOfServices['facts'] = { labels: { app: 'web' } }, namespace = 'shop') => ({
  namespace,
  facts,
});

describe('the DNS names of a pod', () => {
  const member = { labels: { app: 'db' }, hostname: 'db-0', subdomain: 'db' };
  const rows: [string, Record<string, Spec>, PodOfServices, string[]][] = [
    [
      'of the one Service that selects it',
      { 'shop/web': web },
      pod(),
      ['web.shop.svc', 'web.shop.svc.cluster.local'],
    ],
    [
      'of two Services, in the order of their names',
      { 'shop/web': web, 'shop/api': { selector: { app: 'web', tier: 'front' } } },
      pod({ labels: { app: 'web', tier: 'front' } }),
      ['api.shop.svc', 'api.shop.svc.cluster.local', 'web.shop.svc', 'web.shop.svc.cluster.local'],
    ],
    [
      'of a member of a headless Service, with its own',
      { 'shop/db': { selector: { app: 'db' }, clusterIP: 'None' } },
      pod(member),
      ['db.shop.svc', 'db.shop.svc.cluster.local', 'db-0.db.shop.svc', 'db-0.db.shop.svc.cluster.local'],
    ],
    [
      'with a hostname, in a Service with a cluster IP, without its own',
      { 'shop/db': { selector: { app: 'db' }, clusterIP: '10.0.0.1' } },
      pod(member),
      ['db.shop.svc', 'db.shop.svc.cluster.local'],
    ],
    [
      'whose subdomain is another Service, without its own',
      { 'shop/all': { selector: { app: 'db' }, clusterIP: 'None' } },
      pod(member),
      ['all.shop.svc', 'all.shop.svc.cluster.local'],
    ],
    [
      'with a subdomain and no hostname, without its own',
      { 'shop/db': { selector: { app: 'db' }, clusterIP: 'None' } },
      pod({ labels: { app: 'db' }, subdomain: 'db' }),
      ['db.shop.svc', 'db.shop.svc.cluster.local'],
    ],
    [
      'beside a Service without selector, a Service of another namespace, and an ExternalName Service',
      {
        'shop/web': web,
        'shop/manual': {},
        'shop/empty': { selector: {} },
        'bank/web': web,
        'shop/external': { ...web, type: 'ExternalName' },
      },
      pod(),
      ['web.shop.svc', 'web.shop.svc.cluster.local'],
    ],
  ];
  for (const [name, specs, of, expected] of rows) {
    it(`a pod has names ${name}`, () => {
      assert.deepEqual(serviceNames(of, servicesOf(specs), domains), { ok: true, dnsNames: expected });
    });
  }

  it('a pod has a name in each of the configured domains', () => {
    const named = serviceNames(pod(), servicesOf({ 'shop/web': web }), [...domains, 'svc.clusterset.local']);
    assert.deepEqual(named.ok && named.dnsNames, [
      'web.shop.svc',
      'web.shop.svc.cluster.local',
      'web.shop.svc.clusterset.local',
    ]);
  });

  it('a pod has only the names of the chosen Services', () => {
    const services = servicesOf({ 'shop/web': web, 'shop/api': web, 'shop/old': web });
    const named = serviceNames(pod(), services, domains, ['web', 'api']);
    assert.deepEqual(named.ok && named.dnsNames.filter((name) => name.endsWith('.svc')), [
      'web.shop.svc',
      'api.shop.svc',
    ]);
  });

  it('names of 63 characters each are valid DNS names in the longest domain that is accepted', () => {
    const long = 'a'.repeat(63);
    const domain = `svc.${'b'.repeat(50)}.local`;
    assert.ok(domain.length <= 61 && serviceDomain.parse(domain).ok);
    const services = servicesOf({ [`${long}/${long}`]: { ...web, clusterIP: 'None' } });
    const named = serviceNames(
      pod({ labels: { app: 'web' }, hostname: long, subdomain: long }, long),
      services,
      [`${domain}x`],
    );
    assert.ok(named.ok);
    assert.equal(Math.max(...named.dnsNames.map(({ length }) => length)), 253);
  });

  const selectingAll = (count: number) =>
    servicesOf(Object.fromEntries(Array.from({ length: count }, (_, at) => [`shop/web-${at}`, web])));
  const refused: [string, Services, PodOfServices, string[] | undefined, string, RegExp][] = [
    [
      'no Service selects it',
      servicesOf({ 'shop/web': web }),
      pod({ labels: { app: 'api' } }),
      undefined,
      'NoService',
      /labels app=api$/,
    ],
    ['it has no labels', servicesOf({ 'shop/web': web }), pod({}), undefined, 'NoService', /no labels$/],
    [
      'it has many labels',
      servicesOf({}),
      pod({ labels: Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`l${at}`, ''])) }),
      undefined,
      'NoService',
      /l9= and 20 others$/,
    ],
    [
      'its Services give more than 100 names',
      selectingAll(51),
      pod(),
      undefined,
      'TooManyNames',
      /^51 Services give 102 names/,
    ],
    [
      'a chosen Service does not exist',
      servicesOf({ 'shop/web': web }),
      pod(),
      ['web', 'api'],
      'ServiceNotMatching',
      /^shop\/api: there is no such Service/,
    ],
    [
      'a chosen Service does not select it',
      servicesOf({ 'shop/web': web, 'shop/api': { selector: { app: 'api' } } }),
      pod(),
      ['api'],
      'ServiceNotMatching',
      /^shop\/api: the pod has the label app=web, and the selector needs app=api$/,
    ],
    [
      'a chosen Service is of another namespace',
      servicesOf({ 'bank/vault': web }),
      pod(),
      ['vault'],
      'ServiceNotMatching',
      /^shop\/vault: there is no such Service/,
    ],
  ];
  for (const [name, services, of, chosen, reason, detail] of refused) {
    it(`a pod has no names if ${name}`, () => {
      const named = serviceNames(of, services, domains, chosen);
      assert.ok(!named.ok);
      assert.equal(named.reason, reason);
      assert.match(named.detail, detail);
    });
  }

  it('a pod has the names of all of 50 Services with the same selector', () => {
    const named = serviceNames(pod(), selectingAll(50), domains);
    assert.equal(named.ok && named.dnsNames.length, 100);
  });

  it('names of a pod follow the Services as they change', () => {
    const store = createStore<ServiceFacts>({ time: realTime });
    const services = createServices(store);
    const named = () => serviceNames(pod(), services, []);
    const facts = toServiceFacts({ metadata: { name: 'web' }, spec: web });
    assert.ok(facts);
    store.set('shop/web', facts);
    assert.deepEqual(named(), { ok: true, dnsNames: ['web.shop.svc'] });
    store.set('shop/web', { ...facts, selector: { equal: [['app', 'api']], expressions: [] } });
    assert.equal(named().ok, false);
    store.set('shop/web', facts);
    assert.equal(named().ok, true);
    store.delete('shop/web');
    assert.equal(named().ok, false);
  });

  it('names are never those of a Service of another namespace, with any Services and any hostname', () => {
    const label = fc.constantFrom('svc', 'a');
    const key = fc.tuple(label, label).map((parts) => parts.join('/'));
    const headless = fc.constant({ ...web, clusterIP: 'None' });
    const domain = fc
      .array(label, { minLength: 1, maxLength: 3 })
      .map((labels) => labels.join('.'))
      .filter((text) => serviceDomain.parse(text).ok);
    fc.assert(
      fc.property(
        fc.dictionary(key, headless, { minKeys: 1 }),
        fc.array(domain, { minLength: 1, maxLength: 3 }),
        ...([label, label, label] as const),
        (specs, inDomains, namespace, hostname, subdomain) => {
          const facts = { labels: { app: 'web' }, hostname, subdomain };
          const named = serviceNames({ namespace, facts }, servicesOf(specs), inDomains);
          const other = namespace === 'svc' ? 'a' : 'svc';
          // The names of Services of another namespace: one label before `<namespace>.<domain>`.
          const ofOthers = ['svc', ...inDomains].flatMap((place) =>
            ['svc', 'a'].map((service) => `${service}.${other}.${place}`),
          );
          for (const name of named.ok ? named.dnsNames : []) assert.ok(!ofOthers.includes(name), name);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
