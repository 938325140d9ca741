import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { Pod } from '../../signer/kube/types.ts';
import type { Result } from '../../tools/doctor/check.ts';
import { checks, type Row } from '../../tools/doctor/run.ts';
import { createTestAuthority } from '../cluster/certificates.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { writeKubeconfig } from '../cluster/kubeconfig.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { rolesAt } from '../manifests/roles.ts';
import { type Ran, run } from '../tools/run.ts';
import { applyAdmissionPolicy, bindingPath } from './admission-policy.ts';
import { aPool, deletePool, putPool, startInstalledSigner } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, requestFor, signerName } from './workloads.ts';

const manifests = join(import.meta.dirname, '../../manifests');
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const signerRole = `${rbac}/clusterroles/kubespiffe-signer`;
const deployment = '/apis/apps/v1/namespaces/kubespiffe/deployments/kubespiffe-signer';
const leases = (namespace: string) => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
const roles = [
  `${rbac}/clusterroles/kubespiffe-doctor`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-settings-viewer`,
];

interface Report {
  result: Result;
  rows: Row[];
}

let controlPlane: ControlPlane;
let signers: SignerProcess[] = [];
/** The kubeconfig of a person who has the two roles and nothing else. */
let doctor = '';
const pool = aPool();
const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-doctor-'));

before(async () => {
  controlPlane = await startControlPlane();
  const first = await startInstalledSigner(controlPlane, { pool: await pool });
  await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-k', join(manifests, 'base')]);
  const account = { namespace: 'kubespiffe', name: 'kubespiffe-signer' };
  const second = await startSigner({
    kubeconfig: await controlPlane.kubeconfigFor(account),
    replica: 'signer-b',
  });
  signers = [first, second];
  await second.ready();
  await createNode('node-1', 'v1.37.1');
  const user = ['--user', 'doctor'];
  await controlPlane.kubectl([
    'create',
    'clusterrolebinding',
    'doctor',
    '--clusterrole',
    'kubespiffe-doctor',
    ...user,
  ]);
  await controlPlane.kubectl([
    ...[
      'create',
      'rolebinding',
      'doctor',
      '-n',
      'kubespiffe',
      '--role',
      'kubespiffe-settings-viewer',
      ...user,
    ],
  ]);
  const { url: server, authority } = controlPlane;
  const cluster = { server, authority: authority.certificate };
  doctor = await writeKubeconfig(
    join(folder, 'doctor'),
    cluster,
    await authority.issue({ commonName: 'doctor' }),
  );
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  for (const signer of signers) await signer.child.stop();
  await controlPlane?.stop();
});

const examine = (kubeconfig = doctor, ...args: string[]): Promise<Ran> =>
  run(['doctor', '--kubeconfig', kubeconfig, '--overdue-after', '1s', ...args]);

async function report(kubeconfig = doctor, ...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await examine(kubeconfig, '-o', 'json', ...args);
  assert.equal(stderr, '');
  const found = JSON.parse(stdout) as Report;
  assert.equal(code, found.result === 'problem' ? 1 : 0);
  for (const { result, remedy } of found.rows) assert.equal(remedy === undefined, result === 'ok');
  return found;
}

/** Waits until a check says something. */
async function rowOf(check: string, result: Result, says: RegExp, kubeconfig = doctor): Promise<Row> {
  let rows: Row[] = [];
  return waitFor(`${check} to be ${result}`, async () => {
    rows = (await report(kubeconfig)).rows.filter((row) => row.check === check);
    return rows.find((row) => row.result === result && says.test(`${row.lookedAt}: ${row.found}`));
  }).catch((error: unknown) => {
    throw new Error(`${check}: ${JSON.stringify(rows, undefined, 1)}`, { cause: error });
  });
}

async function createNode(name: string, kubeletVersion: string): Promise<void> {
  await create(controlPlane, '/api/v1/nodes', { metadata: { name } });
  const status = { nodeInfo: { kubeletVersion } };
  await controlPlane.request('PATCH', `/api/v1/nodes/${name}/status`, { status });
}

/** A pod with one projected volume, `identity`. */
function podWith(name: string, source: object, mount: object = {}): Promise<Pod> {
  return create<Pod>(controlPlane, '/api/v1/namespaces/default/pods', {
    metadata: { name },
    spec: {
      nodeName: 'node-1',
      automountServiceAccountToken: false,
      containers: [
        {
          name: 'app',
          image: 'none',
          volumeMounts: [{ name: 'identity', mountPath: '/run/identity', ...mount }],
        },
      ],
      volumes: [{ name: 'identity', projected: { sources: [source] } }],
    },
  });
}
const certificateOf = (signerName: string) => ({
  podCertificate: { signerName, keyType: 'ECDSAP256', credentialBundlePath: 'svid.pem' },
});
const bundleOf = (labels: object, more: object = {}) => ({
  clusterTrustBundle: { signerName, labelSelector: { matchLabels: labels }, path: 'roots.pem', ...more },
});
const removePod = async (name: string) => {
  await controlPlane.request('DELETE', `/api/v1/namespaces/default/pods/${name}`, { gracePeriodSeconds: 0 });
};
const setPhase = (pod: Pod, phase: string) =>
  controlPlane.request('PATCH', `/api/v1/namespaces/default/pods/${pod.metadata.name}/status`, {
    status: { phase },
  });

const requestsIn = (namespace: string) =>
  `/apis/certificates.k8s.io/v1/namespaces/${namespace}/podcertificaterequests`;

/** A running pod with an Event in the form in which kubelets write them. A test with a real one is in test/e2e. */
async function reportedByKubelet(name: string, reason: string, message: string): Promise<void> {
  const pod = await podWith(name, certificateOf(signerName));
  await setPhase(pod, 'Running');
  const now = new Date(Date.now() - 60_000).toISOString().replace(/\.\d+/, '');
  await create(controlPlane, '/api/v1/namespaces/default/events', {
    metadata: { generateName: `${name}-` },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'default', name, uid: pod.metadata.uid },
    ...{ type: 'Warning', reason, message, count: 1, firstTimestamp: now, lastTimestamp: now },
    ...{ source: { component: 'kubelet', host: 'node-1' }, reportingComponent: 'kubelet' },
  });
}

async function putLease(namespace: string, name: string, skewMs: number, labels: object = {}): Promise<void> {
  const renewTime = new Date(Date.now() + skewMs).toISOString().replace('Z', '000Z');
  const spec = { holderIdentity: name, leaseDurationSeconds: 10, renewTime };
  await create(controlPlane, leases(namespace), { metadata: { name, labels }, spec });
}
const removeLease = (namespace: string, name: string) =>
  controlPlane.request('DELETE', `${leases(namespace)}/${name}`);

describe('kubespiffe doctor', () => {
  it('doctor finds nothing wrong in a correct cluster, except for what this one lacks', async () => {
    const { rows } = await waitFor('the replicas', async () => {
      const found = await report();
      return found.rows.every(({ check, result }) => check !== 'replicas' || result === 'ok') && found;
    });
    assert.deepEqual([...new Set(rows.map(({ check }) => check))], Object.keys(checks));
    const others = rows
      .filter(({ result }) => result !== 'ok')
      .map(({ check, result }) => `${check} ${result}`);
    assert.deepEqual(others, ['node-restriction problem', 'encryption-at-rest warning', 'pool unknown']);
  });

  it('doctor prints a table, and what to do', async () => {
    const { code, stdout } = await examine();
    assert.equal(code, 1);
    assert.match(
      stdout,
      /^RESULT +CHECK +LOOKED AT +FOUND\nok +api +podcertificaterequests\.certificates\.k8s\.io +served as v1\n/,
    );
    assert.match(
      stdout,
      /\nWhat to do:\n {2}node-restriction, .*: start kube-apiserver with --enable-admission-plugins=NodeRestriction\n/,
    );
    const yaml = await examine(doctor, '-o', 'yaml');
    assert.equal((parse(yaml.stdout) as Report).result, 'problem');
  });

  it('doctor looks into the pool with the rights of a CA operator', async () => {
    await rowOf('pool', 'ok', /Secret kubespiffe\/kubespiffe-pool: can sign: 1$/, controlPlane.kubeconfig);
    await deletePool(controlPlane);
    await rowOf('pool', 'problem', /does not exist/, controlPlane.kubeconfig);
    await putPool(controlPlane, '{}');
    await rowOf('pool', 'problem', /kubespiffe-pool: .+/, controlPlane.kubeconfig);
    const now = Math.floor(Date.now() / 1000);
    await putPool(controlPlane, await aPool({ now: now - 86_400 * 30, lifetimeSeconds: 86_400 }));
    await rowOf('pool', 'problem', /expired/, controlPlane.kubeconfig);
  });

  it("doctor shows why a request waits, in the words of the signer's Event", async () => {
    const pod = await podWith('waits', certificateOf(signerName));
    await requestFor(controlPlane, pod);
    const row = await waitFor('the Event', async () => {
      const found = await rowOf(
        'requests',
        'problem',
        /Pod default\/waits, request req-\w+: open for \d+s: it waits to start/,
      );
      return found.remedy?.startsWith('PoolUnusable: ') && found;
    });
    assert.match(row.remedy ?? '', /^PoolUnusable: The CA pool cannot be used: /);
    await setPhase(pod, 'Running');
    await rowOf('requests', 'problem', /the refresh of its certificate is overdue/);
    await removePod('waits');
    await putPool(controlPlane, await pool);
    for (const signer of signers) await signer.ready();
  });

  it('doctor shows a request that was denied, for which kubelet does not ask again', async () => {
    const pod = await podWith('denied', certificateOf(signerName));
    const unverifiedUserAnnotations = { 'kubespiffe.io/no-such': 'wish' };
    await answerTo(controlPlane, await requestFor(controlPlane, pod, { unverifiedUserAnnotations }));
    await rowOf('requests', 'problem', /Denied \(InvalidUnverifiedUserAnnotations\): .*: it cannot start/);
    await setPhase(pod, 'Running');
    const { remedy } = await rowOf('requests', 'problem', /its certificate is no longer renewed/);
    assert.match(remedy ?? '', /recreate/);
    await rowOf('refreshes', 'ok', /\d pods? with a certificate/);
    await controlPlane.request('DELETE', requestsIn('default'));
    await rowOf(
      'refreshes',
      'problem',
      /Pod default\/denied: refused, .* \(InvalidUnverifiedUserAnnotations\): its certificate is no longer renewed\. .*no-such/,
    );
    await removePod('denied');
  });
});

/** No setting allows the annotation. */
const unusableTemplate = `spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/{{ index .PodMeta.Annotations "team" }}`;

/** What goes wrong, how, and what the doctor says. */
const problems: {
  title: string;
  make: () => Promise<unknown>;
  undo: () => Promise<unknown>;
  check: string;
  result?: Result;
  says: RegExp;
  /** What the remedy says, where its command depends on what was found. */
  advises?: RegExp;
}[] = [
  {
    title: 'the admission policy is not bound',
    make: () => controlPlane.request('DELETE', bindingPath),
    undo: () => applyAdmissionPolicy(controlPlane),
    check: 'admission-policy',
    says: /ValidatingAdmissionPolicyBinding kubespiffe-requests-from-nodes-only does not exist/,
  },
  {
    title: 'a pod asks a signer that does not run',
    make: () => podWith('unserved', certificateOf('kubespiffe.io/spife')),
    undo: () => removePod('unserved'),
    check: 'signer-names',
    says: /Pod default\/unserved: asks the signer kubespiffe\.io\/spife, which does not run/,
  },
  {
    title: 'a pod selects a bundle by labels that none has',
    make: () => podWith('rootless', bundleOf({ 'k8s.spiffe.io/canarying': 'dead' })),
    undo: () => removePod('rootless'),
    check: 'bundle-selectors',
    says: /Pod default\/rootless, volume identity: no ClusterTrustBundle .*"dead".*cannot start/,
  },
  {
    title: 'a pod names a bundle that does not exist',
    make: () =>
      podWith('nameless', { clusterTrustBundle: { name: 'kubespiffe.io:spiffe:root', path: 'roots.pem' } }),
    undo: () => removePod('nameless'),
    check: 'bundle-selectors',
    says: /there is no ClusterTrustBundle kubespiffe\.io:spiffe:root: the pod cannot start/,
  },
  {
    title: 'an optional bundle is missing',
    make: () => podWith('optional', bundleOf({ no: 'such' }, { optional: true })),
    undo: () => removePod('optional'),
    check: 'bundle-selectors',
    result: 'warning',
    says: /the pod runs without these roots/,
  },
  {
    title: 'roots are mounted by subPath',
    make: () => podWith('frozen', bundleOf({}), { subPath: 'roots.pem' }),
    undo: () => removePod('frozen'),
    check: 'subpath-mounts',
    result: 'warning',
    says: /Pod default\/frozen, mount \/run\/identity: a subPath mount is never renewed/,
  },
  {
    title: 'a kubelet makes no requests',
    make: () => podWith('unrequested', certificateOf(signerName)),
    undo: () => removePod('unrequested'),
    check: 'kubelets',
    says: /Pod default\/unrequested: .*the kubelet of node node-1 has made no request to kubespiffe\.io\/spiffe/,
    advises: /`kubectl describe pod -n default unrequested`/,
  },
  {
    title: 'a kubelet reports that a refresh was refused',
    make: () =>
      reportedByKubelet(
        'refused',
        'FailedMount',
        'MountVolume.SetUp failed for volume "identity" : PodCertificateRequest was permanently denied: reason="X" message="y"',
      ),
    undo: () => removePod('refused'),
    check: 'refreshes',
    says: /Pod default\/refused: refused, as reported 1m\S* ago \(FailedMount\): its certificate is no longer renewed\..*reason="X"/,
  },
  {
    title: 'a kubelet reports that a refresh is overdue',
    make: () =>
      reportedByKubelet('overdue', 'CertificateOverdueForRefresh', 'PodCertificate refresh overdue'),
    undo: () => removePod('overdue'),
    check: 'refreshes',
    result: 'warning',
    says: /Pod default\/overdue: its refresh was overdue, as its kubelet reported 1m\S* ago, and no request is left/,
  },
  {
    title: 'a kubelet reports an expired certificate',
    make: () => reportedByKubelet('expired', 'CertificateExpired', 'PodCertificate expired'),
    undo: () => removePod('expired'),
    check: 'refreshes',
    result: 'warning',
    says: /Pod default\/expired: its certificate expired, as its kubelet reported 1m\S* ago/,
  },
  {
    title: 'a node is too old',
    make: () => createNode('node-old', 'v1.34.3'),
    undo: () => controlPlane.request('DELETE', '/api/v1/nodes/node-old'),
    check: 'feature-gates',
    says: /Node node-old: its kubelet is of version 1\.34/,
  },
  {
    title: 'a node needs feature gates',
    make: () => createNode('node-beta', 'v1.36.0'),
    undo: () => controlPlane.request('DELETE', '/api/v1/nodes/node-beta'),
    check: 'feature-gates',
    result: 'warning',
    says: /Node node-beta: .* switched off by default/,
  },
  {
    title: 'the clock of a replica is fast',
    make: () =>
      putLease('kubespiffe', 'signer-fast', 200_000, {
        'app.kubernetes.io/name': 'kubespiffe',
        'kubespiffe.io/component': 'signer',
      }),
    undo: () => removeLease('kubespiffe', 'signer-fast'),
    check: 'clock',
    says: /replica signer-fast: the clock of the signer is (199|200) s fast/,
  },
  {
    title: 'the clock of a node is slow',
    make: () => putLease('kube-node-lease', 'node-slow', -300_000),
    undo: () => removeLease('kube-node-lease', 'node-slow'),
    check: 'clock',
    result: 'warning',
    says: /Node node-slow: its clock is 30\d s slow/,
  },
  {
    title: 'the settings of the signer are wrong',
    make: () => setTrustDomain('Example.org'),
    undo: () => setTrustDomain(undefined),
    check: 'settings',
    says: /the settings of Deployment kubespiffe\/kubespiffe-signer cannot be used: .*Example\.org/,
  },
  {
    title: 'a registration reports that its template is wrong',
    async make() {
      const path = '/apis/kubespiffe.io/v1alpha1/clusterworkloadregistrations';
      await waitFor('the CRD', async () => (await controlPlane.request('GET', path)).status === 200);
      await create(controlPlane, path, {
        apiVersion: 'kubespiffe.io/v1alpha1',
        kind: 'ClusterWorkloadRegistration',
        metadata: { name: 'web' },
        spec: { spiffeIDTemplate: unusableTemplate, serviceAccountNames: ['web'] },
      });
    },
    undo: () => controlPlane.kubectl(['delete', 'clusterworkloadregistration', 'web']),
    check: 'registrations',
    result: 'warning',
    says: /ClusterWorkloadRegistration web: \w+ is \w+ \(TemplateInvalid\): .*the setting podAnnotations does not name team/,
  },
  {
    title: 'the CRDs are not installed',
    make: () => controlPlane.kubectl(['delete', '-k', join(manifests, 'crds')]),
    undo: () => controlPlane.kubectl(['apply', '--server-side', '-k', join(manifests, 'crds')]),
    check: 'registrations',
    result: 'warning',
    says: /not installed/,
  },
];

async function setTrustDomain(value: string | undefined): Promise<void> {
  const container = {
    name: 'signer',
    env: [{ name: 'KUBESPIFFE_TRUST_DOMAIN', ...(value ? { value } : { $patch: 'delete' }) }],
  };
  const contentType = 'application/strategic-merge-patch+json';
  const body = { spec: { template: { spec: { containers: [container] } } } };
  assert.equal((await controlPlane.request('PATCH', deployment, body, { contentType })).status, 200);
}

describe('problems that kubespiffe doctor finds', () => {
  for (const { title, make, undo, check, result = 'problem', says, advises } of problems) {
    it(`doctor finds it when ${title}`, async () => {
      await make();
      try {
        const { remedy } = await rowOf(check, result, says);
        if (advises) assert.match(remedy ?? '', advises);
      } finally {
        await undo();
      }
      await rowOf(check, 'ok', /./);
    });
  }

  it('doctor finds a missing right of the signer', async () => {
    await rolesAt(controlPlane, [signerRole]).without('pods list', () =>
      rowOf('permissions', 'problem', /ServiceAccount kubespiffe\/kubespiffe-signer: may not list pods/),
    );
    await rowOf('permissions', 'ok', /has all \d+ rights/);
  });

  it('doctor finds a wrong registration of a namespace, and prints a command that works', async () => {
    const path = '/apis/kubespiffe.io/v1alpha1/namespaces/shop/workloadregistrations';
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: 'shop' } });
    await waitFor('the CRD', async () => (await controlPlane.request('GET', path)).status === 200);
    await create(controlPlane, path, {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'WorkloadRegistration',
      metadata: { name: 'checkout' },
      spec: { podSelector: {}, spiffeIDTemplate: unusableTemplate },
    });
    const { remedy } = await rowOf('registrations', 'warning', /^WorkloadRegistration shop\/checkout: /);
    const [, advice = ''] = /`kubectl (.+)`/.exec(remedy ?? '') ?? [];
    assert.match(await controlPlane.kubectl(advice.split(' ')), /^ *Reason: +TemplateInvalid$/m);
    await controlPlane.request('DELETE', '/api/v1/namespaces/shop');
  });

  it('doctor shows many pods with the same problem in one row', async () => {
    const names = ['alike-1', 'alike-2', 'alike-3'];
    for (const name of names) await podWith(name, bundleOf({ no: 'such' }));
    await rowOf('bundle-selectors', 'problem', /Pod default\/alike-1, volume identity and 2 more: /);
    for (const name of names) await removePod(name);
  });

  it('doctor ends with an error, and no report, if the API server is down or refuses the credential', async () => {
    const { url, authority } = controlPlane;
    const [port] = await freePorts(1);
    const stranger = await createTestAuthority('stranger');
    const cases = [
      [`https://127.0.0.1:${port}`, authority, /ECONNREFUSED/],
      [url, stranger, /401|Unauthorized/],
    ] as const;
    for (const [server, issuer, reason] of cases) {
      const credential = await issuer.issue({ commonName: 'doctor' });
      const cluster = { server, authority: authority.certificate };
      const { code, stdout, stderr } = await examine(
        await writeKubeconfig(join(folder, 'broken'), cluster, credential),
      );
      assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
      assert.match(stderr, reason);
      assert.match(stderr, /^hint: /m);
    }
  });

  it('doctor reports that the given settings belong to no Deployment', async () => {
    const { rows } = await report(doctor, '--signer-deployment', 'kubespiffe/none');
    assert.match(
      rows.find(({ check }) => check === 'settings')?.found ?? '',
      /there is no Deployment kubespiffe\/none/,
    );
    assert.equal(rows.find(({ check }) => check === 'admission-policy')?.result, 'ok');
  });
});

