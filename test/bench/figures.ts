import type { LoadResult } from './load.ts';
import type { Resident } from './memory.ts';
import type { Neighbour } from './neighbour.ts';
import type { Run } from './runs.ts';
import { median, percentile } from './statistics.ts';
import type { Figure } from './table.ts';

/** Bursts of the same minute: two that the same processes answered one after the other, and the ceiling's. */
export interface BurstPair {
  readonly replicas: 1 | 2;
  /** Right before and right after ours. */
  readonly ceilings: readonly [Run, Run];
  /** Right after the start. */
  readonly first: Run;
  readonly later: Run;
}

export interface SteadyPair {
  readonly perSecond: number;
  readonly ceiling: Run;
  readonly one: Run;
  readonly two: Run;
}

/** What one round measured: each of our runs stands beside the ceiling's of the same minute. */
export interface Round {
  readonly bursts: readonly BurstPair[];
  readonly afterBursts: Resident;
  readonly backlog: { readonly ceiling: LoadResult; readonly one: LoadResult };
  readonly steady: readonly SteadyPair[];
}

export interface Measurements {
  readonly rounds: readonly Round[];
  /** Milliseconds from the start of the process to /readyz saying yes, in an empty cluster. */
  readonly startToReadyMs: readonly number[];
  readonly fullCaches: Resident;
  readonly besideOthers: Neighbour;
  /** Nanoseconds of a certificate. */
  readonly tracesOffNs: number;
}

/**
 * Limits: resident memory in megabytes, the time from start to ready in milliseconds, and the CPU of the replicas
 * together beside the API server's in the ceiling run.
 */
const limits = {
  afterBurstsMb: 160,
  fullCachesMb: 220,
  startToReadyMs: 1_500,
  connections: 4,
  signerCpu: 0.25,
  signerCpuOfTwo: 0.38,
};
/** Kubelet's first retry: an answer that comes later than that costs the pod another half second. */
const kubeletRetryMs = 400;

type Row = (figure: string, measured: string, limit: string, ceiling: string, met?: boolean) => void;

/** The figures with their limits, medians over the rounds. A ratio is the median of the rounds' own ratios. */
export function figuresOf(measured: Measurements): Figure[] {
  const { rounds, startToReadyMs, fullCaches, besideOthers, tracesOffNs } = measured;
  const figures: Figure[] = [];
  const row: Row = (figure, measured, limit, ceiling, met) =>
    figures.push({ figure, measured, limit, ceiling, met });

  const pairs = comparisons(rounds);
  for (const comparison of pairs.filter(({ when }) => when !== 'steady')) burstRow(row, comparison);
  backlogRow(row, rounds);
  for (const index of rounds[0]?.steady.keys() ?? []) {
    steadyRows(
      row,
      rounds.flatMap(({ steady }) => steady[index] ?? []),
    );
  }
  neighbourRow(row, besideOthers);
  for (const comparison of pairs) cpuRows(row, comparison);
  tracesOffRow(row, tracesOffNs, pairs);
  for (const { label, runs, when } of pairs) callsRow(row, label, runs, when === 'steady');

  const ours = pairs.flatMap(({ runs }) => runs.map((run) => run.ours));
  const connections = Math.max(...ours.map((run) => run.connections));
  const most = limits.connections;
  row('connections to the API server, each replica', `${connections}`, `≤ ${most}`, '', connections <= most);
  const afterBursts = rounds.map((round) => round.afterBursts);
  memoryRow(row, 'RSS after the bursts', afterBursts, limits.afterBurstsMb);
  memoryRow(row, 'RSS with full caches', [fullCaches], limits.fullCachesMb);
  const ready = median(startToReadyMs);
  const longest = limits.startToReadyMs;
  row('start to ready, empty cluster', seconds(ready), `≤ ${seconds(longest)}`, '', ready <= longest);
  return figures;
}

/** Runs of ours under one kind of load over the rounds, each with its ceiling. */
interface Comparison {
  readonly label: string;
  /** A burst right after the start, a later one, or requests at fixed points in time. */
  readonly when: 'first' | 'later' | 'steady';
  readonly replicas: 1 | 2;
  readonly runs: readonly { readonly ceiling: Run; readonly ours: Run }[];
}

