import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create } from '../contract/workloads.ts';
import { readPage } from '../docs/markdown.ts';
import { run } from '../tools/run.ts';
import { federationRows } from './federation-rows.ts';
import { certificateRequest, joinNode, type RequestFacts, requestsPath, type TestNode } from './nodes.ts';
import {
  grantRows,
  grants,
  type RegistrationRow,
  rightSpec,
  rowsOfBoth,
  rowsOfCluster,
  rowsOfNamespace,
  trustDomains,
} from './registration-rows.ts';
import { asCertificate, asServiceAccount, type Speaker } from './speaker.ts';
import { installSpire } from './spire.ts';

const base = join(import.meta.dirname, '../../manifests/base');
const refusal =
  /only kubelets may create PodCertificateRequests for kubespiffe\.io\/spiffe, and ".*" is not a node/;

let controlPlane: ControlPlane;
let node: TestNode;
let facts: RequestFacts;
/** Users that RBAC allows to create requests, so that only the policy is left to refuse them. */
let strangers: Map<string, Speaker>;

before(async () => {
  controlPlane = await startControlPlane({ betaApis: true, nodeRestriction: true });
  await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
  node = await joinNode(controlPlane, 'node-a');
  facts = await node.newPod('web');

  const mayCreate = [
    { apiGroups: ['certificates.k8s.io'], resources: ['podcertificaterequests'], verbs: ['create'] },
  ];
  const roles = '/apis/rbac.authorization.k8s.io/v1/clusterroles';
  await create(controlPlane, roles, { metadata: { name: 'create-requests' }, rules: mayCreate });
  const user = (name: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name });
  await create(controlPlane, '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'create-requests' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'create-requests' },
    subjects: [
      user('system:node:node-a'),
      user('mallory'),
      { kind: 'ServiceAccount', namespace: 'default', name: 'default' },
    ],
  });
  const certificate = async (commonName: string, organization?: string) =>
    asCertificate(
      controlPlane,
      await controlPlane.authority.issue({ commonName, ...(organization && { organization }) }),
    );
  strangers = new Map([
    ['the cluster administrator', await certificate('admin', 'system:masters')],
    ['a user with the name of a node and without its group', await certificate('system:node:node-a')],
    ['a user in the group of nodes without the name of one', await certificate('mallory', 'system:nodes')],
    ['a ServiceAccount', await asServiceAccount(controlPlane, { namespace: 'default', name: 'default' })],
  ]);

  const admin = strangers.get('the cluster administrator');
  const request = await certificateRequest(facts);
  await waitFor('the policy to take effect', async () => {
    const answer = await admin?.('POST', `${requestsPath()}?dryRun=All`, request);
    return answer?.status === 403 && refusal.test(answer.message);
  });
});
after(() => controlPlane?.stop());

for (const version of ['v1', 'v1beta1'] as const) {
  test(`a node creates requests for its pods in ${version}`, async () => {
    const answer = await node.speak('POST', requestsPath(version), await certificateRequest(facts, version));
    assert.equal(answer.status, 201, answer.message);
  });

  for (const who of [
    'the cluster administrator',
    'a user with the name of a node and without its group',
    'a user in the group of nodes without the name of one',
    'a ServiceAccount',
  ]) {
    test(`${who} creates none in ${version}, and the refusal says who may`, async () => {
      const answer = await strangers.get(who)?.(
        'POST',
        requestsPath(version),
        await certificateRequest(facts, version),
      );
      assert.equal(answer?.status, 403, answer?.message);
      assert.match(answer?.message ?? '', refusal);
    });
  }
}

test('requests to signers of others are not refused', async () => {
  const foreign = await certificateRequest({ ...facts, signerName: 'other.example/spiffe' });
  const answer = await strangers.get('the cluster administrator')?.('POST', requestsPath(), foreign);
  assert.equal(answer?.status, 201, answer?.message);
});

test('every signer name of kubespiffe.io is covered, and no name that only has the same beginning', async () => {
  const create = async (signerName: string) =>
    strangers.get('the cluster administrator')?.(
      'POST',
      `${requestsPath()}?dryRun=All`,
      await certificateRequest({ ...facts, signerName }),
    );
  assert.equal((await create('kubespiffe.io/service-dns'))?.status, 403);
  assert.equal((await create('kubespiffe.io.example/spiffe'))?.status, 201);
});

