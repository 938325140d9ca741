import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import type { Fault } from '../cluster/fault-rules.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, deletePool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';

/** What requests that were there before the pool was read are told, when it comes late or not at all. */
describe('requests that wait for a pool', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let kubeconfig: string;
  let signer: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    kubeconfig = await installSigner(controlPlane, { server: proxy.url, authority: proxy.authority });
    await putPool(controlPlane, await aPool());
    // The roots are published, so that the pool is all there is to wait for.
    const first = await startSigner({ kubeconfig });
    await first.ready();
    await first.child.stop();
  });
  after(async () => {
    await proxy?.stop();
    await controlPlane?.stop();
  });

  afterEach(async () => {
    proxy.clear();
    await signer.child.stop();
  });

  /** A request that is there before the signer, which then meets this fault of the API server when it reads the pool. */
  async function requestBefore(secrets: Fault): Promise<PodCertificateRequest> {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    proxy.add({ path: '/secrets', fault: secrets });
    signer = await startSigner({ kubeconfig });
    return request;
  }

  it('waiting requests get no Event when the pool is read a moment after them', async () => {
    const request = await requestBefore({ kind: 'delay', ms: 1_500 });
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    // The log is written at the end of a turn, after the answer.
    const told = await waitFor('the log line', () => {
      const lines = signer.lines().filter((line) => line.request === keyOf(request));
      return lines.some(({ reason }) => reason === 'Issued') ? lines : undefined;
    });
    assert.deepEqual(
      told.map(({ reason }) => reason),
      ['Issued'],
    );
  });

  it('waiting requests are reported when the pool cannot be read at all, and issued once it can', async () => {
    const request = await requestBefore({ kind: 'answer', status: 403 });
    assert.match(
      await noteOn(request.spec.podUID),
      /CA pool cannot be used: pool: the Secret has not been read yet; /,
    );
    proxy.clear();
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
  });

  /** Twenty requests that were told of no pool; then it is made, and all are issued. @returns their pods. */
  async function firstInstall(bundleTakesMs: number): Promise<Pod[]> {
    await deletePool(controlPlane);
    assert.equal((await controlPlane.request('DELETE', bundlePath)).status, 200);
    const pods = await Promise.all(Array.from({ length: 20 }, () => createPod(controlPlane)));
    const requests = await Promise.all(pods.map((pod) => requestFor(controlPlane, pod)));
    signer = await startSigner({ kubeconfig });
    for (const { spec } of requests)
      assert.match(await noteOn(spec.podUID), /no such Secret; put a copy back with/);
    proxy.add({ method: 'PATCH', path: bundlePath, fault: { kind: 'delay', ms: bundleTakesMs } });
    await putPool(controlPlane, await aPool());
    for (const request of requests) {
      assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    }
    return pods;
  }

  const foundUnpublished = () =>
    signer.lines().filter(({ audit, reason }) => audit && reason === 'TrustNotPublished').length;

  it('waiting requests are tried when the roots are seen, and most of them not before, at a first install', async () => {
    const pods = await firstInstall(0);
    // Those whose own next try falls in between.
    assert.ok(foundUnpublished() < pods.length / 2, `${foundUnpublished()} of ${pods.length}`);
  });

  it('waiting requests report on their pods that there is no pool, and not that its roots are not published yet', async () => {
    const pods = await firstInstall(2_000);
    assert.ok(foundUnpublished() > 0, 'some were tried meanwhile');
    // Events are written in their order, a little later: one that was caused after these shows that no more come.
    const annotated = { unverifiedUserAnnotations: { 'kubespiffe.io/uri': 'spiffe://example.org/admin' } };
    const { spec } = await requestFor(controlPlane, await createPod(controlPlane), annotated);
    await noteOn(spec.podUID);
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    const told = (await events()).filter(({ regarding }) => uids.has(regarding.uid));
    assert.deepEqual(
      told.map(({ reason }) => reason),
      pods.map(() => 'PoolUnusable'),
    );
  });

  const keyOf = ({ metadata }: PodCertificateRequest) => `${metadata.namespace}/${metadata.name}`;

  async function events(): Promise<{ reason: string; note: string; regarding: { uid: string } }[]> {
    const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
    return body.items;
  }

  const noteOn = (podUID: string): Promise<string> =>
    waitFor(
      'the Event',
      async () => (await events()).find(({ regarding }) => regarding.uid === podUID)?.note,
    );
});
