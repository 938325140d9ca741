import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const count = 100;

/** Where the Leases of the second signer are, so that each takes itself for the only one. */
const apart = `
apiVersion: v1
kind: Namespace
metadata: { name: apart }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: leases, namespace: apart }
rules:
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create, list, watch, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: leases, namespace: apart }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: leases }
subjects:
- { kind: ServiceAccount, name: kubespiffe-signer, namespace: kubespiffe }
`;

interface Replica {
  readonly proxy: FaultProxy;
  readonly signer: SignerProcess;
}

/** Two replicas that do not know of each other, as after a split: both answer everything. */
describe('requests that two replicas answer', () => {
  let controlPlane: ControlPlane;
  const replicas: Replica[] = [];

  before(async () => {
    controlPlane = await startControlPlane();
    await installSigner(controlPlane);
    await controlPlane.kubectl(['apply', '-f', '-'], { input: apart });
    await putPool(controlPlane, await aPool());
    for (const [replica, namespace] of [
      ['signer-a', 'kubespiffe'],
      ['signer-b', 'apart'],
    ] as const) {
      const proxy = await startFaultProxy({
        url: controlPlane.url,
        authority: controlPlane.authority.certificate,
      });
      const kubeconfig = await controlPlane.kubeconfigFor(
        { namespace: 'kubespiffe', name: 'kubespiffe-signer' },
        { server: proxy.url, authority: proxy.authority },
      );
      const signer = await startSigner({ kubeconfig, replica, flags: ['--namespace', namespace] });
      replicas.push({ proxy, signer });
      await signer.ready();
    }
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

  it('carry one certificate each, told by the one whose it is, and are left alone by the other', async () => {
    const pods = [await createPod(controlPlane), await createPod(controlPlane)] as const;
    // Both have signed before either sees the other's answer.
    for (const { proxy } of replicas) proxy.add({ ...writes, fault: { kind: 'delay', ms: 300 } });
    const requests: PodCertificateRequest[] = await Promise.all(
      Array.from({ length: count }, (_, index) => requestFor(controlPlane, pods[index < count / 2 ? 0 : 1])),
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
