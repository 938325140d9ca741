import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const count = 101;
const leases = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
/** The list and the watch. */
const leaseReads = { method: 'GET', path: /\/leases(\?|$)/ };

interface Replica {
  readonly proxy: FaultProxy;
  readonly signer: SignerProcess;
}

/** Two replicas whose writes pass, and that see no Lease of each other: both answer everything. */
describe('requests that two replicas answer, because neither sees the Lease of the other', () => {
  let controlPlane: ControlPlane;
  const replicas: Replica[] = [];
  let pods: readonly [Pod, Pod];
  let first: PodCertificateRequest;

  before(async () => {
    controlPlane = await startControlPlane();
    await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
    pods = [await createPod(controlPlane), await createPod(controlPlane)];
    first = await requestFor(controlPlane, pods[0]);
    for (const replica of ['signer-a', 'signer-b']) {
      const proxy = await startFaultProxy({
        url: controlPlane.url,
        authority: controlPlane.authority.certificate,
      });
      proxy.add({ ...leaseReads, fault: { kind: 'hang' } });
      const kubeconfig = await controlPlane.kubeconfigFor(
        { namespace: 'kubespiffe', name: 'kubespiffe-signer' },
        { server: proxy.url, authority: proxy.authority },
      );
      const signer = await startSigner({ kubeconfig, replica });
      replicas.push({ proxy, signer });
    }
    for (const { signer } of replicas) await signer.ready();
  });
  after(async () => {
    for (const { proxy, signer } of replicas) {
      await signer.child.stop();
      await proxy.stop();
    }
    await controlPlane?.stop();
  });

  const writes = { method: 'PATCH', path: /\/podcertificaterequests\/[^/]+\/status/ };
  const sum = async (metric: string, labels?: Record<string, string>) => {
    const values = await Promise.all(replicas.map(({ signer }) => signer.metric(metric, labels)));
    return values.reduce((all, value) => all + value, 0);
  };

  /** UID of the request → serial of the certificate, as a replica has audited it. */
  const audited = ({ signer }: Replica) =>
    signer
      .lines()
      .filter((line) => line.audit === true && line.reason === 'Issued')
      .map((line): [string, string] => [(line.request as { uid: string }).uid, String(line.serial)]);

  it('each request gets one certificate, reported by the replica that wrote it, and the other replica leaves it alone', async () => {
    const { body } = await controlPlane.request('GET', leases);
    assert.equal(body.items.length, replicas.length, 'both keep a Lease');
    // They have tried for ten seconds to read the Leases by then.
    await waitFor(
      'both to begin with the request from before',
      async () => (await sum('kubespiffe_queue_depth')) === 0,
    );
    // Both have signed before either sees the other's answer.
    for (const { proxy } of replicas) proxy.add({ ...writes, fault: { kind: 'delay', ms: 300 } });
    const requests = [first];
    requests.push(
      ...(await Promise.all(
        Array.from({ length: count - 1 }, (_, index) =>
          requestFor(controlPlane, pods[index % 2 === 0 ? 0 : 1]),
        ),
      )),
    );
    for (const request of requests) await answerTo(controlPlane, request);

    const twice = () => replicas.reduce((all, { proxy }) => all + proxy.count(writes), -count);
    await waitFor('both to be done, and the loser of each to know', async () => {
      const pending = await sum('kubespiffe_pending_requests');
      const lost = await sum('kubespiffe_answered_elsewhere_total');
      const issued = await sum('kubespiffe_issuance_total', { reason: 'Issued' });
      return pending === 0 && issued === count && lost === twice();
    });
    assert.ok(twice() > count / 2, `only ${twice()} of ${count} were answered twice`);
    assert.equal(await sum('kubespiffe_issuance_total'), count, 'nothing else was decided');
    assert.equal(await sum('kubespiffe_status_rejected_total'), 0);

    // Audit lines are written at the end of a turn.
    const told = await waitFor('the audit lines', () => {
      const lines = replicas.flatMap(audited);
      return lines.length >= count ? lines : undefined;
    });
    assert.equal(told.length, count);
    const serials = new Map(told);
    for (const request of requests) {
      const { metadata, status } = await read(controlPlane, request);
      const held = new X509Certificate(status?.certificateChain ?? '').serialNumber.toLowerCase();
      assert.equal(serials.get(metadata.uid ?? ''), held);
    }
    // One write each, and nothing after it.
    for (const { proxy } of replicas) {
      const written = proxy.requests.flatMap(({ path }) => (writes.path.test(path) ? [path] : []));
      assert.equal(new Set(written).size, written.length);
    }
  });
});
