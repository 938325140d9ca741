import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { runCli } from '../../tools/cli.ts';
import type { Terminal } from '../../tools/terminal.ts';
import { aPool } from '../contract/installation.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of several kinds, looked into as each test needs
type Made = any;

async function run(args: readonly string[], input: string) {
  const streams = { out: '', err: '' };
  const terminal: Terminal = {
    out: (text) => {
      streams.out += text;
    },
    err: (text) => {
      streams.err += text;
    },
    ...{ hasColor: false, env: {}, now: Date.now },
    read: async () => Buffer.from(input),
  };
  return { code: await runCli(args, terminal), ...streams };
}

const template =
  'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}';
const spire = (kind: string, spec: object, name = 'web') =>
  stringify({
    apiVersion: 'spire.spiffe.io/v1alpha1',
    kind,
    metadata: { name, labels: { of: 'helm' } },
    spec,
  });

/** Migrates an object, and lints what comes out. */
async function migrate(kind: string, spec: object, ...flags: string[]) {
  const ran = await run(['migrate', 'spire', '-f', '-', ...flags], spire(kind, spec));
  const objects: Made[] = parseAllDocuments(ran.out).map((document) => document.toJS());
  if (objects[0]?.kind === 'ClusterWorkloadRegistration') {
    const linted = await run(['registration', 'lint', '-'], ran.out);
    assert.equal(linted.code, 0, linted.out);
  }
  return { ...ran, objects, spec: objects[0]?.spec };
}

