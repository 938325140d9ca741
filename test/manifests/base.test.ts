import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { signedUntilName } from '../../signer/authority/signed-until.ts';
import type { Config } from '../../signer/config/config.ts';
import { loadConfig } from '../../signer/config/load.ts';
import { checksOf } from '../../signer/readiness.ts';
import { maxBodyBytes, usualLimits } from '../../signer/token/http/limits.ts';
import { bundleName } from '../../signer/trust/bundle.ts';
import { bundleLabels } from '../../signer/trust/labels.ts';
import { ownAudiences } from '../../spiffe/infrastructure.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create } from '../contract/workloads.ts';

/**
 * The memory that one connection takes, in bytes (docs/reference/performance.md); a request takes its body in addition.
 * OpenSSL unpacks certificates to forty times their size: `connectionWithCertificate` is one with the largest that are
 * accepted, `handshakeWithCertificate` one with the largest that OpenSSL accepts.
 */
const memoryOf = { connection: 60e3, connectionWithCertificate: 600e3, handshakeWithCertificate: 3.6e6 };

const manifests = join(import.meta.dirname, '../../manifests');
const base = join(manifests, 'base');

// biome-ignore lint/suspicious/noExplicitAny: objects of many kinds, looked into as each test needs
type Manifest = any;

let controlPlane: ControlPlane;
let objects: Manifest[];

