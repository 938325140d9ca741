import { setTimeout as pause } from 'node:timers/promises';
import { epochMs } from './api-client.ts';
import type { BenchCluster } from './cluster.ts';
import type { LoadCalls, LoadResult } from './load.ts';
import { type BenchSigner, startBenchSigner, startTwoSigners, type Usage } from './signers.ts';
import type { Worker } from './worker.ts';

/** Who answers the requests of a run: the prepared writes, or our signer with one or two replicas. */
export type Answerer = 'ceiling' | 'one' | 'two';

/** One run of the load. CPU in seconds per 1000 requests. */
export interface Run extends LoadResult {
  readonly answerer: Answerer;
  readonly apiServerCpu: number;
  readonly etcdCpu: number;
  /** All replicas together; 0 in a ceiling run. */
  readonly signerCpu: number;
  /** Per request, all replicas together. */
  readonly writesPerRequest: number;
  readonly readsPerRequest: number;
  readonly takeovers: number;
  readonly watchRestarts: number;
  readonly connections: number;
}

export interface Bench {
  readonly cluster: BenchCluster;
  readonly load: Worker<LoadCalls>;
}

const noUsage: Usage = { writes: 0, reads: 0, takeovers: 0, watchRestarts: 0 };

/**
 * Requests created by 32 parallel writers as fast as the API server takes them, `times` one after another to the same
 * processes, each into an API server without requests: the first comes right after their start, when V8 has compiled
 * next to nothing yet.
 */
export function bursts(
  bench: Bench,
  answerer: Answerer,
  count: number,
  times: number,
  of: {
    readonly signerName?: string;
    readonly flags?: readonly string[];
    /** Between two bursts. */
    readonly restMs?: number;
  } = {},
): Promise<Run[]> {
  const work = async (signers: readonly BenchSigner[]) => {
    const runs: Run[] = [];
    while (runs.length < times) {
      if (runs.length > 0) {
        await cleanUp(bench);
        await pause(of.restMs ?? 0);
      }
      runs.push(await burst(bench, answerer, signers, count, of.signerName));
    }
    return runs;
  };
  return withSigners(bench, answerer, work, of.flags);
}

async function burst(
  bench: Bench,
  answerer: Answerer,
  signers: readonly BenchSigner[],
  count: number,
  signerName?: string,
): Promise<Run> {
  const asked = signerName === undefined ? {} : { signerName };
  await bench.load.call('prepare', { count, ceiling: answerer === 'ceiling', ...asked });
  return measured(bench, answerer, signers, () => bench.load.call('burst', undefined));
}

/** A single burst that the prepared writes answer. */
export async function ceilingBurst(bench: Bench, count: number): Promise<Run> {
  const [run] = await bursts(bench, 'ceiling', count, 1);
  if (!run) throw new Error('the ceiling run gave no result');
  return run;
}

/** Bursts before a steady run. The load and the ceiling's process have had more of them by then. */
const warmUps = 3;

/**
 * Requests created at fixed points in time. Bursts of `warmUp` requests that nobody measures go before: a steady load is
 * what a signer has that has run for days.
 */
export function steady(
  bench: Bench,
  answerer: Answerer,
  at: { readonly perSecond: number; readonly seconds: number; readonly warmUp: number },
): Promise<Run> {
  const { perSecond, seconds, warmUp } = at;
  return withSigners(bench, answerer, async (signers) => {
    for (let done = 0; answerer !== 'ceiling' && done < warmUps; done += 1) {
      await burst(bench, answerer, signers, warmUp);
      await cleanUp(bench);
    }
    await bench.load.call('prepare', { count: perSecond * seconds, ceiling: answerer === 'ceiling' });
    return measured(bench, answerer, signers, () => bench.load.call('steady', { perSecond }));
  });
}