describe('the ClusterRole kubespiffe-doctor', () => {
  it('the ClusterRole kubespiffe-doctor grants only what the checks read: a check names a missing right', async (t) => {
    const granted = rolesAt(controlPlane, roles);
    // A pod must exist: without one a check does not use its right.
    await createPod(controlPlane, { name: 'any' });
    for (const grant of await granted.grants()) {
      const [object = '', verb = ''] = grant.split(' ');
      const right = object.startsWith('/') ? `${verb} path "${object}"` : `${verb} resource "${object}"`;
      const isNamed = async () =>
        (await report()).rows.some(
          ({ result, found }) => result === 'unknown' && found.startsWith(`the right to ${right}`),
        );
      await t.test(`without "${grant}"`, async () => {
        await granted.without(grant, () => waitFor(`the right to ${right} to be missed`, isNamed));
        await waitFor('the right', async () => !(await isNamed()));
      });
    }
  });

  it('doctor works without its ClusterRole: it reports as unknown what it may not read, and checks the rest', async () => {
    const { url: server, authority } = controlPlane;
    const credential = await authority.issue({ commonName: 'stranger' });
    const stranger = await writeKubeconfig(
      join(folder, 'stranger'),
      { server, authority: authority.certificate },
      credential,
    );
    const { rows } = await report(stranger);
    assert.ok(rows.some(({ check, result }) => check === 'api' && result === 'ok'));
    for (const { result, remedy } of rows.filter(
      ({ check }) => check !== 'api' && check !== 'registrations',
    )) {
      assert.equal(result, 'unknown');
      assert.match(remedy ?? '', /kubespiffe-doctor/);
    }
  });

  it('doctor writes nothing', async () => {
    const { body } = await controlPlane.request('GET', roles[0] ?? '');
    const verbs = (body as { rules: { resources?: string[]; verbs: string[] }[] }).rules
      .filter(({ resources }) => !resources?.includes('subjectaccessreviews'))
      .flatMap((rule) => rule.verbs);
    assert.deepEqual([...new Set(verbs)].sort(), ['get', 'list']);
  });
});

