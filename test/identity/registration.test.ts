import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { nameOfRegistration, readRegistration } from '../../signer/identity/registration.ts';
import { matches } from '../../signer/identity/resolve.ts';
import {
  aClusterRegistration,
  aNamedPod,
  aRegistration,
  nameFor,
  ownTemplate,
  templateContext,
} from './registrations.ts';

describe('reading a registration', () => {
  it('reading a registration keeps all its fields', () => {
    const registration = aRegistration({
      podSelector: { matchLabels: { app: 'web' } },
      serviceAccountNames: ['web'],
      dnsNameTemplates: ['{{ .PodMeta.Name }}.example.org'],
      autoPopulateDNSNames: true,
      ttl: '1h30m',
      jwtTTL: '2m30.5s3us',
      federatesWith: ['partner.example'],
      audiences: ['https://api.example/*', '*'],
      hint: 'öffentlich',
      priority: -3,
      fallback: true,
      className: 'blue',
    });
    const { kind, namespace, name, uid, generation, className, priority, isFallback } = registration;
    assert.deepEqual(
      { kind, namespace, name, uid, generation, className, priority, isFallback },
      {
        ...{ kind: 'WorkloadRegistration', namespace: 'shop', name: 'web', uid: 'web', generation: 1 },
        ...{ className: 'blue', priority: -3, isFallback: true },
      },
    );
    assert.deepEqual(registration.selection, {
      pods: { equal: [['app', 'web']], expressions: [] },
      namespaces: undefined,
      serviceAccounts: ['web'],
    });
    assert.ok(registration.grant.ok);
    const { spiffeId, dnsNames, ...rest } = registration.grant.value;
    assert.deepEqual([spiffeId.length, dnsNames.length], [6, 1]);
    assert.deepEqual(rest, {
      autoPopulateDNSNames: true,
      terms: {
        maxLifetimeSeconds: 5400,
        maxTokenLifetimeSeconds: 150,
        federatesWith: ['partner.example'],
        audiences: ['https://api.example/*', '*'],
        hint: 'öffentlich',
      },
    });
  });

  it('a registration is named with its namespace, if it has one', () => {
    assert.deepEqual([aRegistration(), aClusterRegistration()].map(nameOfRegistration), ['shop/web', 'all']);
  });

  const problems: [spec: object, reason: string, message: string][] = [
    [{ spiffeIDTemplate: null }, 'TemplateInvalid', 'spiffeIDTemplate is missing'],
    [{ spiffeIDTemplate: '' }, 'SpecInvalid', 'spiffeIDTemplate is empty, not text'],
    [{ spiffeIDTemplate: 5 }, 'SpecInvalid', 'spiffeIDTemplate is 5, not text'],
    [{ spiffeIDTemplate: '{{ if }}' }, 'TemplateInvalid', 'spiffeIDTemplate has {{ if }},'],
    [{ spiffeIDTemplate: 'https://{{ .TrustDomain }}/a' }, 'TemplateInvalid', 'begins with "spiffe://"'],
    [
      { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}' },
      'TemplateInvalid',
      'the trust domain itself; add a path',
    ],
    [{ spiffeIDTemplate: 'spiffe://example.org' }, 'TemplateInvalid', 'the trust domain itself; add a path'],
    [{ spiffeIDTemplate: 'spiffe://example.org/' }, 'TemplateInvalid', 'does not end with "/"'],
    [{ spiffeIDTemplate: 'spiffe://{{ .PodMeta.Namespace }}/a' }, 'TemplateInvalid', 'does not begin with'],
    [{ spiffeIDTemplate: 'spiffe://a.{{ .TrustDomain }}/a' }, 'TemplateInvalid', 'does not begin with'],
    [{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}.org/a' }, 'TemplateInvalid', 'does not begin with'],
    [
      { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}{{ index .PodMeta.Labels "app" }}/a' },
      'TemplateInvalid',
      'does not begin with',
    ],
    [{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/a%2Fb' }, 'TemplateInvalid', 'no percent-encoding'],
    [{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ä' }, 'TemplateInvalid', 'has only the characters'],
    [{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/a/../b' }, 'TemplateInvalid', 'the segment ".."'],
    [{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}//b' }, 'TemplateInvalid', 'an empty segment'],
    [{ spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/a?b' }, 'TemplateInvalid', 'no query'],
    [
      { spiffeIDTemplate: `spiffe://example.org/${'a'.repeat(2049)}` },
      'TemplateInvalid',
      'at most 2048 bytes',
    ],
    [
      { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ index .PodMeta.Annotations "example.org/x" }}' },
      'TemplateInvalid',
      'the setting podAnnotations does not name example.org/x',
    ],
    [{ dnsNameTemplates: ['a', '{{ lower "x" }}'] }, 'TemplateInvalid', 'dnsNameTemplates has "{{ lower'],
    [{ dnsNameTemplates: ['*.example.org'] }, 'TemplateInvalid', 'does not make a DNS name in lower case'],
    [{ dnsNameTemplates: ['Web.example.org'] }, 'TemplateInvalid', 'does not make a DNS name in lower case'],
    [{ dnsNameTemplates: 'web' }, 'SpecInvalid', 'dnsNameTemplates is "web", not a list'],
    [{ dnsNameTemplates: Array(101).fill('a') }, 'SpecInvalid', 'has 101 entries'],
    [{ podSelector: 'app=web' }, 'SpecInvalid', 'podSelector is "app=web", not a label selector'],
    [{ podSelector: { app: 'web' } }, 'SpecInvalid', 'podSelector has "app", which is not known'],
    [
      { podSelector: { matchLabels: { app: 1 } } },
      'SpecInvalid',
      'podSelector has matchLabels that are not texts',
    ],
    [
      { podSelector: { matchExpressions: [{ key: 'a' }] } },
      'SpecInvalid',
      'podSelector has matchExpressions',
    ],
    [{ podSelector: { matchExpressions: [{ key: 'a', operator: 'Gt' }] } }, 'SpecInvalid', 'is not known'],
    [
      { podSelector: { matchLabels: { 'serviceAccount:': 'web' } } },
      'SpecInvalid',
      'podSelector names the label "serviceAccount:", which no object can have',
    ],
    [
      { serviceAccountNames: [] },
      'SpecInvalid',
      'serviceAccountNames is empty; add a name, or remove the field',
    ],
    [{ serviceAccountNames: [''] }, 'SpecInvalid', 'an entry that cannot be used: is empty'],
    [{ audiences: [] }, 'SpecInvalid', 'audiences is empty; add an audience'],
    [{ audiences: ['a*b'] }, 'SpecInvalid', 'with "*" only at its end'],
    [{ audiences: ['a b'] }, 'SpecInvalid', 'an audience is printable ASCII'],
    [{ ttl: '10m' }, 'SpecInvalid', 'ttl is 10m; at least 1h is allowed'],
    [{ ttl: '1d' }, 'SpecInvalid', 'ttl is "1d", not a duration such as 1h30m'],
    [{ ttl: 3600 }, 'SpecInvalid', 'ttl is 3600, not a duration'],
    [{ ttl: '-1h' }, 'SpecInvalid', 'not a duration'],
    [{ jwtTTL: '59s' }, 'SpecInvalid', 'jwtTTL is 59s; at least 1m is allowed'],
    [{ federatesWith: ['Partner'] }, 'SpecInvalid', 'write it in lower case'],
    [{ federatesWith: [{}] }, 'SpecInvalid', 'an entry that cannot be used'],
    [{ hint: 'a\nb' }, 'SpecInvalid', 'cannot be printed'],
    [{ hint: 'a'.repeat(257) }, 'SpecInvalid', 'hint has more than 256 characters'],
    [{ priority: '1' }, 'SpecInvalid', 'priority is "1", not a whole number'],
    [{ priority: 1001 }, 'SpecInvalid', 'priority is 1001; that of a WorkloadRegistration is at most 1000'],
    [{ priority: 1.5 }, 'SpecInvalid', 'priority is 1.5, not a whole number'],
    [{ fallback: 'no' }, 'SpecInvalid', 'fallback is "no", neither true nor false'],
    [{ autoPopulateDNSNames: 1 }, 'SpecInvalid', 'neither true nor false'],
    [{ className: 7 }, 'SpecInvalid', 'className is 7, not text'],
    [{ namespaceSelector: {} }, 'SpecInvalid', 'is not a field of a WorkloadRegistration'],
    [{ matchAllPods: true }, 'SpecInvalid', 'is not a field of a WorkloadRegistration'],
    [{ nodeSelector: {} }, 'SpecInvalid', 'this version of the signer knows'],
    [{ constructor: 1 }, 'SpecInvalid', 'constructor is not a field'],
  ];
  for (const [spec, reason, message] of problems) {
    it(`an invalid registration gives no name, and reports why: ${message}`, () => {
      const { grant } = aRegistration(spec);
      assert.ok(!grant.ok);
      assert.equal(grant.reason, reason);
      assert.ok(grant.message.includes(message), grant.message);
    });
  }

  it('a registration with .ClusterName is refused if the setting clusterName is not set', () => {
    const spec = { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ .ClusterName }}' };
    const context = { ...templateContext, clusterName: undefined };
    const { grant } = readRegistration('WorkloadRegistration', { metadata: {}, spec }, context);
    assert.ok(!grant.ok);
    assert.match(grant.message, /has {{ .ClusterName }}, and the setting clusterName is not set/);
  });

  it('pods wait for an invalid registration that selects them, and get no other name', () => {
    const registration = aRegistration({ ttl: 'soon' });
    assert.ok(matches(registration, aNamedPod()));
    assert.deepEqual(nameFor(registration), {
      ok: false,
      reason: 'IdentityInvalid',
      detail: 'WorkloadRegistration shop/web: ttl is "soon", not a duration such as 1h30m',
    });
  });

  for (const field of ['podSelector', 'serviceAccountNames', 'className']) {
    it(`a registration selects no pod if ${field} cannot be read, because it is unknown which are meant`, () => {
      assert.equal(aRegistration({ [field]: 5 }).selection, undefined);
    });
  }

  const everything = [
    {},
    { podSelector: {} },
    { namespaceSelector: { matchLabels: {} } },
    { matchAllPods: false },
  ];
  for (const spec of everything) {
    it(`a ClusterWorkloadRegistration that selects every pod by accident is refused: ${JSON.stringify(spec)}`, () => {
      const wire = { metadata: { name: 'all' }, spec: { spiffeIDTemplate: ownTemplate, ...spec } };
      const { selection, grant } = readRegistration('ClusterWorkloadRegistration', wire, templateContext);
      assert.equal(selection, undefined);
      assert.ok(!grant.ok);
      assert.match(grant.message, /selects every pod of the cluster.* matchAllPods to true/);
    });
  }

  it('reading any object as a registration never throws', () => {
    const fields = [
      'podSelector',
      'spiffeIDTemplate',
      'ttl',
      'audiences',
      'priority',
      'hint',
      'dnsNameTemplates',
      'className',
    ];
    const spec = fc.dictionary(fc.constantFrom(...fields), fc.anything());
    const wire = fc.oneof(
      fc.anything(),
      fc.record({ metadata: fc.anything(), spec: fc.oneof(spec, fc.anything()) }),
    );
    fc.assert(
      fc.property(
        wire,
        fc.constantFrom('WorkloadRegistration' as const, 'ClusterWorkloadRegistration' as const),
        (object, kind) => {
          const registration = readRegistration(kind, object, templateContext);
          matches(registration, aNamedPod());
          nameFor(registration);
        },
      ),
      {
        numRuns: 1_000,
        examples: [[{ metadata: {}, spec: { priority: { toString: null } } }, 'WorkloadRegistration']],
      },
    );
  });
});
