import assert from 'node:assert/strict';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { componentValue, readComponents } from '../../scripts/chart-schema.ts';
import { type Entry, table } from '../../signer/config/table.ts';
import { findBinaries } from '../cluster/binary.ts';
import { runCommand } from '../cluster/command.ts';
import { chartFolder, helm } from '../cluster/helm.ts';
import { defaultVersion } from '../cluster/versions.ts';
import { examplesOf } from '../config/examples.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';

const manifests = join(chartFolder, '..');

// biome-ignore lint/suspicious/noExplicitAny: objects of many kinds, looked into as each test needs
type Manifest = any;

let folder: string;
let kubectl: readonly string[];
before(async () => {
  folder = await mkdtemp(join(await realpath(tmpdir()), 'chart-'));
  kubectl = (await findBinaries(defaultVersion)).command('kubectl') ?? [];
});
after(() => rm(folder, { recursive: true }));

const parseAll = (text: string): Manifest[] =>
  parseAllDocuments(text).flatMap((document) => document.toJS() ?? []);

/** Required with the component tokenEndpoint. */
const jwtIssuer = 'https://id.example.org';

/** What the chart makes with these values, for an installation in the namespace of manifests/base. */
async function render(values: object = {}, namespace = 'kubespiffe'): Promise<Manifest[]> {
  const file = join(folder, `${crypto.randomUUID()}.json`);
  const { settings, ...others } = values as { settings?: object };
  await writeFile(file, JSON.stringify({ settings: { trustDomain: 'example.org', ...settings }, ...others }));
  return parseAll(await helm(['template', 'kubespiffe', chartFolder, '-n', namespace, '-f', file]));
}

/** What kustomize makes of base and these components. */
async function kustomize(components: readonly string[]): Promise<Manifest[]> {
  const overlay = await mkdtemp(join(folder, 'overlay-'));
  const to = (name: string) => relative(overlay, join(manifests, name));
  const issuer = {
    name: 'kubespiffe-signer',
    namespace: 'kubespiffe',
    behavior: 'merge',
    literals: [`KUBESPIFFE_JWT_ISSUER=${jwtIssuer}`],
  };
  const kustomization = {
    resources: [to('base')],
    components: components.map(to),
    configMapGenerator: components.includes('token-endpoint') ? [issuer] : [],
  };
  await writeFile(join(overlay, 'kustomization.yaml'), JSON.stringify(kustomization));
  return parseAll(await runCommand(kubectl[0] ?? '', ...kubectl.slice(1), 'kustomize', overlay));
}

const find = (all: readonly Manifest[], kind: string, name = 'kubespiffe-signer'): Manifest => {
  const found = all.find((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found, `no ${kind} ${name}`);
  return found;
};
const containerOf = (all: readonly Manifest[]): Manifest =>
  find(all, 'Deployment').spec.template.spec.containers[0];
const variablesOf = (all: readonly Manifest[]): Record<string, string> =>
  Object.fromEntries(
    containerOf(all).env.flatMap(({ name, value }: Manifest) => (value === undefined ? [] : [[name, value]])),
  );

const byName = (one: Manifest, other: Manifest) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1);

/**
 * The objects by kind and name, without what is meant to differ: Helm makes the namespace, the settings are in the
 * Deployment instead of a ConfigMap, and CRDs are kept. Lists of named things have no order.
 */
function comparable(all: readonly Manifest[]): Record<string, Manifest> {
  const isSettings = ({ kind, metadata }: Manifest) =>
    kind === 'ConfigMap' && metadata.name.startsWith('kubespiffe-signer-');
  const settings = all.find(isSettings)?.data ?? {};
  const compared = all.filter((object) => object.kind !== 'Namespace' && !isSettings(object));
  return Object.fromEntries(
    structuredClone(compared).map((object) => {
      const { kind, metadata } = object;
      if (kind === 'CustomResourceDefinition') delete metadata.annotations;
      if (kind === 'Deployment' && metadata.name === 'kubespiffe-signer') {
        const { containers, volumes = [] } = object.spec.template.spec;
        volumes.sort(byName);
        for (const container of containers) {
          delete container.envFrom;
          container.env.push(...Object.entries(settings).map(([name, value]) => ({ name, value })));
          for (const list of ['env', 'ports', 'volumeMounts']) container[list]?.sort(byName);
        }
      }
      return [`${kind} ${metadata.namespace ?? ''}/${metadata.name}`, object];
    }),
  );
}