function comparisons(rounds: readonly Round[]): Comparison[] {
  const bursts = ([1, 2] as const).flatMap((replicas) =>
    (['first', 'later'] as const).map((when) => {
      const pairs = rounds.flatMap((round) => round.bursts.filter((pair) => pair.replicas === replicas));
      return {
        label: `burst, ${nameOf(replicas)}${when === 'first' ? ' just started' : ''}`,
        when,
        replicas,
        runs: pairs.map((pair) => ({ ceiling: meanOf(...pair.ceilings), ours: pair[when] })),
      };
    }),
  );
  const rates = rounds[0]?.steady.map(({ perSecond }) => perSecond) ?? [];
  const steadies = rates.flatMap((rate) =>
    ([1, 2] as const).map((replicas) => ({
      label: `steady ${rate}/s, ${nameOf(replicas)}`,
      when: 'steady' as const,
      replicas,
      runs: rounds
        .flatMap(({ steady }) => steady.filter(({ perSecond }) => perSecond === rate))
        .map(({ ceiling, one, two }) => ({ ceiling, ours: replicas === 1 ? one : two })),
    })),
  );
  return [...bursts, ...steadies];
}

/** The machine gets faster and slower by the minute: what lies between two ceilings is held against both. */
function meanOf(before: Run, after: Run): Run {
  const mean = (value: (run: Run) => number) => (value(before) + value(after)) / 2;
  return {
    ...before,
    tookMs: mean(({ tookMs }) => tookMs),
    apiServerCpu: mean(({ apiServerCpu }) => apiServerCpu),
  };
}

function nameOf(replicas: 1 | 2): string {
  return replicas === 1 ? 'one replica' : 'two replicas';
}

/** A second replica on the same two cores has the API server send everything twice: that is shown, with no limit. */
function burstRow(row: Row, { label, runs, replicas }: Comparison): void {
  const rate = (run: LoadResult) => (run.count / run.tookMs) * 1000;
  const ratio = median(runs.map(({ ceiling, ours }) => rate(ours) / rate(ceiling)));
  row(
    `${label}, ${runs[0]?.ours.count} requests`,
    `${ratio.toFixed(2)} × (${median(runs.map(({ ours }) => rate(ours))).toFixed(0)}/s)`,
    replicas === 1 ? '≥ 0.80 ×' : '',
    `${median(runs.map(({ ceiling }) => rate(ceiling))).toFixed(0)}/s`,
    replicas === 1 ? ratio >= 0.8 : undefined,
  );
}

function backlogRow(row: Row, rounds: readonly Round[]): void {
  const each = (value: (backlog: Round['backlog']) => number) =>
    median(rounds.map(({ backlog }) => value(backlog)));
  const allowed = ({ ceiling }: Round['backlog']) => 1.3 * ceiling.tookMs + 1_000;
  row(
    `backlog of ${rounds[0]?.backlog.one.count} at process start, to the last answer`,
    seconds(each(({ one }) => one.tookMs)),
    `≤ ${seconds(each(allowed))}`,
    seconds(each(({ ceiling }) => ceiling.tookMs)),
    each((backlog) => backlog.one.tookMs - allowed(backlog)) <= 0,
  );
}

function steadyRows(row: Row, pairs: readonly SteadyPair[]): void {
  const of = (value: (pair: SteadyPair) => number) => median(pairs.map(value));
  const label = `steady ${pairs[0]?.perSecond}/s`;
  for (const [name, share, factor] of [
    ['p50', 0.5, 2],
    ['p99', 0.99, 3],
  ] as const) {
    const ratio = of(
      ({ one, ceiling }) => percentile(one.latencies, share) / percentile(ceiling.writes, share),
    );
    row(
      `${label}, creation → Issued, ${name}`,
      `${ms(of(({ one }) => percentile(one.latencies, share)))} (${ratio.toFixed(2)} ×)`,
      `≤ ${factor} ×`,
      `${ms(of(({ ceiling }) => percentile(ceiling.writes, share)))} (one write)`,
      ratio <= factor,
    );
  }
  const worst = of(({ one }) => percentile(one.latencies, 1));
  const worstWrite = of(({ ceiling }) => percentile(ceiling.writes, 1));
  const bound = Math.max(kubeletRetryMs, 3 * worstWrite);
  row(`${label}, worst`, ms(worst), `≤ ${ms(bound)}`, `${ms(worstWrite)} (one write)`, worst <= bound);
  row(
    `${label}, creation sent → Issued, p50`,
    ms(of(({ one }) => percentile(one.latenciesFromSending, 0.5))),
    '',
    `${ms(of(({ ceiling }) => percentile(ceiling.latenciesFromSending, 0.5)))} (the same)`,
  );
}

