import { median } from './statistics.ts';
import type { Figure } from './table.ts';
import type { TokenLoadResult } from './token-load.ts';
import type { Soak, TokenMeasurements, TokenRound, TokenRun } from './token-runs.ts';

const limits = {
  /** Tokens per CPU second of the signer, beside bare signatures. */
  ofSignatures: 0.14,
  tokensPerSecond: 3_000,
  ofReviews: 0.7,
  /** p99 beside p50. */
  spread: 10,
  /** Median resident memory of the last third of the load beside the first third. */
  growth: 1.05,
};

/** The figures of the token endpoint with their limits, medians over the rounds. */
export function tokenFiguresOf({ rounds, certificates, soak }: TokenMeasurements): Figure[] {
  const of = (value: (round: TokenRound) => number) => median(rounds.map(value));
  const figures: Figure[] = [];

  const perSecond = of(({ repeated }) => rateOf(repeated));
  figures.push({
    figure: 'tokens, repeated',
    measured: `${perSecond.toFixed(0)}/s`,
    limit: `≥ ${limits.tokensPerSecond}/s`,
    ceiling: '',
    met: perSecond >= limits.tokensPerSecond,
  });
  const ofSignatures = of(({ repeated, signatures }) => perCpuSecond(repeated) / signatures);
  figures.push({
    figure: 'tokens, repeated, per CPU second of the signer',
    measured: `${ofSignatures.toFixed(3)} × (${of(({ repeated }) => perCpuSecond(repeated)).toFixed(0)})`,
    limit: `≥ ${limits.ofSignatures} ×`,
    ceiling: `${of(({ signatures }) => signatures).toFixed(0)} (bare ES256)`,
    met: ofSignatures >= limits.ofSignatures,
  });
  const ofReviews = of(({ firstUse, reviews }) => rateOf(firstUse) / rateOf(reviews));
  figures.push({
    figure: 'tokens, first use',
    measured: `${ofReviews.toFixed(2)} × (${of(({ firstUse }) => rateOf(firstUse)).toFixed(0)}/s)`,
    limit: `≥ ${limits.ofReviews.toFixed(2)} ×`,
    ceiling: `${of(({ reviews }) => rateOf(reviews)).toFixed(0)}/s (TokenReviews)`,
    met: ofReviews >= limits.ofReviews,
  });
  const x509OfReviews = of(({ x509Svids, reviews }) => rateOf(x509Svids) / rateOf(reviews));
  figures.push({
    figure: 'certificates by token',
    measured: `${x509OfReviews.toFixed(2)} × (${of(({ x509Svids }) => rateOf(x509Svids)).toFixed(0)}/s)`,
    limit: '',
    ceiling: `${of(({ reviews }) => rateOf(reviews)).toFixed(0)}/s (TokenReviews)`,
    met: undefined,
  });
  const bundles = of(({ bundle }) => rateOf(bundle));
  figures.push({
    figure: 'bundle',
    measured: `${bundles.toFixed(0)}/s`,
    limit: '',
    ceiling: '',
    met: undefined,
  });

  const runs: [figure: string, run: (round: TokenRound) => TokenRun][] = [
    ['tokens, repeated', ({ repeated }) => repeated],
    ['tokens, first use', ({ firstUse }) => firstUse],
    ['certificates by token', ({ x509Svids }) => x509Svids],
    ['bundle', ({ bundle }) => bundle],
  ];
  for (const [figure, run] of runs) {
    figures.push(latencyFigure(figure, rounds.map(run)));
    const cpu = of((round) => (run(round).signerCpu / run(round).count) * 1000);
    const measured = `${cpu.toFixed(3)} s`;
    figures.push({
      figure: `${figure}, signer CPU per 1000`,
      measured,
      limit: '',
      ceiling: '',
      met: undefined,
    });
  }
  const perThousand = ({ apiServerCpu, count }: TokenRun) => (apiServerCpu / count) * 1000;
  figures.push({
    figure: 'tokens, first use, API server CPU per 1000',
    measured: `${of(({ firstUse }) => perThousand(firstUse)).toFixed(3)} s`,
    limit: '',
    ceiling: `${of(({ reviews }) => perThousand(reviews)).toFixed(3)} s (TokenReviews)`,
    met: undefined,
  });
  figures.push(...certificateFigures(certificates), soakFigure(soak));
  return figures;
}

/** A certificate in place of a token: no limit of its own, for the price beside the tokens above. */
function certificateFigures(rounds: TokenMeasurements['certificates']): Figure[] {
  const figure = 'tokens, by certificate';
  const runs = rounds.map(({ run }) => run);
  const ofSignatures = median(rounds.map(({ run, signatures }) => perCpuSecond(run) / signatures));
  const row = (name: string, measured: string, ceiling = '') => ({
    figure: name,
    measured,
    limit: '',
    ceiling,
    met: undefined,
  });
  return [
    row(figure, `${median(runs.map(rateOf)).toFixed(0)}/s`),
    row(
      `${figure}, per CPU second of the signer`,
      `${ofSignatures.toFixed(3)} × (${median(runs.map(perCpuSecond)).toFixed(0)})`,
      `${median(rounds.map(({ signatures }) => signatures)).toFixed(0)} (bare ES256)`,
    ),
    latencyFigure(figure, runs),
  ];
}

function latencyFigure(figure: string, runs: readonly TokenLoadResult[]): Figure {
  const spread = median(runs.map(({ p50, p99 }) => p99 / p50));
  const ms = (value: (run: TokenLoadResult) => number) => `${median(runs.map(value)).toFixed(1)} ms`;
  return {
    figure: `${figure}, p50 and p99`,
    measured: `${ms(({ p50 }) => p50)}, ${ms(({ p99 }) => p99)} (${spread.toFixed(1)} ×)`,
    limit: `p99 ≤ ${limits.spread} × p50`,
    ceiling: '',
    met: spread <= limits.spread,
  };
}

function soakFigure({ resident, seconds, count }: Soak): Figure {
  const third = Math.max(1, Math.floor(resident.length / 3));
  const first = median(resident.slice(0, third));
  const last = median(resident.slice(-third));
  const growth = last / first;
  return {
    figure: `RSS under ${seconds} s of load (${count} answers), last third`,
    measured: `${last.toFixed(0)} MB (${growth.toFixed(3)} × the first third)`,
    limit: `≤ ${limits.growth} ×`,
    ceiling: '',
    met: growth <= limits.growth,
  };
}

function rateOf({ count, tookMs }: TokenLoadResult): number {
  return count / (tookMs / 1000);
}

function perCpuSecond({ count, signerCpu }: TokenRun): number {
  return count / signerCpu;
}
