import type { LoadResult } from './load.ts';
import type { Resident } from './memory.ts';
import type { Run } from './runs.ts';
import { median, percentile } from './statistics.ts';
import type { Figure } from './table.ts';

/** What one round measured: each of our runs stands beside the ceiling's of the same minute. */
export interface Round {
  readonly burst: { readonly ceiling: Run; readonly one: Run; readonly two: Run };
  readonly backlog: { readonly ceiling: LoadResult; readonly one: LoadResult };
  readonly steady: readonly { readonly perSecond: number; readonly ceiling: Run; readonly one: Run }[];
}

export interface Measurements {
  readonly rounds: readonly Round[];
  /** Milliseconds from the start of the process to /readyz saying yes, in an empty cluster. */
  readonly startToReadyMs: readonly number[];
  readonly memory: { readonly afterBursts: Resident; readonly fullCaches: Resident };
}

/** Limits on resident memory in megabytes, and on the time from start to ready in milliseconds. */
const limits = { afterBurstsMb: 160, fullCachesMb: 220, startToReadyMs: 1_500, connections: 4 };
/** Kubelet's first retry: an answer that comes later than that costs the pod another half second. */
const kubeletRetryMs = 400;

/** The figures with their limits, medians over the rounds. A ratio is the median of the rounds' own ratios. */
export function figuresOf({ rounds, startToReadyMs, memory }: Measurements): Figure[] {
  const each = (value: (round: Round) => number) => median(rounds.map(value));
  const rows: Figure[] = [];
  const row = (figure: string, measured: string, limit: string, ceiling: string, met?: boolean) =>
    rows.push({ figure, measured, limit, ceiling, met });

  const rate = (run: LoadResult) => (run.count / run.tookMs) * 1000;
  const count = rounds[0]?.burst.one.count ?? 0;
  for (const [answerer, label] of [
    ['one', '1 replica'],
    ['two', '2 replicas'],
  ] as const) {
    const ratio = each(({ burst }) => rate(burst[answerer]) / rate(burst.ceiling));
    row(
      `burst of ${count} by 32 writers, ${label}`,
      `${ratio.toFixed(2)} × (${each(({ burst }) => rate(burst[answerer])).toFixed(0)}/s)`,
      '≥ 0.80 ×',
      `${each(({ burst }) => rate(burst.ceiling)).toFixed(0)}/s`,
      ratio >= 0.8,
    );
  }

  const overrun = each(({ backlog }) => backlog.one.tookMs - (1.3 * backlog.ceiling.tookMs + 1_000));
  row(
    `backlog of ${rounds[0]?.backlog.one.count} at process start`,
    seconds(each(({ backlog }) => backlog.one.tookMs)),
    `≤ ${seconds(each(({ backlog }) => 1.3 * backlog.ceiling.tookMs + 1_000))}`,
    seconds(each(({ backlog }) => backlog.ceiling.tookMs)),
    overrun <= 0,
  );

  for (const [index, { perSecond }] of (rounds[0]?.steady ?? []).entries()) {
    const of = (value: (pair: Round['steady'][number]) => number) =>
      each(({ steady }) => {
        const pair = steady[index];
        return pair ? value(pair) : Number.NaN;
      });
    for (const [name, share, factor] of [
      ['p50', 0.5, 2],
      ['p99', 0.99, 3],
    ] as const) {
      const ours = of(({ one }) => percentile(one.latencies, share));
      const ratio = of(
        ({ one, ceiling }) => percentile(one.latencies, share) / percentile(ceiling.writes, share),
      );
      row(
        `steady ${perSecond}/s, creation → Issued, ${name}`,
        `${ms(ours)} (${ratio.toFixed(2)} ×)`,
        `≤ ${factor} ×`,
        ms(of(({ ceiling }) => percentile(ceiling.writes, share))),
        ratio <= factor,
      );
    }
    const worst = of(({ one }) => percentile(one.latencies, 1));
    const worstWrite = of(({ ceiling }) => percentile(ceiling.writes, 1));
    const bound = Math.max(kubeletRetryMs, 3 * worstWrite);
    row(`steady ${perSecond}/s, worst`, ms(worst), `≤ ${ms(bound)}`, ms(worstWrite), worst <= bound);
    row(
      `steady ${perSecond}/s, sending the creation → Issued, p50`,
      ms(of(({ one }) => percentile(one.latenciesFromSending, 0.5))),
      '',
      ms(of(({ ceiling }) => percentile(ceiling.latenciesFromSending, 0.5))),
    );
  }

  const last = (round: Round) => round.steady.at(-1);
  const loads: [string, (round: Round) => { ceiling: Run; ours: Run } | undefined, number][] = [
    ['burst, 1 replica', ({ burst }) => ({ ceiling: burst.ceiling, ours: burst.one }), 0.25],
    ['burst, 2 replicas', ({ burst }) => ({ ceiling: burst.ceiling, ours: burst.two }), 0.38],
    ['steady', (round) => pairOf(last(round)), 0.25],
  ];
  for (const [label, pick, limit] of loads) {
    const of = (value: (pair: { ceiling: Run; ours: Run }) => number) =>
      each((round) => {
        const pair = pick(round);
        return pair ? value(pair) : Number.NaN;
      });
    const signer = of(({ ceiling, ours }) => ours.signerCpu / ceiling.apiServerCpu);
    const ceilingCpu = `${of(({ ceiling }) => ceiling.apiServerCpu).toFixed(2)} s (API server)`;
    row(
      `signer CPU per 1000, ${label}`,
      `${of(({ ours }) => ours.signerCpu).toFixed(2)} s (${signer.toFixed(2)} ×)`,
      `≤ ${limit} ×`,
      ceilingCpu,
      signer <= limit,
    );
    const server = of(({ ceiling, ours }) => ours.apiServerCpu / ceiling.apiServerCpu);
    row(
      `API server CPU per 1000, ${label}`,
      `${of(({ ours }) => ours.apiServerCpu).toFixed(2)} s (${server.toFixed(2)} ×)`,
      '≤ 1.25 ×',
      ceilingCpu,
      server <= 1.25,
    );
  }

  const runs = rounds.flatMap(({ burst, steady }) => [
    { label: 'burst, 1 replica', run: burst.one },
    { label: 'burst, 2 replicas', run: burst.two },
    ...steady.map(({ one }) => ({ label: 'steady', run: one })),
  ]);
  for (const label of ['steady', 'burst, 1 replica', 'burst, 2 replicas']) {
    const ours = runs.filter((each) => each.label === label).map(({ run }) => run);
    const writes = Math.max(...ours.map(({ writesPerRequest }) => writesPerRequest));
    const reads = Math.max(...ours.map(({ readsPerRequest }) => readsPerRequest));
    const isBound = label === 'steady';
    row(
      `API calls per certificate, ${label} (highest)`,
      `${writes.toFixed(3)} writes, ${reads.toFixed(3)} reads`,
      isBound ? '1 write, 0 reads' : '',
      '1 write',
      isBound ? writes === 1 && reads === 0 : undefined,
    );
  }
  const connections = Math.max(...runs.map(({ run }) => run.connections));
  row(
    'connections to the API server, a replica (most)',
    `${connections}`,
    `≤ ${limits.connections}`,
    '',
    connections <= limits.connections,
  );

  const { afterBursts, fullCaches } = memory;
  row(
    'RSS after the bursts',
    megabytes(afterBursts),
    `≤ ${limits.afterBurstsMb} MB`,
    '',
    afterBursts.now <= limits.afterBurstsMb,
  );
  row(
    'RSS with full caches',
    megabytes(fullCaches),
    `≤ ${limits.fullCachesMb} MB`,
    '',
    fullCaches.now <= limits.fullCachesMb,
  );
  const ready = median(startToReadyMs);
  row(
    'start to ready, empty cluster',
    seconds(ready),
    `≤ ${seconds(limits.startToReadyMs)}`,
    '',
    ready <= limits.startToReadyMs,
  );
  return rows;
}

function pairOf(pair: Round['steady'][number] | undefined): { ceiling: Run; ours: Run } | undefined {
  return pair && { ceiling: pair.ceiling, ours: pair.one };
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

function megabytes({ now, peak }: Resident): string {
  return `${now.toFixed(0)} MB (peak ${peak.toFixed(0)})`;
}