test('a node cannot change the labels of its pods, by which registrations select, but their annotations', async () => {
  await node.newPod('labelled');
  const path = '/api/v1/namespaces/default/pods/labelled/status';
  const patch = (metadata: object) =>
    node.speak('PATCH', path, { metadata }, 'application/strategic-merge-patch+json');
  const refused = await patch({ labels: { app: 'payments' } });
  assert.equal(refused.status, 403);
  assert.match(refused.message, /cannot update labels through pod status/);
  assert.equal((await patch({ annotations: { 'example.org/team': 'payments' } })).status, 200);
  const pod = await controlPlane.request('GET', '/api/v1/namespaces/default/pods/labelled');
  const { annotations } = (pod.body as { metadata: { annotations?: Record<string, string> } }).metadata;
  assert.equal(annotations?.['example.org/team'], 'payments');
});

test('a node still cannot ask for a pod of another node', async () => {
  const other = await joinNode(controlPlane, 'node-b');
  const answer = await other.speak('POST', requestsPath(), await certificateRequest(facts));
  assert.equal(answer.status, 403);
  assert.doesNotMatch(answer.message, refusal);
});

interface Source {
  podCertificate?: object;
  clusterTrustBundle?: object;
}
const podCertificate = (signerName: string): Source => ({
  podCertificate: { signerName, keyType: 'ECDSAP256', credentialBundlePath: 'credentials.pem' },
});
const separateFiles = (signerName: string): Source => ({
  podCertificate: { signerName, keyType: 'ECDSAP256', keyPath: 'key.pem', certificateChainPath: 'chain.pem' },
});
const roots = (of: object): Source => ({
  clusterTrustBundle: { path: 'roots.pem', labelSelector: {}, ...of },
});
const ours = podCertificate('kubespiffe.io/spiffe');

/** The spec of a pod with one volume of these sources, mounted as said. */
const podSpec = (sources: Source[], mount: object = {}) => ({
  containers: [
    { name: 'main', image: 'none', volumeMounts: [{ name: 'spiffe', mountPath: '/run/spiffe', ...mount }] },
  ],
  volumes: [{ name: 'spiffe', projected: { sources } }],
});
const template = (spec: object) => ({ metadata: { labels: { app: 'web' } }, spec });
const selector = { matchLabels: { app: 'web' } };
const once = (spec: object) => ({ ...spec, restartPolicy: 'Never' });
const kinds: [kind: string, apiVersion: string, specOf: (pod: object) => object][] = [
  ['Pod', 'v1', (pod) => pod],
  ['ReplicationController', 'v1', (pod) => ({ template: template(pod) })],
  ['Deployment', 'apps/v1', (pod) => ({ selector, template: template(pod) })],
  ['StatefulSet', 'apps/v1', (pod) => ({ selector, serviceName: 'web', template: template(pod) })],
  ['DaemonSet', 'apps/v1', (pod) => ({ selector, template: template(pod) })],
  ['ReplicaSet', 'apps/v1', (pod) => ({ selector, template: template(pod) })],
  ['Job', 'batch/v1', (pod) => ({ template: template(once(pod)) })],
  [
    'CronJob',
    'batch/v1',
    (pod) => ({ schedule: '0 0 * * *', jobTemplate: { spec: { template: template(once(pod)) } } }),
  ],
];