async function build(folder: string): Promise<Manifest[]> {
  const text = await controlPlane.kubectl(['kustomize', folder]);
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

const find = (kind: string, all = objects): Manifest => {
  const found = all.find((object) => object.kind === kind);
  assert.ok(found, `no ${kind}`);
  return found;
};

/** The configuration that the Deployment's container would read. */
async function configuration(all: Manifest[]): Promise<Config> {
  const env = { ...find('ConfigMap', all).data, POD_NAME: 'signer-a', POD_NAMESPACE: 'kubespiffe' };
  const loaded = await loadConfig({ argv: [], env, readFile: async () => '' });
  assert.equal(loaded.kind, 'config', JSON.stringify(loaded));
  if (loaded.kind !== 'config') throw new Error('unreachable');
  return loaded.config;
}

before(async () => {
  controlPlane = await startControlPlane();
  await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
  objects = await build(base);
  // As the signer creates it: without it no WorkloadRegistration is accepted.
  const policy = {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'ClusterRegistrationPolicy',
    metadata: { name: 'default' },
    spec: {},
  };
  const policies = '/apis/kubespiffe.io/v1alpha1/clusterregistrationpolicies';
  await waitFor('the CRD to be served', async () => {
    const { status } = await controlPlane.request('POST', policies, policy);
    return status === 201;
  });
});
after(() => controlPlane?.stop());

test('applying the manifests a second time changes nothing', async () => {
  const again = await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
  assert.equal(again.trim().split('\n').length, objects.length);
  assert.equal(await controlPlane.kubectl(['diff', '--server-side', '-k', base]), '');
});

test('both kinds of registrations have the same fields, but for what only the cluster can select', () => {
  const [namespaced, cluster] = ['WorkloadRegistration', 'ClusterWorkloadRegistration'].map((kind) => {
    const { spec } = objects.find((object) => object.spec?.names?.kind === kind);
    return structuredClone(spec.versions[0]);
  });
  const propertiesOf = (version: Manifest) => version.schema.openAPIV3Schema.properties;
  const { spec } = propertiesOf(cluster);
  assert.equal(spec['x-kubernetes-validations'].length, 1);
  delete spec['x-kubernetes-validations'];
  for (const own of ['namespaceSelector', 'matchAllPods']) {
    assert.ok(spec.properties[own]);
    delete spec.properties[own];
  }
  assert.equal(propertiesOf(namespaced).spec.properties.priority.maximum, 1000);
  assert.equal(propertiesOf(cluster).spec.properties.priority.maximum, undefined);
  for (const version of [namespaced, cluster]) {
    delete version.schema.openAPIV3Schema.description;
    // Those above are for the cluster, so that teams cannot override them.
    delete propertiesOf(version).spec.properties.priority.maximum;
    for (const described of ['podSelector', 'dnsNameTemplates', 'priority'])
      delete propertiesOf(version).spec.properties[described].description;
  }
  assert.deepEqual(cluster, namespaced);
});

test('no workload preempts the signer', () => {
  const { name } = find('PriorityClass').metadata;
  assert.equal(find('Deployment').spec.template.spec.priorityClassName, name);
  // The highest value that is not reserved for system classes.
  assert.equal(find('PriorityClass').value, 1_000_000_000);
});

test('an overlay sets trust domain and image, and the rest stays', async () => {
  const folder = join(manifests, 'examples/overlay');
  await controlPlane.kubectl([
    'apply',
    '--server-side',
    '--force-conflicts',
    '--dry-run=server',
    '-k',
    folder,
  ]);
  const overlaid = await build(folder);
  const config = await configuration(overlaid);
  assert.equal(config.trustDomain, 'example.org');
  assert.equal(config.signers.spiffe.maxLifetimeSeconds, 12 * 3600);
  assert.deepEqual(config.signers.spiffe.pool, { namespace: 'kubespiffe', name: 'kubespiffe-pool' });
  const [container] = find('Deployment', overlaid).spec.template.spec.containers;
  assert.equal(container.image, 'registry.example.com/kubespiffe:0.1.0');
  const [reference] = container.envFrom;
  assert.equal(reference.configMapRef.name, find('ConfigMap', overlaid).metadata.name);
  assert.notEqual(find('ConfigMap', overlaid).metadata.name, find('ConfigMap').metadata.name);
});

test('the overlay service-dns enables the signer, and its roles name its pool and its bundles', async () => {
  const folder = join(manifests, 'examples/service-dns');
  const words = ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '-k', folder];
  await controlPlane.kubectl(words);
  const overlaid = await build(folder);
  const { enabled, pool, bundleSuffix } = (await configuration(overlaid)).signers['service-dns'];
  assert.ok(enabled);
  assert.equal((await configuration(objects)).signers['service-dns'].enabled, false);
  const ruleOf = (kind: string, name: string, resource: string) =>
    overlaid
      .find((object) => object.kind === kind && object.metadata.name === name)
      .rules.find(({ resources }: { resources: string[] }) => resources.includes(resource));
  const role = ruleOf('Role', 'kubespiffe-service-dns', 'secrets');
  assert.deepEqual(role.resourceNames, [pool.name]);
  assert.deepEqual(
    ruleOf('ClusterRole', 'kubespiffe-service-dns', 'clustertrustbundles').resourceNames,
    (['live', 'preview'] as const).map((canarying) =>
      bundleName('kubespiffe.io/service-dns', bundleSuffix, canarying),
    ),
  );
  const operator = ruleOf('Role', 'kubespiffe-ca-operator', 'secrets');
  assert.deepEqual(operator.resourceNames, ['kubespiffe-pool', pool.name]);
  assert.deepEqual(ruleOf('Role', 'kubespiffe-ca-operator', 'configmaps').resourceNames, [
    'kubespiffe-pool-signed-until',
    `${pool.name}-signed-until`,
  ]);
});

const listeners: { overlay: string; port: string; service: string; address: (config: Config) => number }[] = [
  {
    overlay: 'tokens',
    port: 'tokens',
    service: 'kubespiffe-tokens',
    address: ({ endpoints }) => endpoints?.token?.address.port ?? 0,
  },
  {
    overlay: 'federation',
    port: 'bundle-web',
    service: 'kubespiffe-bundle-web',
    address: ({ endpoints }) => endpoints?.bundleWeb?.address.port ?? 0,
  },
  {
    overlay: 'federation',
    port: 'bundle-spiffe',
    service: 'kubespiffe-bundle-spiffe',
    address: ({ endpoints }) => endpoints?.bundleSpiffe?.address.port ?? 0,
  },
];
const serviceOf = (all: Manifest[], name: string): Manifest =>
  all.find(({ kind, metadata }) => kind === 'Service' && metadata.name === name);
