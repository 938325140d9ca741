// `make bench`: what the signer costs and how fast it is, beside what the API server itself can do at the same time
// on the same machine. Prints one table and writes dist/bench.json. See docs/reference/performance.md.
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseDuration } from '../../signer/config/values.ts';
import { type BenchCluster, startBenchCluster } from './cluster.ts';
import { type FederationRuns, type FederationSizes, measureFederation } from './federation.ts';
import { federationFiguresOf } from './federation-figures.ts';
import { type BurstPair, figuresOf, type Measurements, type Round } from './figures.ts';
import { type Keys, type KeysSizes, measureKeys } from './keys.ts';
import { keysFiguresOf } from './keys-figures.ts';
import type { LoadCalls } from './load.ts';
import { memoryAfterBursts, memoryWithFullCaches } from './memory.ts';
import { measureNames, type Names, type NamesSizes } from './names.ts';
import { namesFiguresOf } from './names-figures.ts';
import { besideOpenRequests } from './neighbour.ts';
import { type Answerer, type Bench, backlog, bursts, ceilingBurst, steady } from './runs.ts';
import { startBenchSigner } from './signers.ts';
import { renderTable } from './table.ts';
import { tokenFiguresOf } from './token-figures.ts';
import { measureTokens, type TokenSizes } from './token-runs.ts';
import { costOfTracesOff } from './traces-off.ts';
import { startWorker } from './worker.ts';
import { workloadFiguresOf } from './workload-figures.ts';
import { measureWorkloadApi, type WorkloadSizes } from './workload-runs.ts';

interface Sizes {
  readonly rounds: number;
  readonly requests: number;
  /** How many processes one after the other a round lets answer bursts alone, and after how many their memory is read. */
  readonly signers: number;
  readonly bursts: number;
  readonly rates: readonly number[];
  readonly steadySeconds: number;
  readonly starts: number;
  readonly pods: number;
  readonly pending: number;
  /** Open requests of one namespace, and requests of another without load. */
  readonly neighbour: { readonly openRequests: number; readonly quietRequests: number };
  readonly names: NamesSizes;
  readonly federation: FederationSizes;
  readonly tokens: TokenSizes;
  readonly keys: KeysSizes;
  readonly workload: WorkloadSizes;
}

const full: Sizes = {
  rounds: 3,
  requests: 1_000,
  signers: 3,
  bursts: 3,
  rates: [20, 100],
  steadySeconds: 30,
  starts: 3,
  pods: 10_000,
  pending: 2_000,
  neighbour: { openRequests: 10_000, quietRequests: 100 },
  names: { pairs: 3, requests: 1_000, registrations: 1_000, services: 5_000, affected: 10 },
  federation: { pairs: 3, requests: 1_000, peers: 1_000, restSeconds: 60 },
  tokens: { rounds: 3, seconds: 5, tokens: 2_000, pods: 200, soakSeconds: 60 },
  keys: { seconds: 4, requests: 1_000 },
  workload: {
    rounds: 3,
    seconds: 5,
    streams: 1_000,
    starts: 5,
    handshakes: { rounds: 8, handshakes: 200 },
  },
};
/** A smoke test: every figure once, none of them worth anything. */
const quick: Sizes = {
  rounds: 1,
  requests: 40,
  signers: 1,
  bursts: 1,
  rates: [20, 100],
  steadySeconds: 1,
  starts: 1,
  pods: 300,
  pending: 40,
  neighbour: { openRequests: 1_000, quietRequests: 5 },
  names: { pairs: 1, requests: 40, registrations: 20, services: 20, affected: 3 },
  federation: { pairs: 1, requests: 40, peers: 10, restSeconds: 1 },
  tokens: { rounds: 1, seconds: 0.4, tokens: 40, pods: 10, soakSeconds: 3 },
  keys: { seconds: 0.3, requests: 40 },
  workload: {
    rounds: 1,
    seconds: 0.4,
    streams: 50,
    starts: 1,
    handshakes: { rounds: 1, handshakes: 20 },
  },
};

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    /** Exit code 1 when a limit is missed. */
    check: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    /** `signer`: certificates; `names` and `federation`: with many registrations and Services, or other trust domains; `keys`: outside of the pool; … */
    only: { type: 'string' },
    /** How long the memory of the token endpoint is watched under load, such as 10m. */
    soak: { type: 'string' },
    output: { type: 'string', default: join(import.meta.dirname, '../../dist/bench.json') },
  },
});
const sections = ['signer', 'names', 'federation', 'tokens', 'keys', 'workload'];
if (values.only !== undefined && !sections.includes(values.only)) {
  throw new Error(`--only takes one of ${sections.join(', ')}`);
}
const sizes = chosenSizes();

