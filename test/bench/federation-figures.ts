import type { FederationRuns } from './federation.ts';
import { cpuFigure } from './names-figures.ts';
import { median } from './statistics.ts';
import type { Figure } from './table.ts';

const most = { cpuShare: 0.02, residentMb: 60, publishedMs: 2_000, lateMs: 2_000 };

/** What other trust domains cost, each figure beside the same without them. */
export function federationFiguresOf({ sizes, pairs, rest: { none, all } }: FederationRuns): Figure[] {
  const cpuShare = all.cpuShare - none.cpuShare;
  const residentMb = all.residentMb - none.residentMb;
  const { punctuality, publishedMs } = all;
  const worstMs = Math.max(...publishedMs);
  const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
  return [
    cpuFigure(`signer CPU per 1000, ${sizes.peers} other trust domains, ${sizes.pods} pods`, pairs, 'none'),
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