for (const { overlay, port, service: serviceName, address } of listeners) {
  test(`the overlay ${overlay} opens the port ${port}, in Deployment, Service and NetworkPolicy`, async () => {
    const folder = join(manifests, 'examples', overlay);
    const overlaid = await build(folder);
    const [container] = find('Deployment', overlaid).spec.template.spec.containers;
    const opened = container.ports.find(({ name }: { name: string }) => name === port);
    assert.equal(opened.containerPort, address(await configuration(overlaid)));
    const service = serviceOf(overlaid, serviceName);
    assert.equal(service.spec.ports[0].targetPort, port);
    const { labels } = find('Deployment', overlaid).spec.template.metadata;
    assert.partialDeepStrictEqual(labels, service.spec.selector);
    const allowed = overlaid
      .filter(({ kind }) => kind === 'NetworkPolicy')
      .flatMap(({ spec }) => spec.ingress.flatMap(({ ports }: Manifest) => ports));
    assert.ok(allowed.some((one) => one.port === port));
    const flags = ['--server-side', '--force-conflicts', '--dry-run=server'];
    await controlPlane.kubectl(['apply', ...flags, '-k', folder]);
  });

  test(`the overlay ${overlay} sends callers to replicas whose CA cannot sign, and to no others that are not ready`, async () => {
    const [container] = find('Deployment', await build(join(manifests, 'examples', overlay))).spec.template
      .spec.containers;
    const { path, port: probed } = container.readinessProbe.httpGet;
    const asked = new URL(path, 'http://signer');
    assert.deepEqual([asked.pathname, probed], ['/readyz', 'metrics']);
    const excluded = ['pool', 'permissions', 'admission-policy'];
    assert.deepEqual(
      [...asked.searchParams],
      excluded.map((check) => ['exclude', check]),
    );
    const checks = checksOf([{ name: 'spiffe' }]);
    assert.ok(excluded.every((check) => checks.includes(check) || checks.includes(`spiffe/${check}`)));
    // A Service that published replicas which do not run yet, or run no longer, would send callers to closed ports.
    const service = serviceOf(await build(join(manifests, 'examples', overlay)), serviceName);
    assert.equal(service.spec.publishNotReadyAddresses, undefined);
  });

  test(`the overlay ${overlay} has memory for what load leaves behind, and for three full listeners`, async () => {
    const [container] = find('Deployment', await build(join(manifests, 'examples', overlay))).spec.template
      .spec.containers;
    // The most that docs/reference/performance.md has seen of a replica, in bytes.
    const afterLoad = 289e6;
    const { connections, connectionsWithCertificates, clientCertificates } = usualLimits;
    const ofListener = connections.total * (memoryOf.connection + maxBodyBytes);
    const ofTokenListener =
      connectionsWithCertificates.total * (memoryOf.connectionWithCertificate + maxBodyBytes) +
      clientCertificates.handshakes.total * memoryOf.handshakeWithCertificate;
    const [, gibibytes] = /^(\d+)Gi$/.exec(container.resources.limits.memory) ?? [];
    assert.ok(Number(gibibytes) * 2 ** 30 >= afterLoad + 2 * ofListener + ofTokenListener);
    assert.deepEqual(
      container.resources.requests,
      find('Deployment').spec.template.spec.containers[0].resources.requests,
    );
  });
}

test('without endpoints a replica is ready when everything is well, the CA included', () => {
  const [container] = find('Deployment').spec.template.spec.containers;
  assert.equal(container.readinessProbe.httpGet.path, '/readyz');
});

test('the token endpoint’s certificate carries the name of its Service', async () => {
  const overlaid = await build(join(manifests, 'examples/tokens'));
  assert.ok((await configuration(overlaid)).endpoints?.names.includes('kubespiffe-tokens.kubespiffe.svc'));
});

