import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import type { Fault } from '../cluster/fault-rules.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

/** What requests that were there before the signer are told, when the pool comes late or not at all. */
describe('requests that wait for a signer which starts', () => {
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

  /** A request that is there before the signer, which then has this fault when it reads the pool. */
  async function requestBefore(secrets: Fault): Promise<PodCertificateRequest> {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    proxy.add({ path: '/secrets', fault: secrets });
    signer = await startSigner({ kubeconfig });
    return request;
  }

  it('are told of no fault when the pool is read a moment later than they are', async () => {
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

  it('are told when the pool cannot be read at all, and issued once it can', async () => {
    const request = await requestBefore({ kind: 'answer', status: 403 });
    assert.match(
      await noteOn(request.spec.podUID),
      /CA pool cannot be used: pool: the Secret has not been read yet; /,
    );
    proxy.clear();
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
  });

  const keyOf = ({ metadata }: PodCertificateRequest) => `${metadata.namespace}/${metadata.name}`;

  const noteOn = (podUID: string): Promise<string> =>
    waitFor('the Event', async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = body as { items: { note: string; regarding: { uid: string } }[] };
      return items.find(({ regarding }) => regarding.uid === podUID)?.note;
    });
});