describe('the policy that warns of problems in pods', () => {
  /** What kubectl prints beside its result. It fails where the API server refuses the object. */
  async function warningsOf(...args: string[]): Promise<string[]> {
    const [program = '', ...flags] = controlPlane.binaries.command('kubectl') ?? ['kubectl'];
    const common = [`--kubeconfig=${controlPlane.kubeconfig}`, '--dry-run=server'];
    const { stderr } = await promisify(execFile)(program, [...flags, ...args, ...common]);
    return stderr.split('\n').filter((line) => line !== '');
  }
  async function warnings(object: object): Promise<string[]> {
    const file = join(controlPlane.dir, 'warned.json');
    await writeFile(file, JSON.stringify(object));
    return warningsOf('create', '-f', file);
  }
  const aPod = (spec: object, metadata: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'warned', ...metadata },
    spec,
  });

  before(() =>
    waitFor(
      'the policy to take effect',
      async () => (await warnings(aPod(podSpec([ours], { subPath: 'a' })))).length,
    ),
  );

  for (const [kind, apiVersion, specOf] of kinds) {
    it(`the policy of warnings warns of an unknown signer and of a subPath mount in a ${kind}, and refuses neither`, async () => {
      const metadata = { name: 'warned' };
      const unknown = podSpec([podCertificate('kubespiffe.io/spife')]);
      const [ofSigner, ...others] = await warnings({ apiVersion, kind, metadata, spec: specOf(unknown) });
      assert.match(
        ofSigner ?? '',
        /^Warning: .*: no signer of kubespiffe serves kubespiffe\.io\/spife: .* Use kubespiffe\.io\/spiffe, kubespiffe\.io\/pod-identity or kubespiffe\.io\/service-dns$/,
      );
      assert.deepEqual(others, []);
      const frozen = podSpec([ours], { subPath: 'credentials.pem' });
      const [ofMount, ...rest] = await warnings({ apiVersion, kind, metadata, spec: specOf(frozen) });
      assert.match(
        ofMount ?? '',
        /^Warning: .*: the subPath mount at \/run\/spiffe is never renewed: .* directory$/,
      );
      assert.deepEqual(rest, []);
    });
  }

  const initContainers = [
    {
      name: 'first',
      image: 'none',
      volumeMounts: [{ name: 'spiffe', mountPath: '/first', subPathExpr: '$(HOSTNAME)' }],
    },
  ];
  const bySigner = roots({ signerName: 'kubespiffe.io/spiffe' });
  const mistakes: [what: string, spec: object, warning: RegExp][] = [
    [
      'an unknown signer of roots',
      podSpec([roots({ signerName: 'kubespiffe.io/x' })]),
      /serves kubespiffe\.io\/x:/,
    ],
    ['a subPath mount of roots', podSpec([bySigner], { subPath: 'roots.pem' }), /subPath mount/],
    [
      'a subPath mount of roots by name',
      podSpec([{ clusterTrustBundle: { name: 'kubespiffe.io:spiffe:roots', path: 'a' } }], { subPath: 'a' }),
      /subPath mount/,
    ],
    [
      'key and chain in separate files',
      podSpec([separateFiles('kubespiffe.io/spiffe')]),
      /separate files \(key\.pem\): .* Use credentialBundlePath$/,
    ],
    ['a subPathExpr of an init container', { ...podSpec([ours]), initContainers }, /mount at \/first/],
  ];
  for (const [what, spec, warning] of mistakes) {
    it(`the policy of warnings warns of ${what}`, async () => {
      const all = await warnings(aPod(spec));
      assert.equal(all.length, 1, all.join('\n'));
      assert.match(all[0] ?? '', warning);
    });
  }

  const plain = { containers: [{ name: 'main', image: 'none' }] };
  const fine: [what: string, object: object][] = [
    ['a pod without volumes', aPod(plain)],
    ['a certificate of ours, mounted as a directory', aPod(podSpec([ours, bySigner]))],
    ["separate files of others' signers", aPod(podSpec([separateFiles('other.example/x')]))],
    ["others' signers", aPod(podSpec([podCertificate('other.example/x')], { subPath: 'a' }))],
    [
      'a subPath mount of another volume',
      aPod({
        containers: [
          {
            name: 'main',
            image: 'none',
            volumeMounts: [
              { name: 'spiffe', mountPath: '/run/spiffe' },
              { name: 'config', mountPath: '/etc/x', subPath: 'x' },
            ],
          },
        ],
        volumes: [
          { name: 'spiffe', projected: { sources: [ours] } },
          { name: 'config', configMap: { name: 'x' } },
        ],
      }),
    ],
    [
      'a pod that a controller makes',
      aPod(podSpec([ours], { subPath: 'a' }), {
        ownerReferences: [
          { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'a', uid: 'a', controller: true },
        ],
      }),
    ],
  ];
  for (const [what, object] of fine) {
    it(`the policy of warnings does not warn of ${what}`, async () =>
      assert.deepEqual(await warnings(object), []));
  }

  it('the policy of warnings does not warn of our examples', async () => {
    const examples = join(base, '../examples');
    // A registration needs the ClusterRegistrationPolicy, which the signer creates.
    const files = (await readdir(examples)).filter(
      (name) => name.endsWith('.yaml') && !/registration/.test(name),
    );
    assert.ok(files.length >= 4);
    for (const file of files)
      assert.deepEqual(await warningsOf('apply', '--server-side', '-f', join(examples, file)), [], file);
    for (const name of await readdir(join(examples, 'servers'))) {
      const folder = join(examples, 'servers', name);
      assert.deepEqual(await warningsOf('apply', '--server-side', '-k', folder), [], folder);
    }
  });
});

