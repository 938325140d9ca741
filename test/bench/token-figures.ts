import { median } from './statistics.ts';
import type { Figure } from './table.ts';
import type { LargeCertificates } from './token-large-certificates.ts';
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
  connections: 4,
  /** Megabytes that connections with large client certificates may add. */
  largeCertificates: 120,
};

/** The figures of the token endpoint with their limits, medians over the rounds. */
export function tokenFiguresOf({
  rounds,
  certificates,
  largeCertificates,
  soak,
}: TokenMeasurements): Figure[] {
  const runsOf = (name: 'repeated' | 'firstUse' | 'x509Svids' | 'bundle') =>
    rounds.map((round) => ({ ...round, run: round[name] }));
  const byCertificate = certificates.map(({ signatures, run }) => ({ signatures, run }));
  return [
    rateFigure('tokens, repeated', runsOf('repeated'), limits.tokensPerSecond),
    ofSignaturesFigure('tokens, repeated', runsOf('repeated'), limits.ofSignatures),
    ...costFigures('tokens, repeated', runsOf('repeated')),
    ofReviewsFigure('tokens, first use', runsOf('firstUse'), limits.ofReviews),
    ...costFigures('tokens, first use', runsOf('firstUse')),
    apiServerFigure('tokens, first use', runsOf('firstUse')),
    rateFigure('tokens, by certificate', byCertificate),
    ofSignaturesFigure('tokens, by certificate', byCertificate),
    ...costFigures('tokens, by certificate', byCertificate),
    ofReviewsFigure('certificates by token', runsOf('x509Svids')),
    ...costFigures('certificates by token', runsOf('x509Svids')),
    rateFigure('bundle', runsOf('bundle')),
    ...costFigures('bundle', runsOf('bundle')),
    largeCertificatesFigure(largeCertificates),
    soakFigure(soak),
    connectionsFigure(soak),
  ];
}

/** One kind of run over the rounds. */
type Runs = readonly { readonly run: TokenRun }[];
type BesideSignatures = readonly { readonly run: TokenRun; readonly signatures: number }[];
type BesideReviews = readonly (TokenRound & { readonly run: TokenRun })[];

function rateFigure(figure: string, runs: Runs, least?: number): Figure {
  const rate = medianOf(runs, ({ run }) => perSecond(run));
  return {
    figure,
    measured: `${rate.toFixed(0)}/s`,
    limit: least === undefined ? '' : `≥ ${least}/s`,
    ceiling: '',
    met: least === undefined ? undefined : rate >= least,
  };
}

/** Both sides in CPU seconds, so that it says the same on a machine that is busy with other things. */
function ofSignaturesFigure(figure: string, runs: BesideSignatures, least?: number): Figure {
  const ratio = medianOf(runs, ({ run, signatures }) => perCpuSecond(run) / signatures);
  return {
    figure: `${figure}, per CPU second of the signer`,
    measured: `${ratio.toFixed(3)} × (${medianOf(runs, ({ run }) => perCpuSecond(run)).toFixed(0)})`,
    limit: least === undefined ? '' : `≥ ${least} ×`,
    ceiling: `${medianOf(runs, ({ signatures }) => signatures).toFixed(0)} (bare ES256)`,
    met: least === undefined ? undefined : ratio >= least,
  };
}

function ofReviewsFigure(figure: string, runs: BesideReviews, least?: number): Figure {
  const ratio = medianOf(runs, ({ run, reviews }) => perSecond(run) / perSecond(reviews));
  return {
    figure,
    measured: `${ratio.toFixed(2)} × (${medianOf(runs, ({ run }) => perSecond(run)).toFixed(0)}/s)`,
    limit: least === undefined ? '' : `≥ ${least.toFixed(2)} ×`,
    ceiling: `${medianOf(runs, ({ reviews }) => perSecond(reviews)).toFixed(0)}/s (TokenReviews)`,
    met: least === undefined ? undefined : ratio >= least,
  };
}

function costFigures(figure: string, runs: Runs): Figure[] {
  const spread = medianOf(runs, ({ run }) => run.p99 / run.p50);
  const ms = (value: (run: TokenRun) => number) => `${medianOf(runs, ({ run }) => value(run)).toFixed(1)} ms`;
  const cpu = medianOf(runs, ({ run }) => perThousand(run.signerCpu, run));
  return [
    {
      figure: `${figure}, p50 and p99`,
      measured: `${ms(({ p50 }) => p50)}, ${ms(({ p99 }) => p99)} (${spread.toFixed(1)} ×)`,
      limit: `p99 ≤ ${limits.spread} × p50`,
      ceiling: '',
      met: spread <= limits.spread,
    },
    {
      figure: `${figure}, signer CPU per 1000`,
      measured: `${cpu.toFixed(3)} s`,
      limit: '',
      ceiling: '',
      met: undefined,
    },
  ];
}

function apiServerFigure(figure: string, runs: BesideReviews): Figure {
  const caused = medianOf(runs, ({ run }) => perThousand(run.apiServerCpu, run));
  const alone = medianOf(runs, ({ reviews }) => perThousand(reviews.apiServerCpu, reviews));
  return {
    figure: `${figure}, API server CPU per 1000`,
    measured: `${caused.toFixed(3)} s`,
    limit: '',
    ceiling: `${alone.toFixed(3)} s (TokenReviews)`,
    met: undefined,
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

function connectionsFigure({ connections }: Soak): Figure {
  return {
    figure: 'tokens, connections to the API server',
    measured: `${connections}`,
    limit: `≤ ${limits.connections}`,
    ceiling: '',
    met: connections <= limits.connections,
  };
}

function largeCertificatesFigure({ connections, bytes, before, peak, cpuMs }: LargeCertificates): Figure {
  return {
    figure: `RSS with ${connections} client certificates of ${bytes / 1000} KB`,
    measured: `+${(peak - before).toFixed(0)} MB (${cpuMs.toFixed(1)} ms of CPU each)`,
    limit: `≤ +${limits.largeCertificates} MB`,
    ceiling: '',
    met: peak - before <= limits.largeCertificates,
  };
}

function medianOf<T>(runs: readonly T[], value: (run: T) => number): number {
  return median(runs.map(value));
}

function perSecond({ count, tookMs }: TokenLoadResult): number {
  return count / (tookMs / 1000);
}

function perCpuSecond({ count, signerCpu }: TokenRun): number {
  return count / signerCpu;
}

function perThousand(cpuSeconds: number, { count }: TokenLoadResult): number {
  return (cpuSeconds / count) * 1000;
}
