import type { FederationRuns } from './federation.ts';
import { cpuFigure } from './names-figures.ts';
import type { Figure } from './table.ts';

const most = { cpuShare: 0.02, residentMb: 60 };

/** What other trust domains cost, each figure beside the same without them. */
export function federationFiguresOf({ sizes, pairs, rest: { none, all } }: FederationRuns): Figure[] {
  const cpuShare = all.cpuShare - none.cpuShare;
  const residentMb = all.residentMb - none.residentMb;
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
  ];
}