describe('the resources that give names', () => {
  const apiVersion = 'kubespiffe.io/v1alpha1';
  interface Named {
    kind: string;
    metadata: { name: string; namespace?: string };
  }
  /** What the API server says to an object that `kubectl create --dry-run=server` sends; empty if it accepts it. */
  async function refusalOf({ kind, metadata, ...rest }: Named): Promise<string> {
    const resource = `${kind.toLowerCase()}s`.replace(/ys$/, 'ies');
    const place = metadata.namespace ? `/namespaces/${metadata.namespace}` : '';
    const path = `/apis/${apiVersion}${place}/${resource}?dryRun=All&fieldValidation=Strict`;
    const { status, body } = await controlPlane.request('POST', path, {
      apiVersion,
      kind,
      metadata,
      ...rest,
    });
    return status === 201 ? '' : String((body as { message?: string }).message);
  }
  const apply = (object: Named) =>
    controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion, ...object }) });
  const policy = (grants: object[], name = 'default') => ({
    ...{ kind: 'ClusterRegistrationPolicy', metadata: { name }, spec: { grants } },
  });
  const registration = (spec: object) => ({
    ...{ kind: 'WorkloadRegistration', metadata: { name: 'web', namespace: 'shop' } },
    spec: { ...rightSpec, ...spec },
  });
  const clusterRegistration = (spec: object) => ({
    ...{ kind: 'ClusterWorkloadRegistration', metadata: { name: 'web' } },
    spec: { ...rightSpec, ...spec },
  });

  before(async () => {
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: 'shop' } });
    const foreign = registration({ spiffeIDTemplate: 'spiffe://a/ns/b/c' });
    const refused = (words: RegExp) => async () => words.test(await refusalOf(foreign));
    await waitFor('the policy to let everything pass without its grants', refused(/^$/));
    await apply(policy(grants));
    await waitFor('the policy to see its grants', refused(/outside of \/ns\/shop/));
    const status = `/apis/${apiVersion}/clusterregistrationpolicies/default/status`;
    assert.equal((await controlPlane.request('PATCH', status, { status: { trustDomains } })).status, 200);
    const elsewhere = clusterRegistration({ spiffeIDTemplate: 'spiffe://a/b' });
    await waitFor('the policy to see the trust domains', async () =>
      /is in the trust domain a,/.test(await refusalOf(elsewhere)),
    );
  });

  const verb = ({ refusal }: RegistrationRow) => (refusal ? 'refuses' : 'accepts');
  const judge = async ({ refusal }: RegistrationRow, object: Named) =>
    assert.match(await refusalOf(object), refusal ?? /^$/);
  for (const row of [...rowsOfBoth, ...rowsOfNamespace]) {
    it(`the API server ${verb(row)} a WorkloadRegistration with ${row.what}`, () =>
      judge(row, registration(row.spec)));
  }
  for (const row of [...rowsOfBoth, ...rowsOfCluster]) {
    it(`the API server ${verb(row)} a ClusterWorkloadRegistration with ${row.what}`, () =>
      judge(row, clusterRegistration(row.spec)));
  }
  for (const [what, grant, refusal] of grantRows) {
    it(`the API server refuses a grant of ${what}`, async () =>
      assert.match(await refusalOf(policy([{ namespaces: ['shop'], ...grant }])), refusal));
  }

  for (const { what, spec, refusal } of federationRows) {
    it(`the API server ${refusal ? 'refuses' : 'accepts'} a FederatedTrustDomain with ${what}`, async () => {
      const object = { kind: 'FederatedTrustDomain', metadata: { name: 'partner' }, spec };
      assert.match(await refusalOf(object), refusal ?? /^$/);
    });
  }
  it('the API server refuses another trust domain in a FederatedTrustDomain', async () => {
    const object = (trustDomain: string) => ({
      ...{ kind: 'FederatedTrustDomain', metadata: { name: 'fixed' }, spec: { trustDomain, bundle: '{}' } },
    });
    await apply(object('partner.example'));
    await assert.rejects(apply(object('other.example')), /the trust domain cannot be changed/);
  });

  it('the API server refuses a ClusterRegistrationPolicy of another name', async () =>
    assert.match(
      await refusalOf(policy([], 'other')),
      /only the ClusterRegistrationPolicy named default is used/,
    ));

  for (const place of ['namespace', 'trust-domain'])
    it(`the policy for the ${place} uses no field that the resources do not have`, async () => {
      const path = `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/kubespiffe-registrations-in-${place}`;
      const typeChecking = await waitFor('the types to be checked', async () => {
        const { status } = (await controlPlane.request('GET', path)).body;
        return status?.observedGeneration && status.typeChecking;
      });
      assert.deepEqual(typeChecking, {});
    });

  it('the resources of the guide are accepted', async () => {
    const { text } = await readPage('docs/guides/registrations.md');
    const written = [...text.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml = '']) => parse(yaml) as Named);
    const ours = written.filter(({ kind }) => kind !== 'Pod');
    assert.ok(ours.length >= 3);
    for (const object of ours)
      assert.doesNotMatch(await refusalOf(object), /invalid|unknown|denied/, object.kind);
  });

  it('what `kubespiffe migrate spire --cluster` prints is accepted', async () => {
    await installSpire(controlPlane);
    const flags = ['--kubeconfig', controlPlane.kubeconfig, '--cluster-domain', 'cluster.local'];
    const { code, stdout, stderr } = await run(['migrate', 'spire', '--cluster', ...flags]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /\n3 objects read, 3 written\n$/);
    const applied = await controlPlane.kubectl(
      ['apply', '--dry-run=server', '--validate=strict', '-f', '-'],
      {
        input: stdout,
      },
    );
    assert.equal(applied.match(/created/g)?.length, 3, applied);
  });

  it('kubectl apply prints the reason of a refused registration', () =>
    assert.rejects(
      apply(registration({ spiffeIDTemplate: 'spiffe://example.org/ns/bank/web' })),
      /denied request: spiffeIDTemplate gives names outside of \/ns\/shop\/: \/ns\/bank\/web\. The namespace shop may/,
    ));

  it('a registration whose grant was taken away can still be labelled and deleted, and not be changed', async () => {
    const named = (spec: object) => ({ ...registration(spec), metadata: { name: 'old', namespace: 'shop' } });
    const path = `/apis/${apiVersion}/namespaces/shop/workloadregistrations/old`;
    await apply(named({ spiffeIDTemplate: 'spiffe://example.org/teams/shop/web' }));
    await apply(policy([]));
    const another = registration({ spiffeIDTemplate: 'spiffe://example.org/teams/shop/web' });
    await waitFor('the grants to be gone', () => refusalOf(another));
    const change = async (patch: object) => (await controlPlane.request('PATCH', path, patch)).status;
    assert.equal(await change({ metadata: { labels: { a: 'b' } } }), 200);
    assert.equal(await change({ spec: { priority: 1 } }), 422);
    assert.equal((await controlPlane.request('DELETE', path)).status, 200);
  });

  it('the roles view, edit and admin of a namespace include WorkloadRegistrations, and nothing of the cluster', async () => {
    const reading = ['get', 'list', 'watch'];
    const writing = ['create', 'delete', 'deletecollection', 'patch', 'update'];
    const granted = async (role: string, resource: string) => {
      const { rules } = (
        await controlPlane.request('GET', `/apis/rbac.authorization.k8s.io/v1/clusterroles/${role}`)
      ).body as { rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[] };
      return rules
        .filter(
          ({ apiGroups, resources }) => apiGroups.includes('kubespiffe.io') && resources.includes(resource),
        )
        .flatMap(({ verbs }) => verbs)
        .sort();
    };
    for (const [role, verbs] of [
      ['view', reading],
      ['edit', [...reading, ...writing].sort()],
      ['admin', [...reading, ...writing].sort()],
    ] as const) {
      await waitFor(
        `the role ${role}`,
        async () => (await granted(role, 'workloadregistrations')).join() === verbs.join(),
      );
      for (const resource of [
        'clusterworkloadregistrations',
        'clusterregistrationpolicies',
        'workloadregistrations/status',
      ])
        assert.deepEqual(await granted(role, resource), []);
    }
  });

  it('200 grants, and a namespace with 50 paths and 100 DNS names, are within the limits of the API server', async () => {
    const many = (count: number, nameOf: (index: number) => string) =>
      Array.from({ length: count }, (_, index) => nameOf(index));
    const grant = (index: number) => ({
      namespaces: many(20, (other) => `ns-${index}-${other}`),
      pathPrefixes: many(50, (path) => `/teams/${index}/${path}/`),
      dnsNames: many(100, (name) => `*.n${name}.g${index}.example.org`),
    });
    const granted = Array.from({ length: 200 }, (_, index) => grant(index));
    granted[199]?.namespaces.push('shop');
    const at = `/apis/${apiVersion}/clusterregistrationpolicies/default`;
    assert.equal((await controlPlane.request('PATCH', at, { spec: { grants: granted } })).status, 200);
    const dnsNameTemplates = many(32, (index) => `{{ .PodMeta.Name }}.n${99 - index}.g199.example.org`);
    const spiffeIDTemplate = 'spiffe://{{ .TrustDomain }}/teams/199/49/web';
    const wide = registration({ spiffeIDTemplate, dnsNameTemplates });
    await waitFor('the grants to be seen', async () => {
      const refusal = await refusalOf(wide);
      return refusal === '' || (refusal.includes('cost') && assert.fail(refusal));
    });
  });
});
