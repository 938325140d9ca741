import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ApiClient, openApi } from '../bench/api-client.ts';
import { makePlace } from '../bench/cluster.ts';
import { createGenerator, inParallel, type LoadGenerator, type LoadRequest } from '../bench/generator.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';

const statusWrites = { method: 'PATCH', path: /\/podcertificaterequests\/[^/]+\/status/ } as const;
const fillers = '/api/v1/namespaces/bench/configmaps';
const html = { headers: { 'content-type': 'text/html' }, body: '<html>It works!</html>' };

/** After every problem of the API server, work goes on by itself, and each request gets one answer. */
describe('a signer whose API server has problems', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let api: ApiClient;
  let generator: LoadGenerator;
  let direct: string;
  let proxied: string;
  let pool: PoolDocument;
  let signer: SignerProcess | undefined;

  before(async () => {
    controlPlane = await startControlPlane({ controllers: false });
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    direct = await installSigner(controlPlane);
    proxied = await installSigner(controlPlane, { server: proxy.url, authority: proxy.authority });
    pool = await aPool();
    await putPool(controlPlane, pool);
    api = await openApi(controlPlane.kubeconfig);
    generator = createGenerator(api, await makePlace(controlPlane));
    await generator.createPods(20, 8);
  });
  after(async () => {
    await signer?.child.stop();
    api?.close();
    await proxy?.stop();
    await controlPlane?.stop();
  });
  beforeEach(async () => {
    proxy.clear();
    await signer?.child.stop();
  });

  async function start(kubeconfig: string): Promise<SignerProcess> {
    signer = await startSigner({ kubeconfig });
    return signer;
  }

  /** Creates them as kubelets would: again and again until they are there. */
  function createAll(requests: readonly LoadRequest[]): Promise<void> {
    const isThere = (error: unknown) => String(error).includes('AlreadyExists');
    return inParallel(requests, 16, async (request) => {
      await waitFor(
        `the API server to take ${request.name}`,
        async () => {
          try {
            await generator.create(request);
            return true;
          } catch (error) {
            if (isThere(error)) return true;
            throw error;
          }
        },
        { timeoutMs: 90_000, everyMs: 50 },
      );
    });
  }

  async function stored(requests: readonly LoadRequest[]): Promise<PodCertificateRequest[]> {
    const names = new Set(requests.map(({ name }) => name));
    const path = '/apis/certificates.k8s.io/v1/namespaces/bench/podcertificaterequests';
    const { body } = await controlPlane.request('GET', path);
    return (body.items as PodCertificateRequest[]).filter(({ metadata }) => names.has(metadata.name));
  }

  async function allIssued(requests: readonly LoadRequest[]): Promise<PodCertificateRequest[]> {
    const answered = await waitFor(
      `an answer to each of ${requests.length} requests`,
      async () => {
        const all = await stored(requests);
        const open = all.filter(({ status }) => status?.conditions === undefined);
        return all.length === requests.length && open.length === 0 && all;
      },
      { timeoutMs: 90_000, everyMs: 250 },
    );
    for (const { status } of answered) assert.equal(status?.conditions?.[0]?.type, 'Issued');
    return answered;
  }

  function auditedSerials(process: SignerProcess): Map<string, string[]> {
    const serials = new Map<string, string[]>();
    for (const line of process.lines()) {
      if (line.audit !== true || line.reason !== 'Issued') continue;
      const { uid } = line.request as { uid: string };
      serials.set(uid, [...(serials.get(uid) ?? []), String(line.serial)]);
    }
    return serials;
  }

  /** Each certificate that the server holds is in the audit once, and no other one for the same request. */
  async function eachAuditedOnce(process: SignerProcess, answered: readonly PodCertificateRequest[]) {
    await waitFor('an audit line for each certificate', () => {
      const serials = auditedSerials(process);
      return answered.every(({ metadata }) => serials.has(metadata.uid ?? ''));
    });
    const serials = auditedSerials(process);
    for (const { metadata, status } of answered) {
      const { serialNumber } = new X509Certificate(status?.certificateChain ?? '');
      assert.deepEqual(serials.get(metadata.uid ?? ''), [serialNumber.toLowerCase()], metadata.name);
    }
  }

  it('the signer answers 500 requests although the API server is killed in the middle of them', async () => {
    const process = await start(direct);
    await process.ready();
    const requests = generator.prepare(500);
    const created = createAll(requests);
    await waitFor('the first 150 answers', () => auditedSerials(process).size >= 150);
    await controlPlane.killApiServer();
    await controlPlane.startApiServer();
    await created;
    await eachAuditedOnce(process, await allIssued(requests));
  });

  it('the signer waits for an API server that is down at its start, and then answers the requests that exist', async () => {
    const requests = generator.prepare(20);
    await createAll(requests);
    await controlPlane.killApiServer();
    const process = await start(direct);
    try {
      await waitFor('a reason why it is not ready', async () => {
        const { ok, text } = await process.readiness();
        return !ok && text.includes('pod-certificate-api');
      });
      const live = await fetch(`${process.url}/livez`);
      assert.equal(live.status, 200);
    } finally {
      await controlPlane.startApiServer();
    }
    await eachAuditedOnce(process, await allIssued(requests));
    await process.ready();
  });

  it('the signer answers through a slow API server', async () => {
    const process = await start(proxied);
    await process.ready();
    proxy.add({ ...statusWrites, fault: { kind: 'delay', ms: 700 } });
    proxy.add({ path: '/pods', fault: { kind: 'delay', ms: 700 } });
    const requests = generator.prepare(100);
    await createAll(requests);
    await eachAuditedOnce(process, await allIssued(requests));
  });

  it('the signer answers after an API server sends garbage, also if the garbage looks like success', async () => {
    const process = await start(proxied);
    await process.ready();
    proxy.add({ ...statusWrites, times: 10, fault: { kind: 'answer', status: 200, ...html } });
    proxy.add({ ...statusWrites, times: 10, fault: { kind: 'answer', status: 502, ...html } });
    const followed = ['pods', 'podcertificaterequests', 'clustertrustbundles', 'secrets', 'leases'];
    for (const resource of followed) {
      const path = new RegExp(`/${resource}\\?`);
      proxy.add({ watch: true, path, times: 1, fault: { kind: 'answer', status: 200, ...html } });
    }
    proxy.add({
      method: 'GET',
      path: /podcertificaterequests\?(?!.*watch)/,
      times: 2,
      fault: { kind: 'answer', status: 200, ...html },
    });
    proxy.resetConnections();
    const requests = generator.prepare(60);
    await createAll(requests);
    for (const resource of followed) {
      await waitFor(`the watch of ${resource} to be counted as opened again`, async () => {
        return (await process.metric('kubespiffe_watch_restarts_total', { resource })) > 0;
      });
    }
    for (const { metadata, status } of await allIssued(requests)) {
      const audited = new Set(auditedSerials(process).get(metadata.uid ?? ''));
      const { serialNumber } = new X509Certificate(status?.certificateChain ?? '');
      assert.deepEqual([...audited], [serialNumber.toLowerCase()], 'the same bytes were sent again');
    }
  });

  it('the signer answers each request once after half a minute in which the API server could write nothing', async () => {
    const process = await start(proxied);
    await process.ready();
    proxy.forget();
    // As with an etcd that is down or full: reads and watches go on.
    const rule = proxy.add({ ...statusWrites, fault: { kind: 'answer', status: 500 } });
    const requests = generator.prepare(100);
    const startedAt = performance.now();
    await createAll(requests);
    // Answers are signed anew after 25 s, so each request has two tries by then.
    await waitFor('a second signature of each', () => performance.now() - startedAt > 30_000, {
      timeoutMs: 60_000,
    });
    assert.ok(rule.hits() < requests.length * 12, `${rule.hits()} writes`);
    rule.remove();
    await eachAuditedOnce(process, await allIssued(requests));
  });

  it('the signer signs at most one answer in 25 s for a request while etcd is out of space, and answers later', async (t) => {
    // The roots, and until when the CA may have signed, have to be written while that is possible.
    const earlier = await start(direct);
    const first = generator.prepare(1);
    await createAll(first);
    await allIssued(first);
    await earlier.child.stop();
    const requests = generator.prepare(20);
    await createAll(requests);
    // Also when this test fails, or those after it would fail as well.
    t.after(emptyEtcd);
    await fillEtcd();
    proxy.forget();
    const startedAt = performance.now();
    const process = await start(proxied);
    // Those that have been answered; more may be under way at any time.
    const writesOf = ({ name }: LoadRequest) =>
      proxy.requests.filter(
        ({ method, path, status }) => method === 'PATCH' && path.includes(`/${name}/status`) && status,
      );
    await waitFor(
      'six refused writes of each request',
      () => requests.every((request) => writesOf(request).length >= 6),
      { timeoutMs: 120_000 },
    );
    for (const request of requests) {
      const writes = writesOf(request);
      assert.ok(
        writes.every(({ status }) => status === 500),
        writes.map(({ status }) => status).join(),
      );
      const [firstAt = 0] = writes.map(({ at }) => at);
      const lastAt = writes.at(-1)?.at ?? 0;
      // The back-off of the queue doubles from 250 ms, of which the upper half is at random.
      assert.ok(lastAt - firstAt >= 125 + 250 + 500 + 1_000 + 2_000, `six writes in ${lastAt - firstAt} ms`);
      const signatures = new Set(writes.map(({ bodySha256 }) => bodySha256)).size;
      assert.ok(signatures <= 1 + (lastAt - startedAt) / 25_000, `${signatures} signatures`);
    }
    assert.equal(auditedSerials(process).size, 0);
    await emptyEtcd();
    await eachAuditedOnce(process, await allIssued(requests));
    await process.ready();
  });

  /** Writes until etcd is out of space (the alarm NOSPACE, in which it takes no writes). */
  async function fillEtcd(): Promise<void> {
    const { etcd } = controlPlane;
    const sizeOf = async () => Number((await etcd.call<{ dbSize: string }>('/v3/maintenance/status')).dbSize);
    await etcd.restart([`--quota-backend-bytes=${(await sizeOf()) + 4 * 1024 * 1024}`]);
    const data = { filler: 'x'.repeat(1_000_000) };
    const refusal = await waitFor('etcd to be out of space', async () => {
      const { status, body } = await controlPlane.request('POST', fillers, {
        metadata: { generateName: 'filler-', labels: { filler: '' } },
        data,
      });
      return status >= 500 && /database space exceeded/.test(JSON.stringify(body)) && status;
    });
    assert.equal(refusal, 500);
  }

  /** What an administrator does about it: delete, compact, defragment, disarm. */
  async function emptyEtcd(): Promise<void> {
    const { etcd } = controlPlane;
    await waitFor('the fillers to be deleted', async () => {
      return (await controlPlane.request('DELETE', `${fillers}?labelSelector=filler`)).status === 200;
    });
    const { alarms = [] } = await etcd.call<{ alarms?: object[] }>('/v3/maintenance/alarm', {
      action: 'GET',
    });
    if (alarms.length === 0) return;
    const { header } = await etcd.call<{ header: { revision: string } }>('/v3/kv/range', { key: 'AA==' });
    await etcd.call('/v3/kv/compaction', { revision: header.revision, physical: true });
    await etcd.call('/v3/maintenance/defragment');
    for (const alarm of alarms) await etcd.call('/v3/maintenance/alarm', { ...alarm, action: 'DEACTIVATE' });
  }

  it('the signer raises the alarm when its answers are found invalid, and writes them less and less often', async () => {
    const process = await start(proxied);
    await process.ready();
    const rule = proxy.add({ ...statusWrites, fault: { kind: 'answer', status: 422 } });
    proxy.forget();
    const requests = generator.prepare(5);
    await createAll(requests);
    const writesOf = (name: string) =>
      proxy.requests.filter(({ method, path }) => method === 'PATCH' && path.includes(`/${name}/status`));
    await waitFor('several writes of each', () => requests.every(({ name }) => writesOf(name).length >= 5), {
      timeoutMs: 60_000,
    });
    for (const { name } of requests) {
      const at = writesOf(name).map((write) => write.at);
      // The back-off of the queue: 250 ms and twice as long each time, of which the upper half is at random.
      for (const [index, leastMs] of [125, 250, 500, 1000].entries()) {
        const waitedMs = (at[index + 1] ?? 0) - (at[index] ?? 0);
        assert.ok(waitedMs >= leastMs, `${name}: write ${index + 2} after ${waitedMs} ms`);
      }
    }
    assert.equal(await process.metric('kubespiffe_status_rejected_total'), requests.length);
    assert.equal(
      await process.metric('kubespiffe_issuance_total', { outcome: 'wait', reason: 'StatusRejected' }),
      requests.length,
    );
    rule.remove();
    await eachAuditedOnce(process, await allIssued(requests));
  });

  /** A pool says which of the published roots it takes out. */
  function retire(authority: AuthorityRecord): void {
    const id = `retired-${pool.authorities.length}`;
    pool = { ...pool, authorities: [...pool.authorities, { ...authority, id, state: 'retired' }] };
  }

  it('the signer delivers no answer of an authority that was tainted while the answers were under way', async () => {
    const process = await start(proxied);
    await process.ready();
    // Half of the writes never arrive, the others go through without our learning of it.
    proxy.add({ ...statusWrites, times: 10, fault: { kind: 'reset', when: 'after' } });
    proxy.add({ ...statusWrites, fault: { kind: 'reset', when: 'before' } });
    const requests = generator.prepare(20);
    await createAll(requests);
    await waitFor('a write of each', () =>
      requests.every(({ name }) => proxy.count({ method: 'PATCH', path: `/${name}/status` }) > 0),
    );
    const next = await aPool({ id: '2' });
    const [first] = pool.authorities;
    const [second] = next.authorities;
    assert.ok(first && second);
    const tainted = { ...first, state: 'retiring', tainted: true } as const;
    await putPool(controlPlane, { ...pool, sequence: pool.sequence + 1, authorities: [tainted, second] });
    retire(second);
    await waitFor('the other authority to sign', () =>
      process.lines().some((line) => line.msg === 'the pool can sign' && line.authority === '2'),
    );
    const answeredBefore = new Set(
      (await stored(requests))
        .filter(({ status }) => status?.conditions)
        .map(({ metadata }) => metadata.name),
    );
    proxy.clear();

    const answered = await allIssued(requests);
    const byFirst = new X509Certificate(first.certificate ?? '').publicKey;
    const fromFirst = answered.filter(({ status }) =>
      new X509Certificate(status?.certificateChain ?? '').verify(byFirst),
    );
    assert.deepEqual(new Set(fromFirst.map(({ metadata }) => metadata.name)), answeredBefore);
    assert.ok(fromFirst.length < answered.length, 'some were still to be answered');
    await eachAuditedOnce(process, answered);
  });

  it('the signer follows a restored etcd: no authority that was tainted since signs, and requests are answered', async (t) => {
    await putPool(controlPlane, { ...pool, sequence: pool.sequence + 2 });
    const reopened = generator.prepare(5);
    await createAll(reopened);
    await controlPlane.etcd.save();
    const process = await start(direct);
    await process.ready();
    await allIssued(reopened);
    // Until etcd has caught up with what was seen, every watch from then is silent.
    const lost = generator.prepare(200);
    await createAll(lost);
    await allIssued(lost);
    await putPool(controlPlane, { ...pool, sequence: pool.sequence + 3 });
    await waitFor(
      'the later pool',
      () => process.lines().filter(({ msg }) => msg === 'the pool can sign').length >= 2,
    );
    await controlPlane.killApiServer();
    await controlPlane.etcd.putBack();
    await controlPlane.startApiServer();

    const next = await aPool({ id: '2' });
    const [first] = pool.authorities;
    const [second] = next.authorities;
    assert.ok(first && second);
    const tainted = { ...first, state: 'retiring', tainted: true } as const;
    await putPool(controlPlane, {
      ...pool,
      sequence: pool.sequence + 4,
      authorities: [tainted, second, ...pool.authorities.slice(1)],
    });
    const taintedAt = performance.now();
    t.after(async () => {
      retire(second);
      await putPool(controlPlane, { ...pool, sequence: pool.sequence + 5 });
    });
    await waitFor(
      'the other authority to sign',
      () => process.lines().some(({ msg, authority }) => msg === 'the pool can sign' && authority === '2'),
      { timeoutMs: 30_000 },
    );
    assert.ok(performance.now() - taintedAt <= 30_000);
    const requests = generator.prepare(20);
    await createAll(requests);
    const bySecond = new X509Certificate(second.certificate ?? '').publicKey;
    await allIssued(reopened);
    for (const { status } of await allIssued(requests)) {
      assert.ok(new X509Certificate(status?.certificateChain ?? '').verify(bySecond));
    }
    await process.ready();
  });

  it('the signer keeps requests that it may not answer, and answers them once it may', async () => {
    const process = await start(proxied);
    await process.ready();
    const rule = proxy.add({ ...statusWrites, fault: { kind: 'answer', status: 403 } });
    const requests = generator.prepare(20);
    await createAll(requests);
    await waitFor('word of it for each request', () => {
      const waiting = process.lines().filter(({ reason, audit }) => audit && reason === 'SignerForbidden');
      return waiting.length >= requests.length;
    });
    for (const { status } of await stored(requests)) assert.deepEqual(status ?? {}, {});
    rule.remove();
    await eachAuditedOnce(process, await allIssued(requests));
  });
});
