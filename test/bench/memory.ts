import { waitFor } from '../cluster/process.ts';
import { type Bench, cleanUp } from './runs.ts';
import { startBenchSigner } from './signers.ts';

const poolPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';

/** Resident memory in megabytes: now, and the highest since the start. */
export interface Resident {
  readonly now: number;
  readonly peak: number;
}

/** Memory after bursts that one process answers one after another. */
export async function memoryAfterBursts(
  bench: Bench,
  sizes: { bursts: number; count: number },
): Promise<Resident> {
  const signer = await startBenchSigner(bench.cluster);
  for (let round = 0; round < sizes.bursts; round += 1) {
    await bench.load.call('prepare', { count: sizes.count, ceiling: false });
    await bench.load.call('burst', undefined);
  }
  const resident = signer.residentMegabytes();
  await signer.stop();
  await cleanUp(bench);
  return resident;
}

/**
 * Memory with many pods and many pending requests in the caches. They are pending because the pool's Secret is
 * taken away for the time: the signer sees everything and may sign nothing.
 */
export async function memoryWithFullCaches(
  bench: Bench,
  sizes: { pods: number; pending: number },
): Promise<Resident> {
  const { controlPlane } = bench.cluster;
  await bench.load.call('createPods', { count: sizes.pods });
  await bench.load.call('prepare', { count: sizes.pending, ceiling: false });
  await bench.load.call('createBacklog', undefined);
  const { body: secret } = await controlPlane.request('GET', poolPath);
  await controlPlane.request('DELETE', poolPath);

  const signer = await startBenchSigner(bench.cluster, { waitUntilReady: false });
  await waitFor('all requests in the cache', async () => {
    return (await signer.process.metric('kubespiffe_pending_requests')) === sizes.pending;
  });
  // What the lists have left behind is collected sooner or later; what counts is where it stays.
  let resident = signer.residentMegabytes();
  await waitFor(
    'the memory to stay where it is',
    async () => {
      const last = resident;
      resident = signer.residentMegabytes();
      return Math.abs(resident.now - last.now) < 1;
    },
    { everyMs: 3_000 },
  );
  await signer.stop();

  const { name, namespace, labels } = secret.metadata;
  await controlPlane.request('POST', poolPath.slice(0, poolPath.lastIndexOf('/')), {
    ...secret,
    metadata: { name, namespace, labels },
  });
  await cleanUp(bench);
  return resident;
}