describe('kubespiffe migrate spire', () => {
  it('migrate spire keeps everything that has a counterpart', async () => {
    const spec = {
      spiffeIDTemplate: template,
      podSelector: { matchLabels: { app: 'web' } },
      namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'Exists' }] },
      dnsNameTemplates: ['{{ .PodMeta.Name }}.example.org'],
      autoPopulateDNSNames: true,
      ttl: '12h0m0s',
      jwtTtl: '5m0s',
      federatesWith: ['partner.example'],
      fallback: true,
      hint: 'internal',
      className: 'blue',
    };
    const { code, objects, err } = await migrate('ClusterSPIFFEID', spec);
    const { jwtTtl: jwtTTL, ...same } = spec;
    assert.equal(code, 0);
    assert.deepEqual(objects, [
      {
        apiVersion: 'kubespiffe.io/v1alpha1',
        kind: 'ClusterWorkloadRegistration',
        metadata: { name: 'web' },
        spec: { ...same, jwtTTL },
      },
    ]);
    assert.match(err, /^check: ClusterSPIFFEID web: className blue is kept: .*registrationClass/m);
    assert.match(err, /\n1 objects read, 1 written\n$/);
  });

  it('migrate spire writes matchAllPods if nothing is selected, and leaves out defaults of the controller manager', async () => {
    const { spec, err } = await migrate('ClusterSPIFFEID', {
      ...{ spiffeIDTemplate: template, podSelector: {}, ttl: '0s', jwtTtl: '0s', className: '' },
      workloadSelectorTemplates: [
        'k8s:ns:{{ .PodMeta.Namespace }}',
        'k8s:sa:{{.PodSpec.ServiceAccountName}}',
      ],
    });
    assert.deepEqual(spec, { matchAllPods: true, spiffeIDTemplate: template });
    assert.match(err, /^check: ClusterSPIFFEID web: it selects every pod of the cluster/m);
  });

  it('migrate spire makes selectors of workload selectors about pods, and narrows the earlier selection', async () => {
    const { spec } = await migrate('ClusterSPIFFEID', {
      spiffeIDTemplate: template,
      podSelector: { matchLabels: { app: 'web' } },
      workloadSelectorTemplates: [
        'k8s:ns:shop',
        'k8s:sa:checkout',
        'k8s:pod-label:tier:front',
        'k8s:pod-label:app:api',
      ],
    });
    assert.deepEqual(spec.podSelector, {
      matchLabels: { app: 'web', tier: 'front' },
      matchExpressions: [{ key: 'app', operator: 'In', values: ['api'] }],
    });
    assert.deepEqual(spec.namespaceSelector, { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } });
    assert.deepEqual(spec.serviceAccountNames, ['checkout']);
  });

  const rows: [what: string, kind: string, spec: object, says: RegExp][] = [
    [
      'a selector about a container',
      'ClusterSPIFFEID',
      { spiffeIDTemplate: template, workloadSelectorTemplates: ['k8s:container-name:app'] },
      /"k8s:container-name:app", which has no counterpart/,
    ],
    [
      'two namespaces',
      'ClusterStaticEntry',
      { spiffeID: 'spiffe://example.org/a', selectors: ['k8s:ns:a', 'k8s:ns:b'] },
      /select nothing/,
    ],
    [
      'two values of a label',
      'ClusterStaticEntry',
      { spiffeID: 'spiffe://example.org/a', selectors: ['k8s:pod-label:a:b', 'k8s:pod-label:a:c'] },
      /two values for the label a/,
    ],
    [
      'a workload outside of Kubernetes',
      'ClusterStaticEntry',
      { spiffeID: 'spiffe://example.org/db', selectors: ['unix:uid:1000'] },
      /"unix:uid:1000", which has no counterpart/,
    ],
    [
      'an entry without selectors',
      'ClusterStaticEntry',
      { spiffeID: 'spiffe://example.org/db', selectors: [] },
      /it has no selectors/,
    ],
    [
      'a function',
      'ClusterSPIFFEID',
      { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ .PodMeta.Name | lower }}' },
      /pipelines are not supported/,
    ],
    [
      'a value of the node',
      'ClusterSPIFFEID',
      { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ .NodeMeta.Name }}' },
      /\.NodeMeta\.Name/,
    ],
    [
      'a reserved path',
      'ClusterSPIFFEID',
      { spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/kubespiffe/token-endpoint' },
      /kubespiffe/,
    ],
    [
      'the domain of the cluster',
      'ClusterSPIFFEID',
      { spiffeIDTemplate: template, dnsNameTemplates: ['a.{{ .ClusterDomain }}'] },
      /give the domain with --cluster-domain/,
    ],
    [
      'a federated trust domain whose endpoint is not HTTPS',
      'ClusterFederatedTrustDomain',
      {
        trustDomain: 'partner.example',
        bundleEndpointURL: 'http://partner.example/bundle',
        bundleEndpointProfile: { type: 'https_web' },
      },
      /the signer cannot use it: spec\.bundleEndpoint\.url .*http/,
    ],
    ['an invalid trust domain', 'ClusterFederatedTrustDomain', { trustDomain: 'Partner' }, /trustDomain /],
    ['the configuration of the controller manager', 'ControllerManagerConfig', {}, /not a resource/],
  ];
  for (const [what, kind, spec, says] of rows) {
    it(`migrate spire leaves out ${what}, reports why, and ends with 1`, async () => {
      const { code, out, err } = await migrate(kind, spec);
      assert.deepEqual([code, out], [1, '']);
      assert.match(err, new RegExp(`^left out: ${kind} web: `));
      assert.match(err, says);
    });
  }

  it('migrate spire fills in the domain of the cluster', async () => {
    const dnsNameTemplates = ['{{ .PodMeta.Name }}.{{ .ClusterDomain }}'];
    const { spec } = await migrate(
      'ClusterSPIFFEID',
      { spiffeIDTemplate: template, dnsNameTemplates },
      '--cluster-domain',
      'cluster.local',
    );
    assert.deepEqual(spec.dnsNameTemplates, ['{{ .PodMeta.Name }}.cluster.local']);
  });

  it('migrate spire raises lifetimes to the minimum, leaves out rights at SPIRE, and reports both', async () => {
    const { spec, code, err } = await migrate('ClusterSPIFFEID', {
      ...{ spiffeIDTemplate: template, ttl: '10m', jwtTtl: '30s', admin: true, downstream: true },
      podSelector: { matchLabels: { a: 'b' } },
    });
    assert.deepEqual(
      [code, spec.ttl, spec.jwtTTL, spec.admin, spec.downstream],
      [0, '1h', '1m', undefined, undefined],
    );
    for (const says of [
      /ttl was 10m, and 1h/,
      /jwtTTL was 30s, and 1m/,
      /admin was left out/,
      /downstream was left out/,
    ]) {
      assert.match(err, says);
    }
  });

  it('migrate spire names the settings that templates need', async () => {
    const { err } = await migrate('ClusterSPIFFEID', {
      spiffeIDTemplate:
        'spiffe://{{ .TrustDomain }}/{{ .ClusterName }}/{{ index .PodMeta.Annotations "example.org/team" }}',
      podSelector: { matchLabels: { a: 'b' } },
    });
    assert.match(err, /set clusterName/);
    assert.match(err, /add example\.org\/team to the setting podAnnotations/);
  });

  it('migrate spire makes a registration of a static entry of pods', async () => {
    const { spec, err } = await migrate('ClusterStaticEntry', {
      ...{ spiffeID: 'spiffe://example.org/billing', parentID: 'spiffe://example.org/spire/agent/x' },
      ...{
        selectors: ['k8s:ns:shop', 'k8s:sa:billing'],
        x509SVIDTTL: '4h0m0s',
        dnsNames: ['billing.example.org'],
      },
    });
    assert.deepEqual(spec, {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } },
      serviceAccountNames: ['billing'],
      spiffeIDTemplate: 'spiffe://example.org/billing',
      dnsNameTemplates: ['billing.example.org'],
      ttl: '4h0m0s',
    });
    assert.match(err, /parentID .* has no counterpart/);
  });

  it('migrate spire makes a FederatedTrustDomain of a federated trust domain', async () => {
    const [authority] = (await aPool({ trustDomain: 'partner.example' })).authorities;
    const trustDomainBundle = authority?.certificate ?? '';
    const url = 'https://partner.example/bundle';
    const endpointSPIFFEID = 'spiffe://partner.example/bundle';
    const ours = { trustDomain: 'partner.example' };
    const theirs = { ...ours, bundleEndpointURL: url, trustDomainBundle };
    const web = { ...theirs, bundleEndpointProfile: { type: 'https_web' } };
    const spiffe = { ...theirs, bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID } };
    const fromWeb = await migrate('ClusterFederatedTrustDomain', web);
    assert.equal(fromWeb.objects[0].kind, 'FederatedTrustDomain');
    assert.deepEqual(fromWeb.spec, { ...ours, bundleEndpoint: { url, profile: 'https_web' } });
    assert.match(fromWeb.err, /trustDomainBundle was left out/);
    assert.match(fromWeb.err, /only where federation is on/);
    assert.deepEqual((await migrate('ClusterFederatedTrustDomain', spiffe)).spec, {
      ...ours,
      bundleEndpoint: { url, profile: 'https_spiffe', endpointSPIFFEID },
      bootstrapBundle: trustDomainBundle,
    });
  });

  it('migrate spire warns of pods that several registrations may match, and prints a List for programs', async () => {
    const input = ['one', 'two'].map((name) =>
      spire('ClusterSPIFFEID', { spiffeIDTemplate: template, podSelector: { matchLabels: { name } } }, name),
    );
    const { code, out, err } = await run(['migrate', 'spire', '-f', '-', '-o', 'json'], input.join('---\n'));
    assert.equal(code, 0);
    assert.deepEqual(
      (JSON.parse(out) as Made).items.map(({ metadata }: Made) => metadata.name),
      ['one', 'two'],
    );
    assert.match(err, /^check: 2 registrations: .*RegistrationAmbiguous/m);
    const asYaml = await run(['migrate', 'spire', '-f', '-', '-o', 'yaml'], input.join('---\n'));
    assert.match(asYaml.out, /^apiVersion: v1$/m);
    assert.deepEqual([parse(asYaml.out), asYaml.err], [JSON.parse(out), err]);
  });

  it('migrate spire requires one source', async () => {
    for (const flags of [[], ['-f', '-', '--cluster']]) {
      const { code, err } = await run(['migrate', 'spire', ...flags], '');
      assert.deepEqual([code, /give either -f FILE or --cluster/.test(err)], [2, true]);
    }
  });
});