test('the bundle endpoint of the web finds its certificate where the Secret is mounted', async () => {
  const overlaid = await build(join(manifests, 'examples/federation'));
  const { bundleWeb } = (await configuration(overlaid)).endpoints ?? {};
  const { containers, volumes } = find('Deployment', overlaid).spec.template.spec;
  const [{ mountPath, name }] = containers[0].volumeMounts;
  assert.deepEqual(
    [bundleWeb?.certificateFile, bundleWeb?.keyFile],
    [`${mountPath}/tls.crt`, `${mountPath}/tls.key`],
  );
  const { secret } = volumes.find((volume: Manifest) => volume.name === name);
  assert.equal(secret.defaultMode, 0o444);
});

test('an overlay for clusters without Pod Certificates names the ConfigMap that the role allows', async () => {
  const folder = join(manifests, 'examples/without-pod-certificates');
  const overlaid = await build(folder);
  const config = await configuration(overlaid);
  assert.ok(config.endpoints?.token?.x509);
  const role = overlaid.find(({ metadata }) => metadata.name === 'kubespiffe-roots-configmap');
  const rule = role.rules.find(({ resources }: { resources: string[] }) => resources.includes('configmaps'));
  assert.deepEqual(rule.resourceNames, [config.signers.spiffe.rootsConfigMap]);
  await controlPlane.kubectl([
    'apply',
    '--server-side',
    '--force-conflicts',
    '--dry-run=server',
    '-k',
    folder,
  ]);
});

async function projectedSources(example: string): Promise<Manifest[]> {
  const path = join(manifests, 'examples', example);
  const text = await controlPlane.kubectl(['create', '--dry-run=client', '-o', 'json', '-f', path]);
  const [{ projected }] = (JSON.parse(text) as Manifest).spec.volumes;
  return projected.sources;
}

const ours = ownAudiences('example.org');
for (const [example, audience] of [
  ['jwt-svid.yaml', ours.token],
  ['jwt-svid-roots-configmap.yaml', ours.token],
  ['x509-svid.yaml', ours.x509],
] as const) {
  test(`the example ${example} asks for a token of the endpoint’s own audience`, async () => {
    const token = (await projectedSources(example)).find((source) => source.serviceAccountToken);
    assert.equal(token.serviceAccountToken.audience, audience);
  });
}

for (const example of ['jwt-svid-roots-configmap.yaml', 'x509-svid.yaml']) {
  test(`the example ${example} takes the roots from the ConfigMap that the component makes`, async () => {
    const config = await configuration(await build(join(manifests, 'examples/without-pod-certificates')));
    const source = (await projectedSources(example)).find(({ configMap }) => configMap);
    assert.deepEqual(source.configMap, { name: config.signers.spiffe.rootsConfigMap });
  });
}