const likeBase = { image: { tag: 'dev' } };

test('default values make the objects of manifests/base', async () => {
  assert.deepEqual(comparable(await render(likeBase)), comparable(await kustomize([])));
});

const folders = (await readComponents()).map(({ folder }) => folder);
for (const components of [...folders.map((name) => [name]), folders]) {
  const values = components.map(componentValue);
  test(`the components ${values.join(', ')} make the objects that they make in a kustomization`, async () => {
    const on = Object.fromEntries(values.map((name) => [name, true]));
    assert.deepEqual(
      comparable(
        await render({ ...likeBase, components: on, settings: on.tokenEndpoint ? { jwtIssuer } : {} }),
      ),
      comparable(await kustomize(components)),
    );
  });
}

/** A list is written as one. */
function exampleOf(entry: Entry): unknown {
  if (entry.setting.type.placeholder.endsWith(',…')) return ['a', 'b'];
  return examplesOf(entry)[0];
}

test('every setting becomes the variable that the signer reads', async () => {
  const examples = table.entries.flatMap((entry) =>
    entry.names.map((names) => ({ ...names, value: exampleOf(entry) })),
  );
  assert.ok(examples.length > 40);
  const settings = { signers: Object.fromEntries(table.signers.map((signer) => [signer, {}])) };
  for (const { path, value } of examples) {
    const [key = '', signer = '', ofSigner = ''] = path.split('.');
    Object.assign(settings, key === 'signers' ? {} : { [key]: value });
    Object.assign(settings.signers[signer] ?? {}, { [ofSigner]: value });
  }
  assert.deepEqual(
    variablesOf(await render({ settings })),
    // As JavaScript joins lists: with commas.
    Object.fromEntries(
      table.entries.map((entry) => [entry.names.at(-1)?.variable, String(exampleOf(entry))]),
    ),
  );
});

