import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { Pod } from '../../signer/kube/types.ts';
import type { PodExplanation } from '../../tools/explain/whole-pod.ts';
import type { WhatIfReport } from '../../tools/registration/what-if.ts';
import type { Overview } from '../../tools/view/overview.ts';
import type { WhoReport } from '../../tools/who/report.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { writeKubeconfig } from '../cluster/kubeconfig.ts';
import { waitFor } from '../cluster/process.ts';
import { openPrograms } from '../cluster/programs.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { rolesAt } from '../manifests/roles.ts';
import { installSpire } from '../manifests/spire.ts';
import { launcher, type Ran, run } from '../tools/run.ts';
import { shells } from '../tools/shells.ts';
import { aPool, deletePool, putPool, startInstalledSigner } from './installation.ts';
import { clusterCommands, runCommands } from './page-commands.ts';
import { answerTo, create, createPod, requestFor, signerName } from './workloads.ts';

const base = join(import.meta.dirname, '../../manifests/base');
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const roles = [
  `${rbac}/clusterroles/kubespiffe-identity-viewer`,
  `${rbac}/namespaces/kubespiffe/roles/kubespiffe-settings-viewer`,
];

const pool = aPool();
let controlPlane: ControlPlane;
/** The kubeconfig of a person who has the two roles and nothing else. */
let viewer = '';
const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-tools-'));

before(async () => {
  controlPlane = await startControlPlane();
  await startInstalledSigner(controlPlane, { pool: await pool });
  await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-k', base]);
  await controlPlane.kubectl(['create', 'namespace', 'shop']);
  // Pods of a node that does not exist are deleted after a while.
  await create(controlPlane, '/api/v1/nodes', { metadata: { name: 'node-1' } });
  const user = ['--user', 'viewer'];
  await controlPlane.kubectl([
    ...['create', 'clusterrolebinding', 'viewer', '--clusterrole', 'kubespiffe-identity-viewer', ...user],
  ]);
  await controlPlane.kubectl([
    ...['create', 'rolebinding', 'viewer', '-n', 'kubespiffe', '--role', 'kubespiffe-settings-viewer'],
    ...user,
  ]);
  viewer = await kubeconfigOf('viewer');
  await createWeb('web-0');
  await create(controlPlane, '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains', {
    ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata: { name: 'partner' } },
    spec: { trustDomain: 'partner.example', bundle: '{"keys":[]}' },
  });
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await controlPlane?.stop();
});

/** The kubeconfig of a person with a certificate: ServiceAccounts may read more than people. */
async function kubeconfigOf(commonName: string): Promise<string> {
  const { url: server, authority } = controlPlane;
  const credential = await authority.issue({ commonName });
  const cluster = { server, authority: authority.certificate };
  return writeKubeconfig(join(folder, commonName), cluster, credential);
}

/** A pod of the namespace shop with a volume that asks for a certificate. */
function createWeb(
  name: string,
  source: object = {},
  labels: object = { app: 'web' },
  spec: object = {},
): Promise<Pod> {
  const podCertificate = { signerName, keyType: 'ECDSAP256', credentialBundlePath: 'svid.pem', ...source };
  return create<Pod>(controlPlane, '/api/v1/namespaces/shop/pods', {
    metadata: { name, namespace: 'shop', labels },
    spec: {
      nodeName: 'node-1',
      serviceAccountName: 'default',
      automountServiceAccountToken: false,
      containers: [{ name: 'app', image: 'none' }],
      volumes: [{ name: 'identity', projected: { sources: [{ podCertificate }] } }],
      ...spec,
    },
  });
}

const tool = (...args: string[]): Promise<Ran> => run([...args, '--kubeconfig', viewer]);

async function json<T>(...args: string[]): Promise<T> {
  const ran = await tool(...args, '-o', 'json');
  assert.equal(ran.stderr, '');
  return JSON.parse(ran.stdout) as T;
}