test('the settings are valid, and name what the roles allow', async () => {
  const config = await configuration(objects);
  const roles = objects.filter(
    ({ kind, rules }) =>
      kind === 'Role' &&
      rules.some(({ resources }: { resources: string[] }) => resources.includes('secrets')),
  );
  assert.equal(roles.length, 2);
  for (const { metadata, rules } of roles) {
    assert.equal(config.namespace, metadata.namespace);
    assert.equal(config.signers.spiffe.pool.namespace, metadata.namespace);
    const named = rules.flatMap(({ resourceNames }: { resourceNames?: string[] }) => resourceNames ?? []);
    const pool = config.signers.spiffe.pool.name;
    assert.deepEqual(
      named.filter((name: string) => name !== signedUntilName(pool)),
      [pool],
    );
  }
  const rule = (resource: string): Manifest =>
    objects
      .filter(({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === 'kubespiffe-signer')
      .flatMap(({ rules }) => rules)
      .find(({ resources }) => resources.includes(resource));
  const signers = ['spiffe', 'pod-identity'] as const;
  assert.deepEqual(
    rule('clustertrustbundles').resourceNames,
    signers.flatMap((name) =>
      (['live', 'preview'] as const).map((canarying) =>
        bundleName(`kubespiffe.io/${name}`, config.signers[name].bundleSuffix, canarying),
      ),
    ),
  );
  assert.deepEqual(
    rule('signers').resourceNames,
    signers.map((name) => `kubespiffe.io/${name}`),
  );
  const [container] = find('Deployment').spec.template.spec.containers;
  assert.equal(container.ports[0].containerPort, config.metricsAddress.port);
});

test('the signer’s pods are admitted by the restricted Pod Security of their namespace', async () => {
  const { template } = find('Deployment').spec;
  const pod = { metadata: { ...template.metadata, name: 'signer' }, spec: template.spec };
  await create(controlPlane, '/api/v1/namespaces/kubespiffe/pods?dryRun=All', pod);
  const privileged = structuredClone(pod);
  privileged.spec.containers[0].securityContext.allowPrivilegeEscalation = true;
  await assert.rejects(
    create(controlPlane, '/api/v1/namespaces/kubespiffe/pods?dryRun=All', privileged),
    /violates PodSecurity \\"restricted/,
  );
});

/** What the SecurityContextConstraints restricted-v2 of OpenShift allow, read from its manifest. */
const openshiftVolumes =
  'configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret';

/** Why restricted-v2 would refuse a pod, as far as its spec can say. An empty list: it assigns user, group and SELinux label. */
function refusalsOfOpenShift(spec: Manifest): string[] {
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  const contexts = [spec.securityContext ?? {}, ...containers.map((each) => each.securityContext ?? {})];
  const chosen = ['runAsUser', 'fsGroup', 'seLinuxOptions', 'privileged', 'sysctls'];
  const host = ['hostNetwork', 'hostPID', 'hostIPC'];
  return [
    ...chosen.filter((field) => contexts.some((context) => context[field])),
    ...host.filter((field) => spec[field]),
    ...containers.filter((each) => each.ports?.some((port: Manifest) => port.hostPort)).map(() => 'hostPort'),
    ...containers
      .filter(({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false)
      .map(() => 'allowPrivilegeEscalation'),
    ...contexts.flatMap(({ capabilities }) =>
      (capabilities?.add ?? []).map((add: string) => `capability ${add}`),
    ),
    ...contexts.flatMap(({ seccompProfile: { type } = { type: 'RuntimeDefault' } }) =>
      type === 'RuntimeDefault' ? [] : [`seccomp ${type}`],
    ),
    ...(spec.volumes ?? [])
      .flatMap((volume: Manifest) => Object.keys(volume).filter((key) => key !== 'name'))
      .filter((type: string) => !openshiftVolumes.split(' ').includes(type)),
  ];
}

for (const folder of [
  'base',
  'examples/tokens',
  'examples/federation',
  'examples/without-pod-certificates',
]) {
  test(`the signer of manifests/${folder} leaves user and group to the platform, as OpenShift demands`, async () => {
    const { template } = find('Deployment', await build(join(manifests, folder))).spec;
    assert.deepEqual(refusalsOfOpenShift(template.spec), []);
    // With what OpenShift assigns, the pod passes Pod Security restricted too.
    const pod = { metadata: { ...template.metadata, name: 'signer' }, spec: structuredClone(template.spec) };
    Object.assign(pod.spec.securityContext, { runAsUser: 1000650000, fsGroup: 1000650000 });
    Object.assign(pod.spec.securityContext, { seLinuxOptions: { level: 's0:c25,c20' } });
    await create(controlPlane, '/api/v1/namespaces/kubespiffe/pods?dryRun=All', pod);
  });
}

test('the components for OpenShift ask for restricted-v2, fix no user or group, and find the metrics', async (t) => {
  const overlay = await mkdtemp(join(tmpdir(), 'overlay-'));
  t.after(() => rm(overlay, { recursive: true }));
  const kustomization = {
    resources: [relative(overlay, base)],
    components: ['openshift', 'monitoring'].map((name) => relative(overlay, join(manifests, name))),
  };
  await writeFile(join(overlay, 'kustomization.yaml'), JSON.stringify(kustomization));
  const overlaid = await build(overlay);
  const { template } = find('Deployment', overlaid).spec;
  assert.equal(template.metadata.annotations['openshift.io/required-scc'], 'restricted-v2');
  assert.deepEqual(refusalsOfOpenShift(template.spec), []);
  for (const context of [template.spec, ...template.spec.containers].map((each) => each.securityContext))
    for (const field of ['runAsUser', 'runAsGroup', 'fsGroup', 'supplementalGroups'])
      assert.equal(context[field], undefined, field);
  const { selector, endpoints } = find('ServiceMonitor', overlaid).spec;
  const services = overlaid.filter(({ kind }) => kind === 'Service');
  const selected = services.filter(({ metadata }) =>
    Object.entries(selector.matchLabels).every(([label, value]) => metadata.labels[label] === value),
  );
  assert.deepEqual(
    selected.map(({ metadata }) => metadata.name),
    ['kubespiffe-signer-metrics'],
  );
  assert.deepEqual(
    selected[0].spec.ports.map(({ name }: Manifest) => name),
    endpoints.map(({ port }: Manifest) => port),
  );
});

test('what OpenShift refuses is recognised in a pod', () => {
  const spec = structuredClone(find('Deployment').spec.template.spec);
  Object.assign(spec.securityContext, { runAsUser: 65532, fsGroup: 65532 });
  Object.assign(spec, { hostNetwork: true, volumes: [{ name: 'host', hostPath: { path: '/' } }] });
  spec.containers[0].securityContext = { capabilities: { add: ['NET_ADMIN'] } };
  assert.deepEqual(refusalsOfOpenShift(spec), [
    ...['runAsUser', 'fsGroup', 'hostNetwork', 'allowPrivilegeEscalation'],
    ...['capability NET_ADMIN', 'hostPath'],
  ]);
});

test('Service, PodDisruptionBudget and NetworkPolicy select the signer’s pods', () => {
  const { labels } = find('Deployment').spec.template.metadata;
  for (const selector of [
    find('Service').spec.selector,
    find('PodDisruptionBudget').spec.selector.matchLabels,
    find('NetworkPolicy').spec.podSelector.matchLabels,
    find('Deployment').spec.selector.matchLabels,
  ]) {
    assert.partialDeepStrictEqual(labels, selector);
  }
});

test('every example is taken by a namespace with restricted Pod Security', async (t) => {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await controlPlane.request('PATCH', '/api/v1/namespaces/default', { metadata: { labels } });
  const files = (await readdir(join(manifests, 'examples'))).filter((name) => name.endsWith('.yaml'));
  assert.ok(files.length >= 2);
  for (const file of files) {
    await t.test(file, async () => {
      const path = join(manifests, 'examples', file);
      await controlPlane.kubectl(['apply', '--server-side', '--dry-run=server', '-f', path]);
    });
  }
});

test('a pod that writes the signer’s name in another case is refused at once, not left waiting', async () => {
  const text = await readFile(join(manifests, 'examples/pod.yaml'), 'utf8');
  const input = text.replaceAll('kubespiffe.io/spiffe', 'kubespiffe.io/SPIFFE');
  assert.notEqual(input, text);
  await assert.rejects(
    controlPlane.kubectl(['apply', '--server-side', '--dry-run=server', '-f', '-'], { input }),
    /podCertificate\.signerName.*lowercase/s,
  );
});

test('the examples select the roots by labels that the signer sets', async () => {
  const config = await configuration(objects);
  const published = bundleLabels(config.trustDomain);
  for (const file of ['pod.yaml', 'separate-volumes.yaml']) {
    const path = join(manifests, 'examples', file);
    const text = await controlPlane.kubectl(['create', '--dry-run=client', '-o', 'json', '-f', path]);
    const { spec } = JSON.parse(text) as Manifest;
    const volumes: Manifest[] = (spec.template?.spec ?? spec).volumes;
    const sources = volumes.flatMap(({ projected }) => projected.sources);
    const bundle = sources.find((source) => source.clusterTrustBundle)?.clusterTrustBundle;
    assert.equal(bundle.signerName, 'kubespiffe.io/spiffe');
    assert.partialDeepStrictEqual(published, bundle.labelSelector.matchLabels);
    const certificate = sources.find((source) => source.podCertificate)?.podCertificate;
    assert.equal(certificate.signerName, 'kubespiffe.io/spiffe');
  }
});