const outsideSchema: Record<string, [values: object, complaint: RegExp]> = {
  'a misspelt setting': [{ settings: { trustDoman: 'x' } }, /trustDoman/],
  'a misspelt setting of a signer': [
    { settings: { signers: { spiffe: { maxLifetim: '1h' } } } },
    /maxLifetim/,
  ],
  'a misspelt signer': [{ settings: { signers: { spife: {} } } }, /spife/],
  'a misspelt component': [{ components: { tokens: true } }, /tokens/],
  'a misspelt value': [{ images: {} }, /images/],
  'a misspelt part of the image': [{ image: { name: 'x' } }, /name/],
  'a setting with an unknown word': [{ settings: { logLevel: 'loud' } }, /logLevel/],
  'a component that is not on or off': [{ components: { federation: 'yes' } }, /federation/],
  'a tag in place of a digest': [{ image: { digest: 'latest' } }, /digest/],
  'no replicas': [{ replicas: 0 }, /replicas/],
};
for (const [what, [values, complaint]] of Object.entries(outsideSchema)) {
  test(`the chart refuses ${what}`, async () => {
    await assert.rejects(render(values), (error: Error) => {
      assert.match(error.message, /values don't meet the specifications of the schema/);
      assert.match(error.message, complaint);
      return true;
    });
  });
}

test('the chart refuses an installation without a trust domain', async () => {
  await assert.rejects(
    helm(['template', 'kubespiffe', chartFolder]),
    /settings.*missing propert.*trustDomain/s,
  );
});

/** Settings without which no signer starts beside other ones, in the words of the schema. */
const needed: Record<string, [values: object, complaint: RegExp]> = {
  'a token endpoint without an issuer': [
    { components: { tokenEndpoint: true } },
    /at '\/settings': missing property 'jwtIssuer'/,
  ],
  'client certificates at the token endpoint without the pod in each certificate': [
    { settings: { tokenClientCertificates: true } },
    /at '\/settings': missing property 'leafPodIdentity'/,
  ],
};
for (const [what, [values, complaint]] of Object.entries(needed)) {
  test(`the chart refuses ${what}`, async () => {
    await assert.rejects(render(values), complaint);
  });
}

const refused: Record<string, [values: object, complaint: RegExp]> = {
  'a pool in another namespace': [
    { settings: { pool: 'elsewhere/kubespiffe-pool' } },
    /the pool elsewhere\/kubespiffe-pool is not in the namespace of the release \(kubespiffe\), where the Role of the signer is/,
  ],
  'a setting that is given twice, with two values': [
    { settings: { maxLifetime: '12h', signers: { spiffe: { maxLifetime: '24h' } } } },
    /settings.maxLifetime and settings.signers.spiffe.maxLifetime mean the same setting, and are 12h and 24h: set only one of them/,
  ],
  'a patch of an object that the chart does not create': [
    { patches: [{ patch: 'kind: Service\nmetadata: {name: other}' }] },
    /a patch names the Service other, which the chart does not create/,
  ],
  'an operation of a patch other than add': [
    {
      patches: [
        {
          target: { kind: 'Deployment', name: 'kubespiffe-signer' },
          patch: '- op: remove\n  path: /spec/replicas',
        },
      ],
    },
    /the operation remove: the chart can only do add/,
  ],
};
for (const [what, [values, complaint]] of Object.entries(refused)) {
  test(`the chart refuses ${what}`, async () => {
    await assert.rejects(render(values), complaint);
  });
}

test('all objects follow the namespace of the release', async () => {
  const components = Object.fromEntries(folders.map((name) => [componentValue(name), true]));
  const all = await render({ components, settings: { jwtIssuer } }, 'identity');
  const places = new Set<string>();
  (function look(value: Manifest): void {
    if (typeof value !== 'object' || value === null) return;
    if (typeof value.namespace === 'string') places.add(value.namespace);
    for (const part of Object.values(value)) look(part);
  })(all.filter(({ kind }) => kind !== 'CustomResourceDefinition'));
  assert.deepEqual([...places], ['identity']);
  assert.equal(variablesOf(all).KUBESPIFFE_POOL, 'identity/kubespiffe-pool');
  assert.equal(variablesOf(all).KUBESPIFFE_SERVICE_DNS_POOL, 'identity/kubespiffe-service-dns-pool');
});

test('the ports follow the addresses in the settings', async () => {
  const addresses = {
    metricsAddress: ':1',
    tokenAddress: '[::]:2',
    bundleWebAddress: ':3',
    bundleSpiffeAddress: ':4',
  };
  const components = { tokenEndpoint: true, bundleWeb: true, bundleSpiffe: true };
  const portsOf = async (settings: object) =>
    containerOf(await render({ components, settings: { jwtIssuer, ...settings } })).ports.map(
      ({ name, containerPort }: Manifest) => `${name} ${containerPort}`,
    );
  assert.deepEqual((await portsOf({})).toSorted(), [
    'bundle-spiffe 8445',
    'bundle-web 8444',
    'metrics 9402',
    'tokens 8443',
  ]);
  assert.deepEqual((await portsOf(addresses)).toSorted(), [
    'bundle-spiffe 4',
    'bundle-web 3',
    'metrics 1',
    'tokens 2',
  ]);
});

test('the notes say the next commands, with the names of the release', async () => {
  const on = ['serviceDns', 'bundleWeb', 'injection', 'view'].map((name) => `components.${name}=true`);
  const names = ['settings.trustDomain=example.org', 'settings.signers.service-dns.pool=identity/ours'];
  const values = [...on, ...names].flatMap((value) => ['--set', value]);
  const notes = await helm([
    'install',
    'kubespiffe',
    chartFolder,
    '-n',
    'identity',
    '--dry-run=client',
    ...values,
  ]);
  const commands = notes.split('\nNOTES:\n')[1]?.match(/(?<=^ {2})\S.*/gm);
  assert.deepEqual(commands, [
    'export PATH=$PWD/bin:$PATH',
    'kubespiffe ca create --ca-id first --trust-domain example.org --namespace identity',
    'kubespiffe ca create --kind service-dns --ca-id dns-1 --permitted-dns svc,svc.cluster.local --namespace identity --name ours',
    'kubectl --namespace identity rollout status deployment/kubespiffe-signer',
    '(umask 077; kubectl get secret --namespace identity kubespiffe-pool -o yaml > ~/kubespiffe-pool.yaml)',
    'kubectl label namespace identity pod-security.kubernetes.io/enforce=restricted',
    'kubectl create secret tls kubespiffe-bundle-web --namespace identity --cert tls.crt --key tls.key',
    'kubectl label namespace NAMESPACE kubespiffe.io/injection=enabled',
    'kubectl --namespace identity port-forward deployment/kubespiffe-view 8090',
    'kubespiffe doctor --signer-deployment identity/kubespiffe-signer',
  ]);
});

test('the rights follow the names of pools, bundles and ConfigMaps in the settings', async () => {
  const all = await render({
    components: { serviceDns: true, rootsConfigmap: true },
    settings: {
      pool: 'kubespiffe/our-pool',
      rootsConfigMap: 'our-roots',
      signers: {
        spiffe: { bundleSuffix: 'cas' },
        'service-dns': { pool: 'kubespiffe/our-dns-pool', bundleSuffix: 'dns' },
      },
    },
  });
  const namesOf = (kind: string, name: string, resource: string) =>
    find(all, kind, name).rules.find(({ resources }: Manifest) => resources.includes(resource)).resourceNames;
  assert.deepEqual(namesOf('Role', 'kubespiffe-signer', 'secrets'), ['our-pool']);
  assert.deepEqual(namesOf('Role', 'kubespiffe-ca-operator', 'secrets'), ['our-pool', 'our-dns-pool']);
  assert.deepEqual(namesOf('Role', 'kubespiffe-service-dns', 'secrets'), ['our-dns-pool']);
  assert.deepEqual(namesOf('ClusterRole', 'kubespiffe-signer', 'clustertrustbundles'), [
    'kubespiffe.io:spiffe:cas',
    'kubespiffe.io:spiffe:cas-preview',
    'kubespiffe.io:pod-identity:roots',
    'kubespiffe.io:pod-identity:roots-preview',
  ]);
  assert.deepEqual(namesOf('ClusterRole', 'kubespiffe-service-dns', 'clustertrustbundles'), [
    'kubespiffe.io:service-dns:dns',
    'kubespiffe.io:service-dns:dns-preview',
  ]);
  assert.deepEqual(namesOf('ClusterRole', 'kubespiffe-roots-configmap', 'configmaps'), ['our-roots']);
});

test('values reach the Deployment, and what they leave out stays', async () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const values = {
    image: { repository: 'registry.example.com/kubespiffe', digest },
    imagePullSecrets: [{ name: 'credentials' }],
    replicas: 3,
    resources: { limits: { memory: '512Mi' } },
    nodeSelector: { 'node-role.kubernetes.io/control-plane': '' },
    tolerations: [{ operator: 'Exists' }],
    affinity: { nodeAffinity: {} },
    podAnnotations: { a: 'b' },
    podLabels: { c: 'd' },
    priorityClassName: 'ours',
  };
  const [plain, all] = [await render(), await render(values)];
  const { replicas, template } = find(all, 'Deployment').spec;
  assert.equal(replicas, 3);
  const { containers, ...pod } = template.spec;
  const { containers: _, ...others } = find(plain, 'Deployment').spec.template.spec;
  const { imagePullSecrets, nodeSelector, tolerations, affinity, priorityClassName } = values;
  const placed = { imagePullSecrets, nodeSelector, tolerations, affinity, priorityClassName };
  assert.deepEqual(pod, { ...others, ...placed });
  assert.deepEqual(containers, [
    {
      ...containerOf(plain),
      image: `registry.example.com/kubespiffe@${digest}`,
      resources: { requests: containerOf(plain).resources.requests, limits: { memory: '512Mi' } },
    },
  ]);
  const { metadata } = find(plain, 'Deployment').spec.template;
  assert.deepEqual(template.metadata, {
    labels: { ...metadata.labels, c: 'd' },
    annotations: { ...metadata.annotations, a: 'b' },
  });
  assert.ok(!all.some(({ kind }) => kind === 'PriorityClass'));
});