function chosenSizes(): Sizes {
  const sizes = values.quick ? quick : full;
  const rounds = values.rounds === undefined ? {} : { rounds: Number(values.rounds) };
  const pairs = values.rounds === undefined ? {} : { pairs: Number(values.rounds) };
  const soak = values.soak === undefined ? {} : { soakSeconds: secondsOf(values.soak) };
  return {
    ...sizes,
    ...rounds,
    names: { ...sizes.names, ...pairs },
    federation: { ...sizes.federation, ...pairs },
    tokens: { ...sizes.tokens, ...rounds, ...soak },
    workload: { ...sizes.workload, ...rounds },
  };
}

function secondsOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new Error(`--soak ${text}: a duration such as 10m is needed`);
  return ms / 1000;
}

const isWanted = (section: string) => values.only === undefined || values.only === section;

const startedAt = Date.now();
function say(line: string): void {
  const elapsed = Math.round((Date.now() - startedAt) / 1000);
  process.stderr.write(`bench ${String(elapsed).padStart(4)} s: ${line}\n`);
}

const loadBefore = loadavg();
const cluster = values.only === 'workload' ? undefined : await startBenchCluster(say);
try {
  const measurements = {
    ...(cluster && isWanted('signer') && { signer: await measure(cluster) }),
    ...(cluster && isWanted('names') && { names: await measureWithNames(cluster) }),
    ...(cluster && isWanted('federation') && { federation: await measureWithPeers(cluster) }),
    ...(cluster && isWanted('tokens') && { tokens: await measureTokens(cluster, sizes.tokens, say) }),
    // After all others that sign: it changes the pool.
    ...(cluster && isWanted('keys') && { keys: await measureWithKeys(cluster) }),
    ...(isWanted('workload') && { workload: await measureWorkloadApi(sizes.workload, say) }),
  };
  const figures = [
    ...(measurements.signer ? figuresOf(measurements.signer) : []),
    ...(measurements.names ? namesFiguresOf(measurements.names) : []),
    ...(measurements.federation ? federationFiguresOf(measurements.federation) : []),
    ...(measurements.tokens ? tokenFiguresOf(measurements.tokens) : []),
    ...('keys' in measurements ? keysFiguresOf(measurements.keys) : []),
    ...(measurements.workload ? workloadFiguresOf(measurements.workload) : []),
  ];
  const missed = figures.filter(({ met }) => met === false);
  const machine = { cores: availableParallelism(), cpu: cpus()[0]?.model, node: process.version };
  const load = { before: loadBefore, after: loadavg() };
  await mkdir(join(values.output, '..'), { recursive: true });
  const record = { at: new Date(startedAt).toISOString(), sizes, machine, load, figures, measurements };
  await writeFile(values.output, `${JSON.stringify(record, null, 1)}\n`);
  const note = `medians of ${sizes.rounds} rounds; ${machine.cores} cores (${machine.cpu}), load average ${load.before[0]?.toFixed(1)} before`;
  process.stdout.write(`${renderTable(figures)}\n\n${note}\n`);
  process.stdout.write(missed.length === 0 ? 'every limit is met\n' : `${missed.length} limits are missed\n`);
  if (values.check && missed.length > 0) process.exitCode = 1;
} finally {
  await cluster?.controlPlane.stop();
}

async function measure(cluster: BenchCluster): Promise<Measurements> {
  const startToReadyMs = await measureStarts(cluster);
  return withLoad(cluster, async (bench) => {
    const { load } = bench;
    say(`creating ${sizes.requests} pods`);
    await load.call('createPods', { count: sizes.requests });
    const rounds: Round[] = [];
    while (rounds.length < sizes.rounds) rounds.push(await measureRound(bench, rounds.length + 1));
    const { pods, pending, neighbour } = sizes;
    say(`another namespace beside ${neighbour.openRequests} open requests`);
    const besideOthers = await besideOpenRequests(bench, neighbour);
    say(`memory with ${pods} pods and ${pending} pending requests`);
    const fullCaches = await memoryWithFullCaches(bench, { pods: pods - sizes.requests, pending });
    const tracesOffNs = await costOfTracesOff();
    return { rounds, startToReadyMs, fullCaches, besideOthers, tracesOffNs };
  });
}

