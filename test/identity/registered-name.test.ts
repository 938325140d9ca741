import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readPolicy } from '../../signer/identity/guard-rails.ts';
import type { Registration } from '../../signer/identity/registration.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { aClusterRegistration, aNamedPod, aPolicy, aRegistration, nameFor } from './registrations.ts';

const td = 'spiffe://{{ .TrustDomain }}';
const labelled = (path: string) => ({ spiffeIDTemplate: `${td}${path}` });
const app = '{{ index .PodMeta.Labels "app" }}';
const team = '{{ index .PodMeta.Annotations "example.org/team" }}';

function shownName(registration: Registration, pod = aNamedPod(), policy = aPolicy()): string {
  const identity = nameFor(registration, pod, policy);
  return identity.ok
    ? [...identity.subject.uris, ...identity.subject.dnsNames].join(' ')
    : `${identity.reason}: ${identity.detail}`;
}

describe('the name that a registration gives', () => {
  const granted = aPolicy({
    namespaces: ['shop'],
    pathPrefixes: ['/teams/shop/'],
    dnsNames: ['*.shop.example.org', 'shop.example.com'],
  });
  const rows: [what: string, registration: Registration, name: string][] = [
    ['below its own namespace', aRegistration(), 'spiffe://example.org/ns/shop/app/web'],
    [
      'with a trust domain that is written',
      aRegistration({ spiffeIDTemplate: `spiffe://example.org/ns/shop/${app}` }),
      'spiffe://example.org/ns/shop/web',
    ],
    [
      'with a granted path',
      aRegistration(labelled(`/teams/shop/${app}`)),
      'spiffe://example.org/teams/shop/web',
    ],
    [
      'with granted DNS names',
      aRegistration({ dnsNameTemplates: [`${app}.shop.example.org`, 'shop.example.com'] }),
      'spiffe://example.org/ns/shop/app/web web.shop.example.org shop.example.com',
    ],
    [
      'with a DNS name twice',
      aRegistration({ dnsNameTemplates: ['shop.example.com', 'shop.example.com'] }),
      'spiffe://example.org/ns/shop/app/web shop.example.com',
    ],
    [
      'with the names of its Services, which need no grant',
      aRegistration({ autoPopulateDNSNames: true }),
      'spiffe://example.org/ns/shop/app/web web.shop.svc',
    ],
    [
      'from the administrator, anywhere',
      aClusterRegistration(labelled(`/payments/${app}`)),
      'spiffe://example.org/payments/web',
    ],
    [
      'from the administrator, with any DNS name',
      aClusterRegistration({ dnsNameTemplates: ['any.example'] }),
      'spiffe://example.org/ns/shop/app/web any.example',
    ],
    [
      'from the administrator, in another namespace that the template names',
      aClusterRegistration(labelled(`/ns/bank/${app}`)),
      'spiffe://example.org/ns/bank/web',
    ],
    [
      'the same with the trust domain as text',
      aClusterRegistration({ spiffeIDTemplate: `spiffe://example.org/ns/bank/${app}` }),
      'spiffe://example.org/ns/bank/web',
    ],
  ];
  for (const [what, registration, name] of rows) {
    it(`a registration gives a name: ${what}`, () =>
      assert.equal(shownName(registration, aNamedPod(), granted), name));
  }

  it('a registered name comes with the terms of its registration', () => {
    const identity = nameFor(
      aRegistration({
        ttl: '2h',
        jwtTTL: '3m',
        audiences: ['a*'],
        hint: 'internal',
        federatesWith: ['partner.example'],
      }),
    );
    assert.deepEqual(identity.ok && identity.terms, {
      registration: 'shop/web',
      maxLifetimeSeconds: 7200,
      maxTokenLifetimeSeconds: 180,
      audiences: ['a*'],
      hint: 'internal',
      federatesWith: ['partner.example'],
    });
    const plain = nameFor(aClusterRegistration());
    assert.deepEqual(plain.ok && plain.terms, { registration: 'all' });
  });
});

