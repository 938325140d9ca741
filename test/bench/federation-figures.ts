import type { FederationRuns } from './federation.ts';
import { cpuFigure } from './names-figures.ts';
import type { Run } from './runs.ts';
import { median } from './statistics.ts';
import type { Figure } from './table.ts';

const most = { cpuShare: 0.02, residentMb: 60, publishedMs: 2_000, lateMs: 2_000 };
const leastRate = 0.9;

/** What other trust domains cost, each figure beside the same without them. */
export function federationFiguresOf({ sizes, pairs, rest: { none, all } }: FederationRuns): Figure[] {
  const cpuShare = all.cpuShare - none.cpuShare;
  const residentMb = all.residentMb - none.residentMb;
  const { punctuality, publishedMs } = all;
  const worstMs = Math.max(...publishedMs);
  const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
  const perSecond = ({ count, tookMs }: Run) => (count / tookMs) * 1_000;
  const rates = pairs.map(({ few, many }) => ({ few: perSecond(few), many: perSecond(many) }));
  const rate = (which: 'few' | 'many') => median(rates.map((pair) => pair[which])).toFixed(0);
  const ofRates = median(rates.map(({ few, many }) => many / few));
  return [
    {
      figure: `burst of ${sizes.requests}, ${sizes.peers} other trust domains, ${sizes.pods} pods`,
      measured: `${rate('many')}/s (${ofRates.toFixed(2)} ×)`,
      limit: `≥ ${leastRate.toFixed(2)} ×`,
      ceiling: `${rate('few')}/s (with none)`,
      met: ofRates >= leastRate,
    },
    cpuFigure('signer CPU per 1000 in it', pairs, 'none'),
    {
      figure: `CPU to keep ${sizes.peers} bundles fresh, of one core`,
      measured: percent(cpuShare),
      limit: `≤ ${percent(most.cpuShare)}`,
      ceiling: `${percent(none.cpuShare)} (with none)`,
      met: cpuShare <= most.cpuShare,
    },
    {
      figure: `RSS for ${sizes.peers} bundles`,
      measured: `${residentMb.toFixed(0)} MB`,
      limit: `≤ ${most.residentMb} MB`,
      ceiling: `${none.residentMb.toFixed(0)} MB (with none)`,
      met: residentMb <= most.residentMb,
    },
    {
      figure: `latest of ${punctuality.fetches} fetches, after its refresh hint`,
      measured: `${(punctuality.latestMs / 1000).toFixed(1)} s`,
      limit: `≤ ${(most.lateMs / 1000).toFixed(0)} s`,
      ceiling: '',
      met: punctuality.latestMs <= most.lateMs,
    },
    {
      figure: `from the fetch of a changed bundle to its ClusterTrustBundle, of ${publishedMs.length}: median, worst`,
      measured: `${median(publishedMs).toFixed(0)} ms, ${worstMs.toFixed(0)} ms`,
      limit: `worst ≤ ${most.publishedMs / 1000} s`,
      ceiling: '',
      met: worstMs <= most.publishedMs,
    },
  ];
}
