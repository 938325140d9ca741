import { median } from './statistics.ts';
import type { Figure } from './table.ts';
import type { WorkloadMeasurements, WorkloadRound } from './workload-runs.ts';

/** Megabytes, and milliseconds. */
const limits = { idle: 70, withStreams: 110, pushMs: 1_000, startMs: 1_000, handshakes: 0.85 };

/** The figures of `kubespiffe workload-api` with their limits, medians over the rounds. */
export function workloadFiguresOf(measured: WorkloadMeasurements): Figure[] {
  const { rounds, streams, idle, withStreams, tokens, handshakes } = measured;
  const startMs = median(measured.devStarts);
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
    ...(['cached', 'fresh'] as const).map((kind) =>
      row(
        `FetchJWTSVID, ${kind === 'cached' ? 'cached' : 'a new audience each time'}; p50 and p99`,
        `${rate(tokens[kind]).toFixed(0)}/s, ${tokens[kind].p50.toFixed(1)} and ${tokens[kind].p99.toFixed(1)} ms`,
        '',
      ),
    ),
    {
      figure: 'mTLS handshakes per CPU second, both ends',
      measured: `${handshakes.ratio.toFixed(2)} × (${handshakes.library.toFixed(0)})`,
      limit: `≥ ${limits.handshakes} ×`,
      ceiling: `${handshakes.bare.toFixed(0)} (node:tls with a CA file)`,
      met: handshakes.ratio >= limits.handshakes,
    },
    {
      figure: 'kubespiffe dev, from its start to the first X509-SVID',
      measured: `${(startMs / 1_000).toFixed(2)} s`,
      limit: `≤ ${limits.startMs / 1_000} s`,
      ceiling: '',
      met: startMs <= limits.startMs,
    },
  ];
}