describe('kubespiffe doctor, when the signer has ended', () => {
  const path = '/apis/certificates.k8s.io/v1/clustertrustbundles';
  const name = 'kubespiffe.io:spiffe:roots';

  it('doctor reports that one replica is few, and none too few', async () => {
    await signers.pop()?.child.stop();
    await rowOf('replicas', 'warning', /only one replica runs: signer-a/);
    await signers.pop()?.child.stop();
    await rowOf('replicas', 'problem', /no replica of the signer runs/);
  });

  it('doctor reports when the roots are about to expire, have expired, or do not exist', async () => {
    const now = Math.floor(Date.now() / 1000);
    const withRoot = async (from: number, lifetimeSeconds: number) => {
      const pool = await aPool({ now: from, lifetimeSeconds });
      await controlPlane.request('DELETE', `${path}/${name}`);
      const spec = { signerName, trustBundle: pool.authorities[0]?.certificate };
      await create(controlPlane, path, { metadata: { name }, spec });
    };
    await withRoot(now, 86_400 * 10);
    await rowOf('roots', 'warning', /its last root expires in 9d/);
    await withRoot(now - 86_400 * 30, 86_400);
    await rowOf('roots', 'problem', /all its roots have expired/);
    await controlPlane.request('DELETE', `${path}/${name}`);
    await rowOf('roots', 'problem', /does not exist/);
  });
});