/** Requests that wait already when the answerer starts: `tookMs` counts from the start of the process. */
export async function backlog(bench: Bench, answerer: 'ceiling' | 'one', count: number): Promise<LoadResult> {
  await bench.load.call('prepare', { count, ceiling: answerer === 'ceiling' });
  await bench.load.call('createBacklog', undefined);
  await settled(bench);
  if (answerer === 'ceiling') {
    const result = await bench.load.call('workOffBacklog', {});
    await cleanUp(bench);
    return result;
  }
  const startedAt = epochMs();
  const starting = startBenchSigner(bench.cluster);
  const result = await bench.load.call('workOffBacklog', { startedAt });
  await (await starting).stop();
  await cleanUp(bench);
  return result;
}

/** Starts the signers that a run needs, and leaves the cluster as it was before. */
async function withSigners<T>(
  bench: Bench,
  answerer: Answerer,
  work: (signers: readonly BenchSigner[]) => Promise<T>,
  flags: readonly string[] = [],
): Promise<T> {
  const signers: readonly BenchSigner[] =
    answerer === 'ceiling'
      ? []
      : answerer === 'one'
        ? [await startBenchSigner(bench.cluster, { flags })]
        : await startTwoSigners(bench.cluster);
  try {
    return await work(signers);
  } finally {
    await Promise.all(signers.map((signer) => signer.stop()));
    await cleanUp(bench);
  }
}

async function measured(
  bench: Bench,
  answerer: Answerer,
  signers: readonly BenchSigner[],
  run: () => Promise<LoadResult>,
): Promise<Run> {
  const { controlPlane } = bench.cluster;
  await settled(bench);
  const usageBefore = await totalUsage(signers);
  // After the scrape: with many other trust domains, one takes as long as some tens of requests.
  const cpuBefore = cpuSecondsOf(signers);
  const before = controlPlane.cpuSeconds();
  const result = await run();
  const after = controlPlane.cpuSeconds();
  const cpu = cpuSecondsOf(signers) - cpuBefore;
  const usage = await totalUsage(signers);
  const per = (amount: number) => (amount / result.count) * 1000;
  return {
    ...result,
    answerer,
    apiServerCpu: per(after.apiserver - before.apiserver),
    etcdCpu: per(after.etcd - before.etcd),
    signerCpu: per(cpu),
    writesPerRequest: (usage.writes - usageBefore.writes) / result.count,
    readsPerRequest: (usage.reads - usageBefore.reads) / result.count,
    takeovers: usage.takeovers - usageBefore.takeovers,
    watchRestarts: usage.watchRestarts - usageBefore.watchRestarts,
    connections: Math.max(0, ...signers.map((signer) => signer.connections())),
  };
}

const cpuSecondsOf = (signers: readonly BenchSigner[]): number =>
  signers.reduce((sum, { process }) => sum + process.child.cpuSeconds(), 0);

async function totalUsage(signers: readonly BenchSigner[]): Promise<Usage> {
  const usages = await Promise.all(signers.map((signer) => signer.usage()));
  return usages.reduce(
    (sum, usage) => ({
      writes: sum.writes + usage.writes,
      reads: sum.reads + usage.reads,
      takeovers: sum.takeovers + usage.takeovers,
      watchRestarts: sum.watchRestarts + usage.watchRestarts,
    }),
    noUsage,
  );
}

export async function cleanUp(bench: Bench): Promise<void> {
  await bench.load.call('deleteRequests', undefined);
  await settled(bench);
}

/** Waits until the API server has nothing to do any more, 10 s at most: a run must not pay for the one before. */
export async function settled({ cluster }: Pick<Bench, 'cluster'>): Promise<void> {
  const windowMs = 250;
  const calm = 0.1;
  for (let round = 0; round < 40; round += 1) {
    const before = cluster.controlPlane.cpuSeconds().apiserver;
    await pause(windowMs);
    const used = cluster.controlPlane.cpuSeconds().apiserver - before;
    if (used / (windowMs / 1000) <= calm) return;
  }
}
