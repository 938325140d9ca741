import { median } from './statistics.ts';
import type { Figure } from './table.ts';
import type { WorkloadMeasurements, WorkloadRound } from './workload-runs.ts';

/** Megabytes, and milliseconds. */
const limits = { idle: 70, withStreams: 110, pushMs: 1_000 };

/** The figures of `kubespiffe workload-api` with their limits, medians over the rounds. */
export function workloadFiguresOf(measured: WorkloadMeasurements): Figure[] {
  const { rounds, streams, idle, withStreams } = measured;
  const of = (value: (round: WorkloadRound) => number) => median(rounds.map(value));
  const rate = (run: WorkloadRound['fetch']) => (run.count / run.tookMs) * 1000;
  const perCpu = (run: WorkloadRound['fetch']) => run.count / run.serverCpu;
  const ratio = of(({ fetch, bare }) => perCpu(fetch) / perCpu(bare));
  const pushMs = of((round) => round.pushMs);
  const memory = (figure: string, megabytes: number, limit: number): Figure => ({
    figure,
    measured: `${megabytes.toFixed(0)} MB`,
    limit: `≤ ${limit} MB`,
    ceiling: '',
    met: megabytes <= limit,
  });
  const row = (figure: string, measured: string, ceiling: string): Figure => ({
    figure,
    measured,
    limit: '',
    ceiling,
    met: undefined,
  });
  return [
    row(
      'FetchX509SVID, 8 callers',
      `${of(({ fetch }) => rate(fetch)).toFixed(0)}/s`,
      `${of(({ bare }) => rate(bare)).toFixed(0)}/s (bare gRPC)`,
    ),
    row(
      'FetchX509SVID, per CPU second',
      `${ratio.toFixed(2)} × (${of(({ fetch }) => perCpu(fetch)).toFixed(0)})`,
      `${of(({ bare }) => perCpu(bare)).toFixed(0)} (bare gRPC)`,
    ),
    row(
      'FetchX509SVID, p50 and p99',
      `${of(({ fetch }) => fetch.p50).toFixed(1)} and ${of(({ fetch }) => fetch.p99).toFixed(1)} ms`,
      `${of(({ bare }) => bare.p50).toFixed(1)} and ${of(({ bare }) => bare.p99).toFixed(1)} ms (bare gRPC)`,
    ),
    {
      figure: `rotation, last of ${streams} streams has it`,
      measured: `${pushMs.toFixed(0)} ms`,
      limit: `≤ ${limits.pushMs} ms`,
      ceiling: '',
      met: pushMs <= limits.pushMs,
    },
    memory('RSS of the Workload API at rest', idle, limits.idle),
    memory(`RSS with ${streams} streams, each over its connection`, withStreams, limits.withStreams),
  ];
}