test('the image has the version of the chart unless a value says otherwise', async () => {
  const { version } = JSON.parse(await readFile(join(manifests, '../package.json'), 'utf8'));
  const chart = parse(await readFile(join(chartFolder, 'Chart.yaml'), 'utf8'));
  assert.deepEqual([chart.version, chart.appVersion], [version, version]);
  assert.equal(containerOf(await render()).image, `kubespiffe.io/kubespiffe:${version}`);
});

test('CRDs stay when the release is uninstalled, and can be left out', async () => {
  const isDefinition = ({ kind }: Manifest) => kind === 'CustomResourceDefinition';
  const definitions = (await render()).filter(isDefinition);
  assert.ok(definitions.length >= 4);
  for (const { metadata } of definitions)
    assert.equal(metadata.annotations['helm.sh/resource-policy'], 'keep');
  assert.deepEqual((await render({ crds: false })).filter(isDefinition), []);
});

test('the chart has no Secret and no hook, so that the pool is never touched', async () => {
  const components = Object.fromEntries(folders.map((name) => [componentValue(name), true]));
  const all = await render({ components, settings: { jwtIssuer } });
  assert.deepEqual(
    all.filter(({ kind, metadata }) => kind === 'Secret' || metadata.annotations?.['helm.sh/hook']),
    [],
  );
});

