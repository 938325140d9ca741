import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { startInstalledSigner } from './installation.ts';
import type { SignerProcess } from './signer-process.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

const pods = '/api/v1/namespaces/default/pods';

/**
 * Watches are not ordered among each other: a request may come before the news of its pod. Here the watch of pods
 * falls silent for good, so that the cache of the signer stays as it was then.
 */
describe('requests of pods that the cache shows in an old state', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let signer: SignerProcess;
  const cached: Record<string, Pod> = {};

  before(async () => {
    controlPlane = await startControlPlane();
    proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
    const reach = { server: proxy.url, authority: proxy.authority };
    signer = await startInstalledSigner(controlPlane, { reach });

    cached.predecessor = await createPod(controlPlane, { name: 'web-0' });
    cached.unscheduled = await createPod(controlPlane, { name: 'late-0', nodeName: '' });
    // The watch delivers events in order: a replica that has seen the last one has seen the others.
    cached.last = await createPod(controlPlane, { name: 'last' });
    await waitFor('a watch of the pods', () => watch() !== undefined);
    await waitFor('the cache to have the pods', async () => {
      proxy.forget();
      await issued(await requestFor(controlPlane, cached.last as Pod));
      return looks('last') === 0;
    });
    watch()?.silence();
  });
  after(async () => {
    await signer?.child.stop();
    await proxy?.stop();
    await controlPlane?.stop();
  });

  const watch = () => proxy.watches({ path: /^\/api\/v1\/pods\?/ })[0];
  const looks = (name: string) => proxy.count({ method: 'GET', path: `${pods}/${name}` });

  async function issued(request: PodCertificateRequest): Promise<void> {
    const { conditions } = await answerTo(controlPlane, request);
    assert.equal(conditions?.[0]?.type, 'Issued');
  }

  /** Answered by one look at the pod, and the cache knows no more than before. */
  async function issuedByOneLook(pod: Pod, request: PodCertificateRequest): Promise<void> {
    await issued(request);
    assert.equal(looks(pod.metadata.name), 1);
    assert.equal(await signer.metric('kubespiffe_watch_restarts_total', { resource: 'pods' }), 0);
  }

  it('the signer issues for a pod of the cache without a live look', async () => {
    proxy.forget();
    await issued(await requestFor(controlPlane, cached.last as Pod));
    assert.equal(looks('last'), 0);
  });

  it('the signer issues for the successor of a StatefulSet pod after one live look', async () => {
    proxy.forget();
    const gone = await controlPlane.request('DELETE', `${pods}/web-0`, { gracePeriodSeconds: 0 });
    assert.equal(gone.status, 200);
    const successor = await waitFor('the name to be free', () =>
      createPod(controlPlane, { name: 'web-0' }).catch(() => undefined),
    );
    assert.notEqual(successor.metadata.uid, cached.predecessor?.metadata.uid);
    await issuedByOneLook(successor, await requestFor(controlPlane, successor));
  });

  it('the signer issues for a pod that had no node yet, after one live look', async () => {
    proxy.forget();
    const pod = cached.unscheduled as Pod;
    const binding = {
      metadata: { name: 'late-0' },
      target: { apiVersion: 'v1', kind: 'Node', name: 'node-9' },
    };
    await create(controlPlane, `${pods}/late-0/binding`, binding);
    await issuedByOneLook(pod, await requestFor(controlPlane, pod, { nodeName: 'node-9' }));
  });

  it('the signer issues for a pod that the cache does not have, after one live look', async () => {
    proxy.forget();
    const pod = await createPod(controlPlane);
    await issuedByOneLook(pod, await requestFor(controlPlane, pod));
  });

  it('the signer drops the request of another pod of the name only after one live look', async () => {
    proxy.forget();
    const request = await requestFor(controlPlane, cached.unscheduled as Pod, { podUID: 'never-was' });
    const name = `default/${request.metadata.name}`;
    await waitFor('the decision', () =>
      signer.lines().some((line) => line.request === name && line.reason === 'PodReplaced'),
    );
    assert.equal(looks('late-0'), 1);
  });
});