/** The last tests: the API server starts with other flags. */
describe('kubespiffe doctor, of an API server', () => {
  const restart = async (...apiServerFlags: string[]) => {
    await controlPlane.killApiServer();
    await controlPlane.startApiServer({ apiServerFlags });
  };
  const encryption = join(folder, 'encryption.yaml');

  it('doctor reports if NodeRestriction is on, and if all Secrets are encrypted', async () => {
    const providers = [
      { aescbc: { keys: [{ name: 'k1', secret: Buffer.alloc(32, 1).toString('base64') }] } },
      { identity: {} },
    ];
    const kind = { apiVersion: 'apiserver.config.k8s.io/v1', kind: 'EncryptionConfiguration' };
    writeFileSync(
      encryption,
      JSON.stringify({ ...kind, resources: [{ resources: ['secrets'], providers }] }),
    );
    const flags = [
      '--enable-admission-plugins=NodeRestriction',
      `--encryption-provider-config=${encryption}`,
    ];
    await restart(...flags);
    await rowOf('node-restriction', 'ok', /in force/);
    await rowOf('encryption-at-rest', 'warning', /some Secrets were written in clear/);
    await putPool(controlPlane, await aPool());
    await restart(...flags);
    await rowOf('encryption-at-rest', 'ok', /encrypted \(aescbc:v1\)/);
  });

  it('doctor reports an API server that writes Secrets in clear if identity comes first', async () => {
    const providers = [
      { identity: {} },
      { aescbc: { keys: [{ name: 'k1', secret: Buffer.alloc(32, 1).toString('base64') }] } },
    ];
    const kind = { apiVersion: 'apiserver.config.k8s.io/v1', kind: 'EncryptionConfiguration' };
    writeFileSync(
      encryption,
      JSON.stringify({ ...kind, resources: [{ resources: ['secrets'], providers }] }),
    );
    await restart(`--encryption-provider-config=${encryption}`);
    await putPool(controlPlane, await aPool());
    await rowOf('encryption-at-rest', 'warning', /writes Secrets in clear/);
  });

  it('doctor reports a resource that is not served, its feature gate, and how to switch it on', async () => {
    await restart(
      '--runtime-config=certificates.k8s.io/v1/clustertrustbundles=false',
      '--feature-gates=ClusterTrustBundle=false,ClusterTrustBundleProjection=false',
    );
    const { remedy } = await rowOf(
      'api',
      'problem',
      /clustertrustbundles\.certificates\.k8s\.io: not served/,
    );
    assert.match(remedy ?? '', /--feature-gates=ClusterTrustBundle=true/);
    await rowOf('feature-gates', 'problem', /the feature gate ClusterTrustBundleProjection is off/);
  });
});