describe('kubespiffe who', () => {
  const id = 'spiffe://example.org/ns/shop/sa/default';

  it('who lists a pod that gets the name, with its certificate and the root above it', async () => {
    const pod = await createWeb('web-1');
    await answerTo(controlPlane, await requestFor(controlPlane, pod));
    const { holders } = await json<WhoReport>('who', id);
    assert.deepEqual(
      holders.map((each) => [each.pod, each.getsIt, each.by, each.certificate !== null]),
      [
        ['web-0', true, 'certificate', false],
        ['web-1', true, 'certificate', true],
      ],
    );
    assert.match(holders[1]?.certificate?.authority.root ?? '', /^[0-9a-f]{64}$/);
    const { stdout } = await tool('who', id);
    assert.match(stdout, /^shop\/web-1 +node-1 +kubespiffe\.io\/spiffe +yes +- +in 23h/m);
  });

  it('who ends with 1 for a name that no pod has', async () => {
    const ran = await tool('who', 'web.shop.svc');
    assert.equal(ran.code, 1);
    assert.match(ran.stdout, /^No pod gets web\.shop\.svc/);
  });
});

describe('kubespiffe explain pod', () => {
  it('explain pod shows the name that the pod gets, and its answered request', async () => {
    const pod = await createWeb('asking');
    await answerTo(controlPlane, await requestFor(controlPlane, pod));
    const explained = await json<PodExplanation>('explain', 'pod', 'shop/asking');
    const [spiffe] = explained.signers;
    assert.equal(spiffe?.spiffeId, 'spiffe://example.org/ns/shop/sa/default');
    assert.equal(explained.settings.from, 'Deployment kubespiffe/kubespiffe-signer');
    assert.deepEqual(
      explained.requests.map(({ state, names }) => [state, names]),
      [['Issued', [spiffe?.spiffeId]]],
    );
    const { stdout, code } = await tool('explain', 'pod', 'shop/asking');
    assert.equal(code, 0);
    assert.match(
      stdout,
      /ok {2}name +spiffe:\/\/example\.org\/ns\/shop\/sa\/default {2}\(the default identity\)/,
    );
    assert.match(stdout, /=> {2}issues a certificate for spiffe:/);
    assert.match(stdout, /^Next: nothing to do\.$/m);
  });

  it('explain pod repeats what the signer decided of an open and of a denied request, and its Event', async () => {
    const pod = await createWeb('refused', { userAnnotations: { 'example.org/x': 'y' } });
    await answerTo(
      controlPlane,
      await requestFor(controlPlane, pod, { unverifiedUserAnnotations: { 'example.org/x': 'y' } }),
    );
    await requestFor(controlPlane, pod, { nodeName: 'node-2' });
    const explained = await waitFor('the Event', async () => {
      const read = JSON.parse((await tool('explain', 'pod', 'shop/refused', '-o', 'json')).stdout);
      return read.events.length > 0 && (read as PodExplanation);
    });
    const reasons = explained.requests.map(({ state, reason }) => [state, reason]).sort();
    assert.deepEqual(reasons, [
      ['Denied', 'InvalidUnverifiedUserAnnotations'],
      ['Open', 'NodeMismatch'],
    ]);
    assert.equal(explained.signers[0]?.verdict.reason, 'InvalidUnverifiedUserAnnotations');
    assert.equal(explained.events[0]?.reason, 'InvalidUnverifiedUserAnnotations');
    const { stdout, code } = await tool('explain', 'pod', 'shop/refused');
    assert.equal(code, 1);
    assert.match(stdout, /^Next: .*kubespiffe explain denial shop\/refused/m);
  });

  it('explain pod reports why a request waits that could be answered, by the Event of the signer', async () => {
    await deletePool(controlPlane);
    const pod = await createWeb('stuck');
    const request = await requestFor(controlPlane, pod);
    const explained = await waitFor('the Event', async () => {
      const read = JSON.parse((await tool('explain', 'pod', 'shop/stuck', '-o', 'json')).stdout);
      return read.events.length > 0 && (read as PodExplanation);
    });
    assert.deepEqual(
      explained.requests.map(({ state, reason }) => [state, reason]),
      [['Open', 'PoolUnusable']],
    );
    const [spiffe] = explained.signers;
    assert.deepEqual([spiffe?.verdict.verdict, spiffe?.verdict.reason], ['wait', 'PoolUnusable']);
    assert.equal(spiffe?.spiffeId, 'spiffe://example.org/ns/shop/sa/default');
    const { stdout, code } = await tool('explain', 'pod', 'shop/stuck');
    assert.equal(code, 1);
    assert.match(
      stdout,
      /=> {2}waits: PoolUnusable {2}\[cluster administrator\]\n {6}The CA pool cannot be used: /,
    );
    assert.match(stdout, /^Last Event of the signer\n {2}PoolUnusable, /m);
    assert.match(stdout, /^Next: the cluster administrator acts on PoolUnusable: /m);
    await putPool(controlPlane, await pool);
    await answerTo(controlPlane, request);
    const answered = await tool('explain', 'pod', 'shop/stuck');
    assert.match(answered.stdout, /^Next: nothing to do\.$/m);
    assert.doesNotMatch(answered.stdout, /Last Event/);
    await controlPlane.request('DELETE', '/api/v1/namespaces/shop/pods/stuck', { gracePeriodSeconds: 0 });
  });

  it('explain pod reports what to do about a pod that does not exist, and a signer that is not enabled', async () => {
    const missing = await tool('explain', 'pod', 'shop/none');
    assert.match(missing.stderr, /there is no pod shop\/none\nhint: .*kubectl --namespace shop get pods/);
    const disabled = await tool('explain', 'pod', 'shop/web-0', '--signer', 'kubespiffe.io/service-dns');
    assert.match(disabled.stderr, /not enabled .*\nhint: set signers\.service-dns\.enabled to true/);
  });
});