describe('what a tenant tries with a WorkloadRegistration or a label', () => {
  const nameOf = (
    registration: Registration,
    facts: Parameters<typeof aNamedPod>[0] = {},
    policy = aPolicy(),
  ) => shownName(registration, aNamedPod(facts), policy);
  const prefixed = aPolicy({ namespaces: ['shop'], pathPrefixes: ['/'], dnsNames: ['*.example.org'] });
  const rows: [attempt: string, name: string, reason: RegExp][] = [
    [
      '/ns/other by text',
      nameOf(aRegistration(labelled('/ns/other/sa/admin'))),
      /is not below \/ns\/shop\/; a ClusterRegistrationPolicy can grant more/,
    ],
    [
      'a path prefix without a grant',
      nameOf(
        aRegistration(labelled(`/teams/bank/${app}`)),
        {},
        aPolicy({ namespaces: ['shop'], pathPrefixes: ['/teams/shop/'] }),
      ),
      /is not below \/ns\/shop\/ or \/teams\/shop\/;/,
    ],
    [
      'a grant of another namespace',
      nameOf(
        aRegistration(labelled('/teams/bank/a')),
        {},
        aPolicy({ namespaces: ['bank'], pathPrefixes: ['/teams/bank/'] }),
      ),
      /is not below \/ns\/shop\//,
    ],
    [
      'the namespace without a name below it',
      nameOf(aRegistration(labelled('/ns/shop'))),
      /is not below \/ns\/shop\//,
    ],
    [
      'a namespace that begins like its own',
      nameOf(aRegistration(labelled('/ns/shopping/sa/web'))),
      /is not below \/ns\/shop\//,
    ],
    [
      '/ns/other in an annotation',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), {
        annotations: { 'example.org/team': 'x/../../ns/other' },
      }),
      /no value may contain "\/"/,
    ],
    [
      '/ns/other in a label of an object from before validation',
      nameOf(aRegistration(labelled(`/ns/shop/${app}`)), { labels: { app: 'a/ns/other' } }),
      /no value may contain "\/"/,
    ],
    [
      '%2F in an annotation',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), {
        annotations: { 'example.org/team': '..%2Fother' },
      }),
      /no percent-encoding/,
    ],
    [
      '".." in an annotation',
      nameOf(aRegistration(labelled(`/ns/shop/${team}/a`)), { annotations: { 'example.org/team': '..' } }),
      /has the segment "\.\."/,
    ],
    [
      '".." of two values',
      nameOf(aRegistration(labelled(`/ns/shop/${app}${team}/a`)), {
        labels: { app: '.' },
        annotations: { 'example.org/team': '.' },
      }),
      /has the segment "\.\."/,
    ],
    [
      'a look-alike letter',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), { annotations: { 'example.org/team': 'аdmin' } }),
      /has only the characters A-Z/,
    ],
    [
      'a full-width slash',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), { annotations: { 'example.org/team': 'a／b' } }),
      /has only the characters A-Z/,
    ],
    [
      'a line break',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), { annotations: { 'example.org/team': 'a\nb' } }),
      /has only the characters A-Z/,
    ],
    [
      'a query',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), { annotations: { 'example.org/team': 'a?b' } }),
      /no query/,
    ],
    [
      'an empty label',
      nameOf(aRegistration(labelled(`/ns/shop/${app}`)), { labels: { app: '' } }),
      /the label app is empty/,
    ],
    [
      'a missing label',
      nameOf(aRegistration(labelled(`/ns/shop/x-${app}`)), { labels: {} }),
      /the pod has no label app/,
    ],
    [
      '2,049 bytes',
      nameOf(aRegistration(labelled(`/ns/shop/${team}`)), {
        annotations: { 'example.org/team': 'a'.repeat(2049 - 29) },
      }),
      /at most 2048 bytes/,
    ],
    [
      'the infrastructure',
      nameOf(aRegistration(labelled('/kubespiffe/token-endpoint')), {}, prefixed),
      /is below \/kubespiffe\/, which is reserved/,
    ],
    [
      'the infrastructure by a label',
      nameOf(aRegistration(labelled(`/${app}/token-endpoint`)), { labels: { app: 'kubespiffe' } }, prefixed),
      /is below \/kubespiffe\//,
    ],
    [
      'the infrastructure itself',
      nameOf(aRegistration(labelled(`/${app}`)), { labels: { app: 'kubespiffe' } }, prefixed),
      /is below \/kubespiffe\//,
    ],
    [
      'a pod of its own',
      nameOf(aRegistration(labelled('/ns/shop/pod/web-1')), {}, prefixed),
      /reserved for the signer kubespiffe.io\/pod-identity/,
    ],
    [
      'a pod of another namespace',
      nameOf(aRegistration(labelled('/ns/bank/pod/web-1')), {}, prefixed),
      /reserved for the signer kubespiffe.io\/pod-identity/,
    ],
    [
      'a pod by a label',
      nameOf(aRegistration(labelled(`/ns/shop/${app}/web-1`)), { labels: { app: 'pod' } }),
      /reserved for the signer/,
    ],
    [
      'a pod with more below it',
      nameOf(aRegistration(labelled('/ns/shop/pod/web-1/x'))),
      /reserved for the signer/,
    ],
    [
      'another trust domain',
      nameOf(aRegistration({ spiffeIDTemplate: 'spiffe://bank.example/ns/shop/a' }), {}, prefixed),
      /is in another trust domain than this signer's, example.org/,
    ],
    [
      'the bare trust domain',
      nameOf(aRegistration({ spiffeIDTemplate: 'spiffe://example.org' }), {}, prefixed),
      /the trust domain itself/,
    ],
    [
      'a DNS name without a grant',
      nameOf(aRegistration({ dnsNameTemplates: ['bank.example'] }), {}, prefixed),
      /no ClusterRegistrationPolicy grants the DNS name bank.example to the namespace shop/,
    ],
    [
      'a DNS name with one label more than was granted',
      nameOf(aRegistration({ dnsNameTemplates: ['a.b.example.org'] }), {}, prefixed),
      /grants the DNS name a.b.example.org/,
    ],
    [
      'the parent of a granted wildcard',
      nameOf(aRegistration({ dnsNameTemplates: ['example.org'] }), {}, prefixed),
      /grants the DNS name example.org/,
    ],
    [
      'a DNS name with a dot in a label',
      nameOf(
        aRegistration({ dnsNameTemplates: [`${app}.example.org`] }),
        { labels: { app: 'a.b' } },
        prefixed,
      ),
      /no value may contain "\."/,
    ],
    [
      'a DNS name with a capital',
      nameOf(
        aRegistration({ dnsNameTemplates: [`${app}.example.org`] }),
        { labels: { app: 'Web' } },
        prefixed,
      ),
      /"Web.example.org" is not a DNS name/,
    ],
    [
      'a DNS name with an underscore',
      nameOf(
        aRegistration({ dnsNameTemplates: [`${app}.example.org`] }),
        { labels: { app: 'a_b' } },
        prefixed,
      ),
      /is not a DNS name/,
    ],
  ];
  for (const [attempt, name, reason] of rows) {
    it(`a tenant gets no name: ${attempt}`, () => {
      assert.match(name, /^IdentityInvalid: WorkloadRegistration shop\/web: /);
      assert.match(name, reason);
    });
  }

  const ofCluster: [attempt: string, template: string, labels: Record<string, string>, reason: RegExp][] = [
    [
      'two labels that make /ns/bank',
      '/{{ index .PodMeta.Labels "a" }}/{{ index .PodMeta.Labels "b" }}/sa/x',
      { a: 'ns', b: 'bank' },
      /below another namespace than the pod's/,
    ],
    [
      'a label as the namespace',
      '/ns/{{ index .PodMeta.Labels "a" }}/sa/x',
      { a: 'bank' },
      /below another namespace than the pod's/,
    ],
    [
      'a label as the end of the namespace',
      '/ns/ba{{ index .PodMeta.Labels "a" }}/sa/x',
      { a: 'nk' },
      /below another namespace than the pod's/,
    ],
    [
      'a label as the reserved segment',
      '/{{ index .PodMeta.Labels "a" }}/x',
      { a: 'kubespiffe' },
      /reserved for kubespiffe itself/,
    ],
    [
      'labels as a pod',
      '/ns/shop/{{ index .PodMeta.Labels "a" }}/x',
      { a: 'pod' },
      /reserved for the signer/,
    ],
  ];
  for (const [attempt, template, labels, reason] of ofCluster) {
    it(`a tenant gets no name from a careless ClusterWorkloadRegistration: ${attempt}`, () => {
      assert.match(nameOf(aClusterRegistration(labelled(template)), { labels }), reason);
    });
  }

  it('the name of a tenant is below its namespace and never reserved, with any labels, annotations and template', () => {
    const word = fc.constantFrom(
      'ns',
      'shop',
      'bank',
      'pod',
      'kubespiffe',
      '..',
      '.',
      '',
      '/',
      '%2F',
      'a/b',
      '//',
      'ä',
      'x',
    );
    const part = fc.constantFrom(
      '/',
      '/ns/',
      'shop',
      'bank',
      'pod',
      app,
      team,
      '{{ .PodMeta.Name }}',
      '{{ .PodMeta.Namespace }}',
      'kubespiffe',
      '..',
    );
    const attempt = fc.record({
      app: fc.oneof(word, fc.string()),
      team: fc.oneof(word, fc.string()),
      parts: fc.array(part, { maxLength: 8 }),
    });
    const given = new Set<string>();
    fc.assert(
      fc.property(attempt, (tried) => {
        const registration = aRegistration(labelled(tried.parts.join('')));
        const pod = aNamedPod({
          labels: { app: tried.app },
          annotations: { 'example.org/team': tried.team },
        });
        const identity = nameFor(registration, pod);
        if (!identity.ok) return;
        const [uri = ''] = identity.subject.uris;
        const id = parseSpiffeId(uri);
        assert.ok(id.ok);
        assert.match(id.value.path, /^\/ns\/shop\/(?!pod(\/|$))/);
        given.add(uri);
      }),
      { numRuns: 5_000, examples: [[{ app: 'a', team: 'b', parts: ['/ns/', 'shop', '/', app] }]] },
    );
    assert.ok(given.size > 0);
  });
});

