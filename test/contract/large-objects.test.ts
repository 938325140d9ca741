import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { inParallel } from '../bench/generator.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startInstalledSigner } from './installation.ts';
import type { SignerProcess } from './signer-process.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

const pods = '/api/v1/namespaces/default/pods';
/** Six bytes of JSON for one in etcd: the API server writes it as `\u003c`. */
const costly = '<';
/** Just below what etcd takes, and what the API server takes of annotations. */
const objectBytes = 1_300_000;
const annotationBytes = 256 * 1024;
/** The API server answers with the metadata of what it has stored, not with all of it. */
const withoutEcho = { accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1' };
/** The memory limit of manifests/base is 384Mi. */
const mostMiB = 300;

/** What a tenant and a node may put into a cluster. The signer must still start, with the memory that it has. */
describe('a cluster with the largest objects that the API server takes', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess | undefined;

  before(async () => {
    controlPlane = await startControlPlane({ controllers: false });
    await create(controlPlane, '/api/v1/namespaces/default/serviceaccounts', {
      metadata: { name: 'default' },
    });
  });
  after(async () => {
    await signer?.child.stop();
    await controlPlane?.stop();
  });

  async function createPods(count: number, prefix: string, different: object): Promise<void> {
    const containers = [{ name: 'app', image: 'none', ...different }];
    const spec = { containers, automountServiceAccountToken: false, nodeName: 'node-1' };
    const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
    await inParallel(names, 4, async (name) => {
      const pod = { metadata: { name }, spec };
      const { status } = await controlPlane.request('POST', pods, pod, { headers: withoutEcho });
      assert.equal(status, 201);
    });
  }

  const peakMiB = () => {
    const status = readFileSync(`/proc/${signer?.child.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  };

  it('the largest objects do not keep a signer from starting, nor exceed its memory limit', async () => {
    await createPods(40, 'text', { env: [{ name: 'A', value: costly.repeat(objectBytes) }] });
    await createPods(10, 'many', { env: Array.from({ length: 100_000 }, () => ({ name: 'A' })) });
    const unverifiedUserAnnotations = {
      'example.org/a': costly.repeat(annotationBytes - 'example.org/a'.length),
    };
    const owner = await createPod(controlPlane, { name: 'owner' });
    await inParallel(Array.from({ length: 128 }), 8, async () => {
      await requestFor(controlPlane, owner, { unverifiedUserAnnotations, stubPKCS10Request: 'AAAA' }).catch(
        () => requestFor(controlPlane, owner, { unverifiedUserAnnotations }),
      );
    });

    signer = await startInstalledSigner(controlPlane);
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    assert.equal((await answerTo(controlPlane, request, 180_000)).conditions?.[0]?.type, 'Issued');
    const peak = peakMiB();
    assert.ok(peak < mostMiB, `the signer needed ${Math.round(peak)} MiB`);
    assert.equal(await signer.metric('kubespiffe_watch_restarts_total', { cause: 'error' }), 0);
  });
});
