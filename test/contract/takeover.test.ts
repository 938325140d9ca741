import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type BenchCluster, startBenchCluster } from '../bench/cluster.ts';
import type { LoadCalls } from '../bench/load.ts';
import { type Bench, ceilingBurst, cleanUp } from '../bench/runs.ts';
import { type BenchSigner, startTwoSigners } from '../bench/signers.ts';
import { startWorker, type Worker } from '../bench/worker.ts';
import { waitFor } from '../cluster/process.ts';

const count = 500;
const takeoverDelayMs = 1_000;
const graceMs = 1_000;

describe('two replicas of which one is killed in the middle of 500 requests', () => {
  let cluster: BenchCluster;
  let load: Worker<LoadCalls>;
  let bench: Bench;
  let survivor: BenchSigner | undefined;

  before(async () => {
    cluster = await startBenchCluster((line) => process.stderr.write(`${line}\n`));
    load = startWorker<LoadCalls>(path.join(import.meta.dirname, '../bench/load.ts'));
    bench = { cluster, load };
    const { controlPlane, signerKubeconfig, place } = cluster;
    await load.call('open', { kubeconfig: controlPlane.kubeconfig, signerKubeconfig, place });
    await load.call('createPods', { count: 100 });
  });
  after(async () => {
    await survivor?.stop();
    load?.stop();
    await cluster?.controlPlane.stop();
  });

  /** Serials in a replica's audit by the UID of the request. */
  function audited(signer: BenchSigner): Map<string, string> {
    return new Map(
      signer.process
        .lines()
        .filter((line) => line.audit === true && line.reason === 'Issued')
        .map((line) => [(line.request as { uid: string }).uid, String(line.serial)]),
    );
  }

  async function stored(): Promise<PodCertificateRequest[]> {
    const path = '/apis/certificates.k8s.io/v1/namespaces/bench/podcertificaterequests';
    return (await cluster.controlPlane.request('GET', path)).body.items;
  }

  it('two replicas answer 500 requests once each and in time, although one of them is killed', async (t) => {
    const before = await ceilingBurst(bench, count);
    const [victim, other] = await startTwoSigners(cluster);
    survivor = other;
    await load.call('prepare', { count, ceiling: false });
    const running = load.call('burst', undefined);
    await waitFor('the victim to be in the middle of it', () => audited(victim).size >= count / 5, {
      everyMs: 10,
    });
    await victim.process.child.stop('SIGKILL');
    const result = await running;

    const answered = await stored();
    assert.equal(answered.length, count);
    const serials = [audited(victim), audited(survivor)];
    for (const { metadata, status } of answered) {
      assert.equal(status?.conditions?.[0]?.type, 'Issued', metadata.name);
      const held = new X509Certificate(status?.certificateChain ?? '').serialNumber.toLowerCase();
      // The victim may have died between a write and its audit line.
      for (const serial of serials.map((each) => each.get(metadata.uid ?? ''))) {
        assert.ok(serial === undefined || serial === held, `${metadata.name} was issued twice`);
      }
    }
    const takenOver = (await survivor.usage()).takeovers;
    assert.ok(takenOver > 0, 'the survivor took nothing over: the victim had nothing left to do');

    // The machine's speed changes from minute to minute, so the ceiling is measured on both sides of the run.
    await survivor.stop();
    await cleanUp(bench);
    const ceilingMs = Math.max(before.tookMs, (await ceilingBurst(bench, count)).tookMs);
    const limitMs = ceilingMs + takeoverDelayMs + graceMs;
    const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2);
    t.diagnostic(
      `last of ${count} after ${seconds(result.tookMs)} s, ceiling ${seconds(ceilingMs)} s, ${takenOver} taken over`,
    );
    assert.ok(result.tookMs <= limitMs, `${seconds(result.tookMs)} s are more than ${seconds(limitMs)} s`);
  });
});
