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

  function largePod(name: string, different: object): object {
    const containers = [{ name: 'app', image: 'none', ...different }];
    return {
      metadata: { name },
      spec: { containers, automountServiceAccountToken: false, nodeName: 'node-1' },
    };
  }

  const peakMiB = () => {
    const status = readFileSync(`/proc/${signer?.child.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  };

  it('does not keep a signer from starting, nor make it need more memory than it has', async () => {
    const text = [{ name: 'A', value: costly.repeat(objectBytes) }];
    await inParallel(
      Array.from({ length: 70 }, (_, index) => largePod(`text-${index}`, { env: text })),
      4,
      async (pod) => void (await create(controlPlane, pods, pod)),
    );
    const many = Array.from({ length: 100_000 }, () => ({ name: 'A' }));
    await inParallel(
      Array.from({ length: 20 }, (_, index) => largePod(`many-${index}`, { env: many })),
      4,
      async (pod) => void (await create(controlPlane, pods, pod)),
    );
    const unverifiedUserAnnotations = {
      'example.org/a': costly.repeat(annotationBytes - 'example.org/a'.length),
    };
    const owner = await createPod(controlPlane, { name: 'owner' });
    await inParallel(Array.from({ length: 256 }), 8, async () => {
      await requestFor(controlPlane, owner, { unverifiedUserAnnotations, stubPKCS10Request: 'AAAA' }).catch(
        () => requestFor(controlPlane, owner, { unverifiedUserAnnotations }),
      );
    });

    signer = await startInstalledSigner(controlPlane);
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    assert.equal((await answerTo(controlPlane, request, 60_000)).conditions?.[0]?.type, 'Issued');
    const peak = peakMiB();
    assert.ok(peak < mostMiB, `the signer needed ${Math.round(peak)} MiB`);
    assert.equal(await signer.metric('kubespiffe_watch_restarts_total', { cause: 'error' }), 0);
  });
});
