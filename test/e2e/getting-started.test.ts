import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { helm } from '../cluster/helm.ts';
import { waitFor } from '../cluster/process.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { signerReady, trustDomain } from './installation.ts';
import { follow, type Reader, startReaderCluster } from './reader.ts';
import { startRequestLoop } from './request-loop.ts';

/** The commands of docs/getting-started.md and docs/guides/helm.md, as they stand there, on the cluster of `make cluster`. */
describe('getting started and Helm, on the cluster that the page recommends', () => {
  let controlPlane: ControlPlane;
  let reader: Reader;

  before(async () => {
    ({ controlPlane, reader } = await startReaderCluster());
  });
  after(() => controlPlane?.stop());

  /** Runs the block below a heading that holds this text, with the trust domain in its place. */
  async function followBlock(
    heading: string,
    holds: string,
    change: [string, string] = ['', ''],
    page = 'docs/getting-started.md',
  ): Promise<string> {
    const block = blocksBelow(await readPage(page), heading).find(({ code }) => code.includes(holds));
    assert.ok(block, `${heading}: no block with ${holds}`);
    const code = block.code.replaceAll('YOUR-TRUST-DOMAIN', trustDomain).replaceAll(...change);
    return follow(reader, controlPlane, { ...block, code });
  }

  it('getting started installs the signer and makes its CA', async () => {
    await followBlock('Install', 'examples/overlay');
    assert.match(await followBlock('Install', 'ca create'), /successfully rolled out/);
    await followBlock('Install', 'pool.yaml', ['~/', '']);
    assert.match(await readFile(join(reader.folder, 'kubespiffe-pool.yaml'), 'utf8'), /pool\.json:/);
    await followBlock('Install', 'rolebinding');
  });

  it('getting started shows the certificate of the first pod', async () => {
    const output = await followBlock('The first pod', 'examples/pod.yaml');
    assert.match(output, /SPIFFE ID +spiffe:\/\/example\.org\/ns\/default\/sa\/default/);
    assert.match(output, /Result: conforms/);
  });

  it('getting started inspects the files of the first pod, and explains its token', async () => {
    await follow(reader, controlPlane, {
      code: `for file in credentials.pem roots.pem; do kubectl exec example -- cat /run/spiffe/$file >$file; done
        openssl x509 -in credentials.pem -out chain.pem`,
      info: '',
    });
    const inspected = await followBlock('kubespiffe inspect', 'inspect', ['', ''], 'docs/reference/cli.md');
    assert.equal(inspected.match(/Result: conforms/g)?.length, 3, inspected);
    const page = 'docs/reference/cli.md';
    const explained = await followBlock('kubespiffe explain token', 'explain', ['', ''], page);
    assert.match(explained, /denies: AudienceWrong/);
  });

  it('getting started shows the checks of a replica, and its log', async () => {
    const page = 'docs/reference/metrics.md';
    const checks = await followBlock('Which probe means what', 'readyz', ['', ''], page);
    assert.match(checks, /^\[\+\]spiffe\/pool /m);
    const output = await followBlock('When it does not work', 'readyz');
    assert.match(output, /^\[\+\]spiffe\/pool /m);
    assert.match(output, /"msg":"/);
  });

  it('getting started explains the SPIFFE ID that a registration gives to this pod', async () => {
    const output = await followBlock('Another SPIFFE ID', 'registration.yaml');
    assert.match(output, /spiffe:\/\/example\.org\/ns\/default\/app\/example/);
  });

  for (const [overlay, heading, example] of [
    ['examples/tokens', 'Tokens', 'jwt-svid.yaml'],
    ['examples/without-pod-certificates', 'Without Pod Certificates', 'jwt-svid-roots-configmap.yaml'],
  ] as const) {
    it(`a pod gets a JWT-SVID with curl by the name of the Service, with ${overlay} in place of examples/overlay`, async () => {
      await rm(join(reader.folder, 'manifests/examples/my-cluster'), { recursive: true });
      await followBlock('Install', 'examples/overlay', ['examples/overlay', overlay]);
      await signerReady(controlPlane);
      assert.match(await followBlock(heading, example), /"access_token":"eyJ/);
    });
  }

  it('applying the overlay again upgrades the installation, and finds nothing wrong', async () => {
    const output = await followBlock('Upgrade', 'rollout status', ['', ''], 'docs/operations/upgrade.md');
    assert.match(output, /successfully rolled out/);
  });

  /** A block of the guide to Helm. No registry, so the image keeps its name. */
  const followHelm = (heading: string, holds: string, values = '') =>
    followBlock(
      heading,
      holds,
      ['image.repository=registry.example.com/kubespiffe', `image.tag=dev${values}`],
      'docs/guides/helm.md',
    );
  const kubectl = (...args: string[]) => controlPlane.kubectl([...args, '--namespace', 'kubespiffe']);
  const replicas = async () =>
    (await kubectl('get', 'pods', '-o', 'jsonpath={.items[*].metadata.uid}')).split(' ');
  const roots = () =>
    kubectl('get', 'clustertrustbundle', 'kubespiffe.io:spiffe:roots', '-o', 'jsonpath={.spec.trustBundle}');

  /** Runs commands that replace every replica, while certificates are asked for all the time. */
  async function underLoad(name: string, commands: () => Promise<unknown>): Promise<void> {
    const before = await replicas();
    const loop = await startRequestLoop(controlPlane, name);
    try {
      await commands();
      await signerReady(controlPlane);
      await waitFor('the replicas of before to be gone', async () => {
        const now = await replicas();
        return now.length === before.length && !now.some((uid) => before.includes(uid));
      });
    } finally {
      const { issued, failures, slowestMs } = await loop.stop();
      console.log(`${name}: ${issued} requests, the slowest took ${slowestMs.toFixed(0)} ms`);
      assert.deepEqual(failures, []);
      assert.ok(issued > 20);
    }
  }

  /** There is no released version yet: the upgrade comes from this chart under an older number. */
  async function numberChart(version: string): Promise<void> {
    const path = join(reader.folder, 'manifests/chart/Chart.yaml');
    await writeFile(path, (await readFile(path, 'utf8')).replace(/^version: .*$/m, `version: ${version}`));
  }

  it('a move from kustomize to Helm answers every request of that time', async () => {
    await numberChart('0.0.9');
    await underLoad('from-kustomize', () => followHelm('From kustomize to Helm', 'helm install'));
  });

  it('an upgrade of the release answers every request of that time', async () => {
    await numberChart('0.1.0');
    await underLoad('upgrade', () => followHelm('Change and upgrade', 'helm upgrade'));
    const release = ['kubespiffe', '--namespace', 'kubespiffe', '--kubeconfig', controlPlane.kubeconfig];
    const releases: { chart: string; status: string }[] = JSON.parse(
      await helm(['history', ...release, '--output', 'json']),
    );
    assert.deepEqual(
      releases.map(({ chart, status }) => `${chart} ${status}`),
      ['kubespiffe-0.0.9 superseded', 'kubespiffe-0.1.0 deployed'],
    );
    assert.match(await kubectl('get', 'deployment', 'kubespiffe-signer', '-o', 'yaml'), /value: debug/);
  });

  it('an upgrade asks an older version whether it can read the pool: this one, because none is released', async () => {
    const page = 'docs/operations/upgrade.md';
    assert.match(await followBlock('Roll back', 'ca show', ['', ''], page), /first +X509 +active/);
  });

  it('uninstalling the release keeps pool, bundles and registrations, and a new one uses them', async () => {
    const before = await roots();
    await followHelm('Uninstall', 'helm uninstall');
    const left = await kubectl('get', 'deployments,secrets', '-o', 'name');
    assert.deepEqual(left.trim().split('\n'), ['secret/kubespiffe-pool']);
    assert.match(await kubectl('get', 'workloadregistrations', '--all-namespaces'), /example/);
    await followHelm('Install', 'helm install');
    await signerReady(controlPlane);
    assert.equal(await roots(), before);
  });

  it('an installation by Helm in an empty cluster gives pods their identity by a label', async () => {
    await followHelm('Uninstall', 'helm uninstall');
    await kubectl('delete', 'secret', 'kubespiffe-pool');
    assert.match(await followBlock('Change, upgrade, remove', 'jq -r'), /^default\/example$/m);
    await followBlock('Change, upgrade, remove', 'delete clustertrustbundles');
    const notes = await followHelm('Install', 'helm install', ' --set components.injection=true');
    assert.match(notes, /kubespiffe ca create --ca-id first --trust-domain example\.org\n/);
    assert.match(await followHelm('Install', 'ca create'), /successfully rolled out/);

    await controlPlane.kubectl(['label', 'namespace', 'default', 'kubespiffe.io/injection=enabled']);
    await controlPlane.kubectl(['apply', '-f', '-'], { input: injectedPods });
    const pods = ['pod/files', 'pod/workload-api'];
    await controlPlane.kubectl(['wait', '--for=condition=Ready', '--timeout=120s', ...pods]);
    await controlPlane.kubectl([
      'exec',
      'files',
      '--',
      'cat',
      '/run/spiffe/credentials.pem',
      '/run/spiffe/roots.pem',
    ]);
    const log = await controlPlane.kubectl(['logs', 'workload-api', '--container', 'kubespiffe']);
    assert.match(log, /spiffe:\/\/example\.org\/ns\/default\/sa\/default/);
  });
});

/** A pod for each value of the label, with nothing of ours in its spec. */
const injectedPods = JSON.stringify({
  apiVersion: 'v1',
  kind: 'List',
  items: ['files', 'workload-api'].map((name) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { 'kubespiffe.io/inject': name } },
    spec: {
      containers: [{ name: 'main', image: 'busybox:1.37', command: ['sleep', 'infinity'] }],
    },
  })),
});