test('patches change any object, as in a kustomization', async () => {
  const all = await render({
    components: { bundleSpiffe: true },
    patches: [
      {
        patch:
          'kind: Service\nmetadata:\n  name: kubespiffe-bundle-spiffe\n  annotations: {a: b}\nspec: {type: LoadBalancer}',
      },
      {
        target: { kind: 'ServiceAccount', name: 'kubespiffe-signer' },
        patch: '- op: add\n  path: /metadata/annotations\n  value: {iam.example.com/role: signer}',
      },
    ],
  });
  const service = find(all, 'Service', 'kubespiffe-bundle-spiffe');
  assert.equal(service.spec.type, 'LoadBalancer');
  assert.equal(service.spec.ports[0].targetPort, 'bundle-spiffe');
  assert.deepEqual(service.metadata.annotations, { a: 'b' });
  assert.deepEqual(find(all, 'ServiceAccount').metadata.annotations, { 'iam.example.com/role': 'signer' });
});

test('the values that the guide shows are accepted', async () => {
  const [block] = blocksBelow(await readPage('docs/guides/helm.md'), 'Values');
  const all = await render(parse(block?.code ?? ''));
  assert.equal(variablesOf(all).KUBESPIFFE_MAX_LIFETIME, '12h');
  const { annotations } = find(all, 'Service', 'kubespiffe-tokens').metadata;
  assert.deepEqual(annotations, { 'example.com/zone': 'internal' });
});

test('helm lint has no complaint', async () => {
  const report = await helm(['lint', '--strict', chartFolder, '--set', 'settings.trustDomain=example.org']);
  assert.match(report, /0 chart\(s\) failed/);
});

test('a packaged chart contains what its links lead to', async () => {
  await helm(['package', chartFolder, '--destination', folder]);
  const { version } = parse(await readFile(join(chartFolder, 'Chart.yaml'), 'utf8'));
  const archive = join(folder, `kubespiffe-${version}.tgz`);
  const text = await helm(['template', 'kubespiffe', archive, '--set', 'settings.trustDomain=example.org']);
  assert.equal(parseAll(text).length, (await render()).length);
});