function measureWithNames(cluster: BenchCluster): Promise<Names> {
  return withPods(cluster, sizes.pods, (bench) =>
    measureNames(bench, { ...sizes.names, pods: sizes.pods }, say),
  );
}

function measureWithPeers(cluster: BenchCluster): Promise<FederationRuns> {
  const peers = { ...sizes.federation, pods: sizes.pods };
  return withPods(cluster, sizes.pods, (bench) => measureFederation(bench, peers, say));
}

function measureWithKeys(cluster: BenchCluster): Promise<Keys | undefined> {
  return withPods(cluster, 100, (bench) => measureKeys(bench, sizes.keys, say));
}

/** The pods of the bench have consecutive numbers, so that this starts with an empty namespace or one that is full. */
function withPods<T>(cluster: BenchCluster, count: number, work: (bench: Bench) => Promise<T>): Promise<T> {
  return withLoad(cluster, async (bench) => {
    say(`creating ${count} pods`);
    await cluster.controlPlane.request('DELETE', '/api/v1/namespaces/bench/pods', { gracePeriodSeconds: 0 });
    await bench.load.call('createPods', { count });
    return work(bench);
  });
}

async function withLoad<T>(cluster: BenchCluster, work: (bench: Bench) => Promise<T>): Promise<T> {
  const load = startWorker<LoadCalls>(join(import.meta.dirname, 'load.ts'));
  try {
    const { controlPlane, signerKubeconfig, place } = cluster;
    await load.call('open', { kubeconfig: controlPlane.kubeconfig, signerKubeconfig, place });
    return await work({ cluster, load });
  } finally {
    load.stop();
  }
}

async function measureStarts(cluster: BenchCluster): Promise<number[]> {
  const took: number[] = [];
  while (took.length < sizes.starts) {
    // The first start of all publishes the trust bundle; so do these.
    await cluster.controlPlane.request('DELETE', '/apis/certificates.k8s.io/v1/clustertrustbundles');
    const signer = await startBenchSigner(cluster);
    took.push(signer.readyAt - signer.startedAt);
    await signer.stop();
    say(`start ${took.length} of ${sizes.starts}: ready after ${took.at(-1)?.toFixed(0)} ms`);
  }
  return took;
}

async function measureRound(bench: Bench, number: number): Promise<Round> {
  const tell = (what: string) => say(`round ${number} of ${sizes.rounds}: ${what}`);
  const { requests, steadySeconds } = sizes;
  tell(`bursts of ${requests}`);
  const measuredBursts: BurstPair[] = [];
  let before = await ceilingBurst(bench, requests);
  for (const answerer of [...Array<'one'>(sizes.signers).fill('one'), 'two'] as const) {
    const [first, later] = await bursts(bench, answerer, requests, 2);
    const after = await ceilingBurst(bench, requests);
    const replicas = answerer === 'one' ? 1 : 2;
    if (first && later) measuredBursts.push({ replicas, ceilings: [before, after], first, later });
    before = after;
  }
  tell(`memory after ${sizes.bursts} bursts`);
  const afterBursts = await memoryAfterBursts(bench, { bursts: sizes.bursts, count: requests });
  tell(`backlog of ${requests}`);
  const backlogs = {
    ceiling: await backlog(bench, 'ceiling', requests),
    one: await backlog(bench, 'one', requests),
  };
  const steadies: Round['steady'][number][] = [];
  for (const perSecond of sizes.rates) {
    const at = { perSecond, seconds: steadySeconds, warmUp: requests };
    const answeredBy = (answerer: Answerer, name: string) => {
      tell(`${perSecond}/s for ${steadySeconds} s, ${name}`);
      return steady(bench, answerer, at);
    };
    const ceiling = await answeredBy('ceiling', 'the ceiling');
    const one = await answeredBy('one', 'one replica');
    const two = await answeredBy('two', 'two replicas');
    steadies.push({ perSecond, ceiling, one, two });
  }
  return { bursts: measuredBursts, afterBursts, backlog: backlogs, steady: steadies };
}