describe('the settings of the signer', () => {
  it('the settings of the signer are read from flags, variables and a mounted file of its Deployment', async () => {
    const file = 'apiVersion: kubespiffe.io/v1alpha1\nkind: SignerConfiguration\ndefaultIdentity: none\n';
    await create(controlPlane, '/api/v1/namespaces/kubespiffe/configmaps', {
      metadata: { name: 'other', namespace: 'kubespiffe' },
      data: { domain: 'other.example.org', 'signer.yaml': file },
    });
    const labels = { app: 'other' };
    await create(controlPlane, '/apis/apps/v1/namespaces/kubespiffe/deployments', {
      metadata: { name: 'other', namespace: 'kubespiffe' },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              {
                ...{ name: 'signer', image: 'none' },
                args: ['signer', '--config', '/etc/kubespiffe/signer.yaml', '--registration-class', 'mine'],
                env: [
                  {
                    name: 'KUBESPIFFE_TRUST_DOMAIN',
                    valueFrom: { configMapKeyRef: { name: 'other', key: 'domain' } },
                  },
                ],
                volumeMounts: [{ name: 'settings', mountPath: '/etc/kubespiffe' }],
              },
            ],
            volumes: [{ name: 'settings', configMap: { name: 'other' } }],
          },
        },
      },
    });
    const other = ['--signer-deployment', 'kubespiffe/other'];
    const explained = await json<PodExplanation>('explain', 'pod', 'shop/web-0', ...other);
    assert.equal(explained.settings.trustDomain, 'other.example.org');
    assert.equal(explained.signers[0]?.verdict.reason, 'NotRegistered');
  });

  it('the settings of the signer are asked for if there is no such Deployment', async () => {
    const { code, stderr } = await tool('who', 'web.shop.svc', '--signer-deployment', 'kubespiffe/none');
    assert.equal(code, 1);
    assert.match(stderr, /there is no Deployment kubespiffe\/none\nhint: .*--signer-deployment.*--config/);
  });
});

