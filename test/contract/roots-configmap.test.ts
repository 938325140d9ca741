import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { loadCredentials } from '../../signer/kube/credentials.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createTransport } from '../../signer/kube/transport.ts';
import type { ConfigMap } from '../../signer/kube/types.ts';
import { createConfigMapWriter } from '../../signer/trust/configmap-writer.ts';
import { bundleLabels } from '../../signer/trust/labels.ts';
import { rootsPem } from '../../signer/trust/published-documents.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, deletePool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { create } from './workloads.ts';

const rbac = path.join(import.meta.dirname, '../../manifests/roots-configmap/rbac.yaml');
const name = 'kubespiffe-roots';
const optedIn = { 'kubespiffe.io/roots': 'true' };

/** The roots as a ConfigMap in the namespaces that ask for them. */
describe('the roots as a ConfigMap', () => {
  let controlPlane: ControlPlane;
  let kubeconfig: string;
  let signer: SignerProcess;
  let pool: PoolDocument;

  before(async () => {
    controlPlane = await startControlPlane();
    kubeconfig = await installSigner(controlPlane);
    await controlPlane.kubectl(['apply', '-f', rbac]);
    pool = await aPool();
    await putPool(controlPlane, pool);
    signer = await start('signer-a');
    await signer.ready();
  });
  after(() => controlPlane?.stop());

  const start = (replica: string) =>
    startSigner({ kubeconfig, replica, flags: ['--roots-config-map', name] });
  const pathIn = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/${name}`;

  /** A namespace of a test's own, with the label or without. */
  async function newNamespace(namespace: string, labels: Record<string, string> = optedIn): Promise<string> {
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: namespace, labels } });
    return namespace;
  }

  async function relabel(namespace: string, value: string | null): Promise<void> {
    const labels = { 'kubespiffe.io/roots': value };
    const answer = await controlPlane.request('PATCH', `/api/v1/namespaces/${namespace}`, {
      metadata: { labels },
    });
    assert.equal(answer.status, 200);
  }

  async function change(namespace: string, patch: object): Promise<void> {
    assert.equal((await controlPlane.request('PATCH', pathIn(namespace), patch)).status, 200);
  }

  async function read(namespace: string): Promise<ConfigMap | undefined> {
    const answer = await controlPlane.request('GET', pathIn(namespace));
    return answer.status === 200 ? (answer.body as ConfigMap) : undefined;
  }

  /** What a namespace should hold: the document of the endpoint /roots.pem. */
  function pemOf(document: PoolDocument): string {
    const compiled = compilePool(document, document.trustDomain);
    assert.ok(compiled.ok);
    return rootsPem(compiled.pool)?.bytes.toString() ?? '';
  }

  const holds = (namespace: string, document = pool): Promise<ConfigMap> =>
    waitFor(`the roots in ${namespace}`, async () => {
      const found = await read(namespace);
      return found?.data?.['roots.pem'] === pemOf(document) && found;
    });

  const holdsNone = (namespace: string) =>
    waitFor(`no roots in ${namespace}`, async () => (await read(namespace)) === undefined);

  const state = (of: string) => signer.metric('kubespiffe_roots_configmaps', { state: of });

  it('the ConfigMap of roots appears in a namespace with the label, with the labels of the trust bundle', async () => {
    const { metadata, data } = await holds(await newNamespace('shop'));
    assert.deepEqual(metadata.labels, bundleLabels('example.org'));
    assert.deepEqual(Object.keys(data ?? {}), ['roots.pem']);
  });

  it('the ConfigMap of roots appears in no other namespace', async () => {
    await newNamespace('bystander', {});
    await newNamespace('refuser', { 'kubespiffe.io/roots': 'false' });
    await holds(await newNamespace('late'));
    const all = await controlPlane.request('GET', `/api/v1/configmaps?fieldSelector=metadata.name=${name}`);
    const namespaces = all.body.items.map(({ metadata }: ConfigMap) => metadata.namespace);
    assert.deepEqual(namespaces.sort(), ['late', 'shop']);
  });

  it('the ConfigMap of roots appears when the label is set later, and is deleted when the label is removed', async () => {
    const namespace = await newNamespace('undecided', {});
    await relabel(namespace, 'true');
    await holds(namespace);
    await relabel(namespace, null);
    await holdsNone(namespace);
    await relabel(namespace, 'true');
    await holds(namespace);
    await relabel(namespace, 'no');
    await holdsNone(namespace);
  });

  it('the ConfigMap of roots is made again when it is deleted', async () => {
    const namespace = await newNamespace('deleted');
    const { metadata } = await holds(namespace);
    assert.equal((await controlPlane.request('DELETE', pathIn(namespace))).status, 200);
    await waitFor('another one', async () => {
      const found = await read(namespace);
      return found && found.metadata.uid !== metadata.uid;
    });
    await holds(namespace);
  });

  const edits: [what: string, patch: object][] = [
    ['other roots', { data: { 'roots.pem': 'none' } }],
    ['no roots', { data: null }],
    ['another trust domain', { metadata: { labels: { 'k8s.spiffe.io/peer-trust-domain': 'other' } } }],
  ];
  for (const [what, patch] of edits) {
    it(`the ConfigMap of roots is repaired when another client writes ${what} into it`, async () => {
      const namespace = await newNamespace(`edited-${edits.findIndex(([one]) => one === what)}`);
      const { metadata } = await holds(namespace);
      await change(namespace, patch);
      await waitFor('the repair', async () => {
        const found = await read(namespace);
        return JSON.stringify(found?.metadata.labels) === JSON.stringify(metadata.labels);
      });
      assert.equal((await holds(namespace)).metadata.uid, metadata.uid);
    });
  }

  it('the ConfigMap of roots keeps what others have added, also when the namespace loses the label', async () => {
    const namespace = await newNamespace('shared');
    await holds(namespace);
    await change(namespace, { data: { 'note.txt': 'ours', 'roots.pem': 'none' } });
    assert.equal((await holds(namespace)).data?.['note.txt'], 'ours');
    await relabel(namespace, null);
    await waitFor('our part to go', async () => !(await read(namespace))?.data?.['roots.pem']);
    const left = await read(namespace);
    assert.deepEqual(left?.data, { 'note.txt': 'ours' });
    assert.equal(left?.metadata.labels, undefined);
  });

  it('the ConfigMaps of roots follow the pool: a new root is added everywhere, a retired one is removed', async () => {
    const [record] = pool.authorities;
    assert.ok(record);
    const second = await createAuthority({
      id: '2',
      trustDomain: 'example.org',
      now: Math.floor(Date.now() / 1000),
    });
    const both = { ...pool, sequence: 2, authorities: [record, { ...second, state: 'trusted' as const }] };
    await putPool(controlPlane, both);
    for (const namespace of ['shop', 'late', 'deleted']) await holds(namespace, both);
    pool = { ...pool, sequence: 3, authorities: [record, { ...second, state: 'retired' }] };
    await putPool(controlPlane, pool);
    for (const namespace of ['shop', 'late', 'deleted']) await holds(namespace);
  });

  const emptied: [name: string, put: () => Promise<void>][] = [
    ['is deleted', () => deletePool(controlPlane)],
    ['cannot be read', () => putPool(controlPlane, '{')],
    ['has no authority', () => putPool(controlPlane, newPool('example.org'))],
  ];
  for (const [what, put] of emptied) {
    it(`the ConfigMap of roots stays unchanged while the pool ${what}, and is not made again from memory`, async () => {
      const before = await holds('shop');
      await put();
      await waitFor('the signer to know', async () =>
        /\[-\]spiffe\/pool /.test((await signer.readiness()).text),
      );
      assert.deepEqual(await read('shop'), before);
      await controlPlane.request('DELETE', pathIn('late'));
      await waitFor('the fault to be told', async () => (await state('failed')) === 1);
      assert.equal(await read('late'), undefined);
      await putPool(controlPlane, pool);
      await holds('late');
    });
  }

  it('a late first write changes no ConfigMap that was created meanwhile, by a replica or by another owner', async () => {
    const { kubeconfig } = controlPlane;
    const credentials = await loadCredentials({ time: realTime, kubeconfig, env: {} });
    const transport = createTransport({ time: realTime, credentials });
    const writer = createConfigMapWriter(transport, 'raced-roots');
    const path = '/api/v1/namespaces/default/configmaps';
    const write = (pem: string) =>
      writer.publish(
        'default',
        { labels: optedIn, pem, peers: {}, peersDigest: '', leftOut: new Map() },
        undefined,
        AbortSignal.timeout(10_000),
      );
    const data = async () => (await controlPlane.request('GET', `${path}/raced-roots`)).body.data;
    try {
      await write('newer');
      await assert.rejects(write('older'), { status: 409 });
      assert.deepEqual(await data(), { 'roots.pem': 'newer' });
      await controlPlane.request('DELETE', `${path}/raced-roots`);
      await create(controlPlane, path, { metadata: { name: 'raced-roots' }, data: { 'note.txt': 'keep' } });
      await assert.rejects(write('older'), { status: 409 });
      assert.deepEqual(await data(), { 'note.txt': 'keep' });
    } finally {
      await transport.close();
    }
  });

  describe('a ConfigMap of that name that the signer did not make', () => {
    const theirs = { data: { 'roots.pem': 'their own', 'note.txt': 'keep' } };

    it('a ConfigMap of another owner is left alone, and reported in the log, the metric and an Event', async () => {
      const namespace = await newNamespace('occupied', {});
      const made = await create<ConfigMap>(controlPlane, `/api/v1/namespaces/${namespace}/configmaps`, {
        metadata: { name },
        ...theirs,
      });
      await relabel(namespace, 'true');
      await waitFor('the metric', async () => (await state('foreign')) === 1);
      await waitFor('the log', () =>
        signer
          .lines()
          .some(
            (line) => line.namespace === namespace && /that the signer did not make/.test(String(line.msg)),
          ),
      );
      const events = `/apis/events.k8s.io/v1/namespaces/${namespace}/events?fieldSelector=reason=RootsNotPublished`;
      const [event] = await waitFor('the Event', async () => {
        const { items } = (await controlPlane.request('GET', events)).body;
        return items.length > 0 && items;
      });
      assert.equal(event.regarding.uid, made.metadata.uid);
      assert.match(event.note, /app\.kubernetes\.io\/managed-by=kubespiffe/);
      assert.deepEqual((await read(namespace))?.data, theirs.data);
      assert.ok((await signer.readiness()).ok);
    });

    it('a ConfigMap of another owner is not deleted when the label is removed, and is replaced once it is gone', async () => {
      await relabel('occupied', null);
      await waitFor('the signer to know', async () => (await state('foreign')) === 0);
      assert.deepEqual((await read('occupied'))?.data, theirs.data);
      await relabel('occupied', 'true');
      await waitFor('the metric', async () => (await state('foreign')) === 1);
      await controlPlane.request('DELETE', pathIn('occupied'));
      await holds('occupied');
    });

    it('a ConfigMap is taken over, and given up, by its label', async () => {
      await change('occupied', {
        metadata: { labels: { 'app.kubernetes.io/managed-by': 'somebody' } },
        ...theirs,
      });
      await waitFor('the metric', async () => (await state('foreign')) === 1);
      assert.deepEqual((await read('occupied'))?.data, theirs.data);
      await change('occupied', { metadata: { labels: { 'app.kubernetes.io/managed-by': 'kubespiffe' } } });
      assert.equal((await holds('occupied')).data?.['note.txt'], 'keep');
      await relabel('occupied', null);
      await waitFor('our part to go', async () => !(await read('occupied'))?.data?.['roots.pem']);
      const { data, metadata } = (await read('occupied')) ?? { metadata: { name } };
      assert.deepEqual([data, metadata.labels], [{ 'note.txt': 'keep' }, undefined]);
    });
  });

  it('the roots of other namespaces do not wait for one that is being deleted, or that refuses the write', async () => {
    const closing = await newNamespace('closing');
    await holds(closing);
    // A finalizer of its content keeps the namespace there while it is being deleted.
    await create(controlPlane, `/api/v1/namespaces/${closing}/configmaps`, {
      metadata: { name: 'held', finalizers: ['example.com/hold'] },
    });
    await controlPlane.request('DELETE', `/api/v1/namespaces/${closing}`);
    const full = await newNamespace('full', {});
    await create(controlPlane, `/api/v1/namespaces/${full}/resourcequotas`, {
      metadata: { name: 'none' },
      spec: { hard: { 'count/configmaps': '0' } },
    });
    await relabel(full, 'true');
    await waitFor('the refusal to be told', async () => (await state('failed')) === 1);
    await holds(await newNamespace('next'));
    await waitFor('it to go with the namespace', async () => (await read(closing)) === undefined);
    assert.equal(await state('pending'), 0);
    const warned = signer.lines().filter((line) => line.namespace === full && /quota/.test(String(line.msg)));
    assert.equal(warned.length, 1);
    assert.ok((await signer.readiness()).ok);
    await controlPlane.request('DELETE', `/api/v1/namespaces/${full}/resourcequotas/none`);
    await waitFor('the roots where they were refused', async () => (await state('failed')) === 0);
    await holds(full);
    await controlPlane.request('PATCH', `/api/v1/namespaces/${closing}/configmaps/held`, {
      metadata: { finalizers: null },
    });
  });

  it('the ConfigMap of roots is written by one of two replicas, and by the other one when that is gone', async () => {
    const other = await start('signer-b');
    await other.ready();
    await waitFor('both to know each other', async () => {
      const leases = await controlPlane.request(
        'GET',
        '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases',
      );
      return leases.body.items.length === 2;
    });
    const writes = async (process: SignerProcess) =>
      process.metric('kubespiffe_api_requests_total', { verb: 'PATCH', resource: 'configmaps' });
    const before = (await writes(signer)) + (await writes(other));
    const namespaces = ['r0', 'r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8', 'r9'];
    for (const namespace of namespaces) await newNamespace(namespace);
    for (const namespace of namespaces) await holds(namespace);
    assert.equal((await writes(signer)) + (await writes(other)) - before, namespaces.length);
    await signer.child.stop('SIGKILL');
    for (const namespace of namespaces) await controlPlane.request('DELETE', pathIn(namespace));
    for (const namespace of namespaces) await holds(namespace);
    signer = other;
  });
});