function neighbourRow(row: Row, { openRequests, quiet, beside }: Neighbour): void {
  const ratio = percentile(beside, 0.5) / percentile(quiet, 0.5);
  row(
    `one request of a namespace beside ${openRequests} of another, creation → Issued, p50`,
    `${ms(percentile(beside, 0.5))} (${ratio.toFixed(2)} ×)`,
    '≤ 3 ×',
    `${ms(percentile(quiet, 0.5))} (without them)`,
    ratio <= 3,
  );
}

/** What V8 compiles in a process's first thousand is paid once in its life: it is shown, and held to no limit. */
function cpuRows(row: Row, { label, runs, replicas, when }: Comparison): void {
  const of = (value: (run: Comparison['runs'][number]) => number) => median(runs.map(value));
  const ceilingCpu = `${of(({ ceiling }) => ceiling.apiServerCpu).toFixed(2)} s (API server)`;
  const signer = of(({ ceiling, ours }) => ours.signerCpu / ceiling.apiServerCpu);
  const used = `${of(({ ours }) => ours.signerCpu).toFixed(2)} s (${signer.toFixed(2)} ×)`;
  const limit = when === 'first' ? undefined : replicas === 1 ? limits.signerCpu : limits.signerCpuOfTwo;
  const isMet = limit === undefined ? undefined : signer <= limit;
  row(`signer CPU per 1000, ${label}`, used, limit === undefined ? '' : `≤ ${limit} ×`, ceilingCpu, isMet);
  const server = of(({ ceiling, ours }) => ours.apiServerCpu / ceiling.apiServerCpu);
  const caused = `${of(({ ours }) => ours.apiServerCpu).toFixed(2)} s (${server.toFixed(2)} ×)`;
  row(`API server CPU per 1000, ${label}`, caused, '≤ 1.25 ×', ceilingCpu, server <= 1.25);
}

/** Beside the CPU of a certificate in a later burst of one replica: seconds per 1000 are milliseconds each. */
function tracesOffRow(row: Row, nanoseconds: number, pairs: readonly Comparison[]): void {
  const later = pairs.find(({ when, replicas }) => when === 'later' && replicas === 1);
  const ofCertificate = median((later?.runs ?? []).map(({ ours }) => ours.signerCpu)) * 1e6;
  const share = nanoseconds / ofCertificate;
  row(
    'traces that are off, CPU per certificate',
    `${nanoseconds.toFixed(0)} ns (${(share * 100).toFixed(3)} %)`,
    '≤ 0.1 %',
    `${(ofCertificate / 1000).toFixed(0)} µs (the certificate)`,
    share <= 0.001,
  );
}

/** The highest of the rounds: one call too many is one too many. */
function callsRow(row: Row, label: string, runs: Comparison['runs'], isBound: boolean): void {
  const writes = Math.max(...runs.map(({ ours }) => ours.writesPerRequest));
  const reads = Math.max(...runs.map(({ ours }) => ours.readsPerRequest));
  row(
    `API calls per certificate, ${label}`,
    `${writes.toFixed(3)} writes, ${reads.toFixed(3)} reads`,
    isBound ? '1 write, 0 reads' : '',
    '1 write',
    isBound ? writes === 1 && reads === 0 : undefined,
  );
}

function memoryRow(row: Row, figure: string, seen: readonly Resident[], limit: number): void {
  const now = median(seen.map((each) => each.now));
  const peak = Math.max(...seen.map((each) => each.peak));
  row(figure, `${now.toFixed(0)} MB (peak ${peak.toFixed(0)})`, `≤ ${limit} MB`, '', now <= limit);
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}