describe('kubespiffe explain denial', () => {
  it('explain denial lists the pod that was denied, and advises to recreate it', async () => {
    const { stdout, code } = await tool('explain', 'denial', 'shop/refused');
    assert.equal(code, 1);
    assert.match(stdout, /denied: InvalidUnverifiedUserAnnotations {2}\(request req-/);
    assert.match(stdout, /would be denied again\. Correct its volume, then recreate shop\/refused/);
  });

  it('explain denial ends with 0 if nothing is denied', async () => {
    const { stdout, code } = await tool('explain', 'denial', '--namespace', 'default');
    assert.equal(code, 0, stdout);
  });
});

describe('kubespiffe status', () => {
  it('status counts the pods of each signer, and lists requests that wait and pods that are refused', async () => {
    const overview = await json<Overview>('status');
    assert.equal(overview.trustDomain, 'example.org');
    assert.deepEqual(overview.replicas.ok && overview.replicas.value.length, 1);
    const [spiffe] = overview.signers;
    assert.deepEqual(spiffe, {
      signer: signerName,
      counts: { waiting: 1, denied: 0, unnamed: 0, issued: 2, named: 1, tokens: 0 },
    });
    assert.deepEqual(
      overview.waiting.map(({ pod, reason }) => [pod, reason]),
      [['shop/refused', 'NodeMismatch']],
    );
    assert.deepEqual(
      overview.bundles.map(({ signer, canarying, roots }) => [signer, canarying, roots.length]),
      ['kubespiffe.io/pod-identity', signerName].flatMap((signer) => [
        [signer, 'live', 1],
        [signer, 'preview', 1],
      ]),
    );
    assert.deepEqual(overview.peers.ok && overview.peers.value.map(({ name }) => name), ['partner']);
  });

  it('status shows the pool to users who may read it, and names the missing right to others', async () => {
    const { stdout } = await tool('status');
    assert.match(stdout, /^kubespiffe\/kubespiffe-pool +\? +\? +.*cannot get resource "secrets"/m);
    const admin = await run(['status', '--kubeconfig', controlPlane.kubeconfig]);
    assert.match(
      admin.stdout,
      /^kubespiffe\/kubespiffe-pool +1 +in 364d23h +X509: prepare a new authority in reserve, to sign from /m,
    );
    assert.match(admin.stdout, /^shop\/refused +kubespiffe\.io\/spiffe +[\dms]+ +NodeMismatch /m);
    assert.doesNotMatch(admin.stdout, /PRIVATE KEY/);
  });

  it('status --watch reads again until it is stopped', async () => {
    const child = spawn(launcher, ['status', '--watch', '1s', '--kubeconfig', viewer]);
    let screens = '';
    child.stdout.on('data', (text) => {
      screens += text;
    });
    const closed = once(child, 'close');
    try {
      await waitFor('a second screen', async () => screens.split('Trust domain').length > 2);
    } finally {
      child.kill('SIGTERM');
      await closed;
    }
  });

  it('status --watch ends when nothing reads its output', async () => {
    const child = spawn(launcher, ['status', '--watch', '1s', '--kubeconfig', viewer], {
      ...{ timeout: 60_000, killSignal: 'SIGKILL' },
    });
    child.stdout.destroy();
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
  });
});

describe('kubespiffe explain token', () => {
  it('explain token reports the identity for a token of the API server, and never prints the token', async () => {
    const config = join(folder, 'signer.yaml');
    writeFileSync(
      config,
      'apiVersion: kubespiffe.io/v1alpha1\nkind: SignerConfiguration\ntrustDomain: example.org\ntokenAddress: ":8443"\njwtIssuer: https://tokens.example.org\n',
    );
    const audience = 'spiffe://example.org/kubespiffe/token-endpoint';
    const token = await controlPlane.kubectl([
      ...['create', 'token', 'default', '-n', 'shop', '--audience', audience],
      ...['--bound-object-kind', 'Pod', '--bound-object-name', 'web-0'],
    ]);
    const args = ['explain', 'token', '-', '--config', config, '--kubeconfig', viewer];
    const { code, stdout, stderr } = await run(args, { input: token });
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.match(stdout, /ok {2}name +spiffe:\/\/example\.org\/ns\/shop\/sa\/default/);
    assert.doesNotMatch(stdout, /eyJ/);
  });
});

describe('the tools with registrations', () => {
  const web = {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'WorkloadRegistration',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      podSelector: { matchLabels: { app: 'registered' } },
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/web',
    },
  };
  const id = 'spiffe://example.org/ns/shop/app/web';

  it('what-if lists who would change, and after the change explain and who agree with the signer', async () => {
    const pod = await createWeb('registered', {}, { app: 'registered' });
    const file = join(folder, 'web.json');
    writeFileSync(file, JSON.stringify(web));
    const { changes } = await json<WhatIfReport>('registration', 'what-if', '-f', file);
    assert.deepEqual(
      changes.map(({ pod: name, change, after }) => [name, change, after.names]),
      [['shop/registered', 'changes', [id]]],
    );
    await create(controlPlane, '/apis/kubespiffe.io/v1alpha1/namespaces/shop/workloadregistrations', web);
    const again = await json<WhatIfReport>('registration', 'what-if', '-f', file);
    assert.deepEqual(again.changes, []);
    const explained = await json<PodExplanation>('explain', 'pod', 'shop/registered');
    assert.equal(explained.signers[0]?.spiffeId, id);
    assert.equal(explained.signers[0]?.registration, 'shop/web');
    await waitFor('a certificate with the new name', async () => {
      await answerTo(controlPlane, await requestFor(controlPlane, pod));
      const { holders } = await json<WhoReport>('who', id);
      const [holder] = holders;
      return holder?.getsIt && holder.registration === 'shop/web' && holder.certificate !== null;
    });
  });

  it('inspect pcr compares a certificate with what the signer would decide now, if its reader has the rights', async () => {
    const bind = (user: string) => [
      ...['create', 'rolebinding', `requests-${user}`, '-n', 'shop', '--user', user],
      ...['--clusterrole', 'kubespiffe-request-viewer'],
    ];
    for (const user of ['viewer', 'reader']) await controlPlane.kubectl(bind(user));
    const reader = await kubeconfigOf('reader');
    const pod = await createWeb('renamed', {}, { app: 'plain' });
    const request = await requestFor(controlPlane, pod);
    await answerTo(controlPlane, request);
    interface Section {
      title: string;
      facts: Record<string, string>;
      findings: { clause: string; ok: boolean; message: string }[];
    }
    /** What is said of the names: the finding, or why there is none. */
    const inspected = async (kubeconfig: string, { metadata, spec } = request) => {
      const args = ['inspect', 'pcr', `shop/${metadata.name}`, '-o', 'json'];
      const ran = await run([...args, '--kubeconfig', kubeconfig]);
      assert.equal(ran.code, 0, ran.stderr);
      const { sections } = JSON.parse(ran.stdout) as { sections: Section[] };
      const answer = sections.find(({ title }) => title === 'Answer');
      return {
        finding: answer?.findings.find(({ clause }) => clause === spec.signerName),
        notCompared: answer?.facts.Names,
      };
    };
    await waitFor('the rights', async () =>
      (await tool('inspect', 'pcr', 'shop/none')).stderr.includes('no Pod'),
    );
    assert.equal((await inspected(viewer)).finding?.ok, true);

    const label = (app: string) =>
      controlPlane.kubectl(['label', 'pod', 'renamed', '-n', 'shop', '--overwrite', `app=${app}`]);
    await label('registered');
    const { finding: renamed } = await inspected(viewer);
    assert.equal(renamed?.ok, false);
    assert.match(renamed?.message ?? '', new RegExp(`now: ${id}\\. .*kubespiffe explain pod shop/renamed`));

    const unread = await inspected(reader);
    assert.equal(unread.finding, undefined);
    assert.match(unread.notCompared ?? '', /^not compared .*ClusterRole kubespiffe-identity-viewer/);

    await waitFor('a certificate with the name of the registration', async () => {
      const next = await requestFor(controlPlane, pod);
      await answerTo(controlPlane, next);
      return (await inspected(viewer, next)).finding?.ok;
    });
    const ofPod = await requestFor(controlPlane, pod, { signerName: 'kubespiffe.io/pod-identity' });
    await answerTo(controlPlane, ofPod);
    assert.equal((await inspected(viewer, ofPod)).finding?.ok, true);

    await controlPlane.request('DELETE', '/api/v1/namespaces/shop/pods/renamed', { gracePeriodSeconds: 0 });
    assert.match((await inspected(viewer)).notCompared ?? '', /^not compared .*shop\/renamed/);
  });

  it('the YAML of who, explain and what-if says the same as their JSON', async () => {
    const file = join(folder, 'web-1.json');
    writeFileSync(file, JSON.stringify({ ...web, spec: { ...web.spec, priority: 1 } }));
    const token = join(folder, 'token');
    writeFileSync(token, await controlPlane.kubectl(['create', 'token', 'default', '-n', 'shop']));
    for (const args of [
      ['who', id],
      ['explain', 'pod', 'shop/registered'],
      ['explain', 'denial'],
      ['explain', 'token', token],
      ['registration', 'what-if', '-f', file],
    ]) {
      const [yaml, json] = [await tool(...args, '-o', 'yaml'), await tool(...args, '-o', 'json')];
      assert.ok(json.stdout.startsWith('{') && !yaml.stdout.startsWith('{'), args.join(' '));
      assert.deepEqual([parse(yaml.stdout), yaml.code], [JSON.parse(json.stdout), json.code], args.join(' '));
    }
  });

  it('what-if ends with 1 when a pod would lose its name', async () => {
    const file = join(folder, 'web-2.json');
    writeFileSync(file, JSON.stringify({ ...web, metadata: { name: 'web-2', namespace: 'shop' } }));
    const { code, stdout } = await tool('registration', 'what-if', '-f', file);
    assert.equal(code, 1);
    assert.match(stdout, /^1 pod loses its name: its next refresh waits$/m);
    assert.match(stdout, /\+ none: RegistrationAmbiguous/);
  });
});