describe('a ClusterRegistrationPolicy', () => {
  it('a policy grants what it says, to each namespace that it names', () => {
    const { grants, problems } = aPolicy(
      { namespaces: ['shop', 'bank'], pathPrefixes: ['/a/'] },
      { namespaces: ['shop'], pathPrefixes: ['/b/'], dnsNames: ['x.example', '*.y.example'] },
    );
    assert.deepEqual(problems, []);
    assert.deepEqual(
      [...grants],
      [
        ['shop', { pathPrefixes: ['/a/', '/b/'], dnsNames: ['x.example', '*.y.example'] }],
        ['bank', { pathPrefixes: ['/a/'], dnsNames: [] }],
      ],
    );
  });

  const problems: [grant: object, problem: string][] = [
    [
      { namespaces: ['shop'], pathPrefixes: ['/teams/shop'] },
      'grants[0] has "/teams/shop", which is not a path that begins and ends with "/"',
    ],
    [
      { namespaces: ['shop'], pathPrefixes: ['teams/'] },
      'grants[0] has "teams/", which is not a path that begins and ends with "/"',
    ],
    [{ namespaces: ['shop'], dnsNames: ['*'] }, 'grants[0] has "*", which is not a DNS name'],
    [
      { namespaces: ['shop'], dnsNames: ['a.*.example'] },
      'grants[0] has "a.*.example", which is not a DNS name',
    ],
    [{ namespaces: ['*'], dnsNames: ['a.example'] }, 'grants[0] has "*", which is not a namespace'],
    [{ namespaces: [5] }, 'grants[0] has 5, which is not a namespace'],
  ];
  for (const [grant, problem] of problems) {
    it(`a policy that cannot be read grants nothing, and reports that: ${JSON.stringify(grant)}`, () => {
      const { grants, problems } = aPolicy(grant);
      assert.deepEqual(problems, [problem]);
      assert.deepEqual(
        [...grants.values()].flatMap(({ pathPrefixes, dnsNames }) => [...pathPrefixes, ...dnsNames]),
        [],
      );
    });
  }

  it('the rest of a policy with one error is read', () => {
    const { grants, problems } = aPolicy(
      { namespaces: ['*'], pathPrefixes: ['/a/'] },
      { namespaces: ['shop'], pathPrefixes: ['/teams', '/b/'], dnsNames: ['*', 'x.example'] },
    );
    assert.equal(problems.length, 3);
    assert.deepEqual([...grants], [['shop', { pathPrefixes: ['/b/'], dnsNames: ['x.example'] }]]);
  });

  it('reading any object as a policy never throws, and grants nothing on error', () => {
    fc.assert(fc.property(fc.anything(), (wire) => assert.equal(readPolicy(wire).grants.size, 0)));
    assert.equal(readPolicy({ spec: { grants: { length: 3 } } }).grants.size, 0);
    assert.equal(readPolicy({ spec: { grants: [null, 'x', [], { namespaces: 'shop' }] } }).grants.size, 0);
  });
});