describe('completion from the cluster', () => {
  const lines: [line: string, offered: string[]][] = [
    ['kubespiffe explain pod --context none sho', ['']],
    ['kubespiffe explain pod sho', ['shop/']],
    ['kubespiffe explain pod shop/web-', ['shop/web-0', 'shop/web-1']],
    ['kubespiffe explain denial --namespace sho', ['shop']],
    ['kubespiffe explain token --registration we', ['web']],
    ['kubespiffe federation show par', ['partner']],
  ];
  for (const [name, complete] of Object.entries(shells)) {
    it(`completion in ${name} offers namespaces, pods, registrations and federated trust domains`, async () => {
      const script = join(folder, `completion.${name}`);
      writeFileSync(script, (await run(['completion', name])).stdout);
      const env = { KUBECONFIG: viewer, PATH: `${dirname(launcher)}:${process.env.PATH}` };
      const typed = lines.map(([line]) => line);
      const expected = lines.map(([, offered]) => offered);
      // On a busy machine an answer may come too late for a shell, which then offers nothing.
      await waitFor('all that can be offered', () => {
        const offered = complete(script, typed, env).map((each) => each.sort());
        assert.deepEqual(offered, expected);
        return true;
      });
    });
  }
});

describe('kubespiffe federation invite', () => {
  it('federation invite gives the other side the published roots and the profile of the settings', async () => {
    const config = join(folder, 'signer.yaml');
    const header = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'SignerConfiguration' };
    const settings = { ...header, trustDomain: 'example.org', bundleSpiffeAddress: ':8444' };
    writeFileSync(config, JSON.stringify(settings));
    const invite = ['federation', 'invite', '--url', 'https://bundle.example.org:8444/bundle'];
    const resource = await json<{ spec: Record<string, unknown> }>(...invite, '--config', config);
    assert.deepEqual(resource.spec.bundleEndpoint, {
      url: 'https://bundle.example.org:8444/bundle',
      profile: 'https_spiffe',
      endpointSPIFFEID: 'spiffe://example.org/kubespiffe/token-endpoint',
    });
    const { body } = await controlPlane.request(
      'GET',
      '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots',
    );
    assert.equal(resource.spec.bootstrapBundle, body.spec.trustBundle);
    const without = await tool(...invite);
    assert.equal(without.code, 1);
    assert.match(
      without.stderr,
      /^error: Deployment kubespiffe\/kubespiffe-signer has no bundle endpoint\nhint: turn on/,
    );
  });
});

const whoCalls = [
  ...['pods', 'services', 'namespaces', 'podcertificaterequests', 'clustertrustbundles'],
  ...['workloadregistrations', 'clusterworkloadregistrations', 'clusterregistrationpolicies'],
];

/** What is granted, and a command that fails without it. */
const checks: Record<string, string[]> = {
  ...Object.fromEntries(whoCalls.map((resource) => [`${resource} list`, ['who', 'web.shop.svc']])),
  'deployments get': ['who', 'web.shop.svc'],
  'configmaps get': ['who', 'web.shop.svc'],
  'events list': ['explain', 'pod', 'shop/web-0'],
  'federatedtrustdomains list': ['federation', 'list'],
  'leases list': ['status'],
};

describe('the roles of people who ask for identities', () => {
  // What `status` may not read it leaves out, and names the right.
  const isRefused = async (args: string[]) => {
    const { stdout, stderr } = await tool(...args);
    return /^error: .*403/m.test(stderr) || /^Replicas +.*403/m.test(stdout);
  };

  it('the roles of people who ask for identities grant only what the commands need', async (t) => {
    const granted = rolesAt(controlPlane, roles);
    assert.deepEqual((await granted.grants()).sort(), Object.keys(checks).sort());
    for (const [grant, args] of Object.entries(checks)) {
      await t.test(`without "${grant}"`, async () => {
        await waitFor('the right', async () => !(await isRefused(args)));
        await granted.without(grant, () => waitFor('the refusal', () => isRefused(args)));
      });
    }
  });

  it('missing rights of people who ask for identities are named', async () => {
    const stranger = await kubeconfigOf('stranger');
    const { code, stderr } = await run(['who', 'web.shop.svc', '--kubeconfig', stranger]);
    assert.equal(code, 1);
    assert.match(stderr, /^hint: .*ClusterRole kubespiffe-identity-viewer/m);
  });
});

describe('the commands of the pages', () => {
  let env: Record<string, string>;
  before(async () => {
    const { PATH } = await openPrograms(controlPlane, join(folder, 'bin'));
    env = { PATH, KUBECONFIG: controlPlane.kubeconfig, TRUST_DOMAIN: 'example.org' };
    symlinkSync(join(checkout, 'manifests'), join(folder, 'manifests'));
    const [registration] = blocksBelow(
      await readPage('docs/guides/registrations.md'),
      'A team names its own pods',
    );
    await controlPlane.kubectl(['apply', '-f', '-'], { input: registration?.code ?? '' });
    const web = registration?.code.replaceAll('checkout', 'web') ?? '';
    writeFileSync(join(folder, 'web.yaml'), web);
    mkdirSync(join(folder, 'registrations'));
    writeFileSync(join(folder, 'registrations/web.yaml'), web);
    await controlPlane.kubectl(['apply', '-f', '-'], { input: web });
    await installSpire(controlPlane);
    await requestFor(controlPlane, await createPod(controlPlane), {}, 'req-462q4');
    await requestFor(controlPlane, await createWeb('asks'));
    // The commands read the settings of the Deployment; the signer that runs has them not.
    await controlPlane.kubectl([
      ...['set', 'env', 'deployment/kubespiffe-signer', '--namespace', 'kubespiffe'],
      ...['KUBESPIFFE_SERVICE_DNS_ENABLED=true', 'KUBESPIFFE_BUNDLE_WEB_ADDRESS=:8444'],
      ...['KUBESPIFFE_BUNDLE_WEB_CERTIFICATE=/tls.crt', 'KUBESPIFFE_BUNDLE_WEB_KEY=/tls.key'],
    ]);
    await controlPlane.kubectl(['create', 'serviceaccount', 'web', '--namespace', 'shop']);
    await createWeb('web-2', {}, {}, { serviceAccountName: 'web' });
    for (const [name, driver] of [
      ['old', 'csi.spiffe.io'],
      ['older', 'csi.cert-manager.io'],
      ['oldest', 'spiffe.csi.cert-manager.io'],
    ] as const) {
      const identity = { name: 'identity', csi: { driver, readOnly: true } };
      await createWeb(name, {}, {}, { volumes: [identity] });
    }
  });

  for (const commands of clusterCommands) {
    const { page, heading, block = 0 } = commands;
    it(`the commands of ${page} work, ${heading}, block ${block}`, async () => {
      await runCommands(commands, { env, cwd: folder });
    });
  }
});
