import type { Names, Pair } from './names.ts';
import { median } from './statistics.ts';
import type { Figure } from './table.ts';

const mostCpu = 1.1;

/** What registrations and Services cost, each beside the same burst with few of them. */
export function namesFiguresOf({ sizes, registrations, services, change }: Names): Figure[] {
  return [
    cpuFigure(
      `signer CPU per 1000, ${sizes.registrations} registrations, ${sizes.pods} pods`,
      registrations,
      'none',
    ),
    cpuFigure(`signer CPU per 1000, service-dns, ${sizes.services} Services`, services, 'one'),
    {
      figure: `status writes for a change of one registration, ${sizes.affected} of ${sizes.pods} pods`,
      measured: `${change.statusWrites}`,
      // The changed one, and the one that gave these pods their names before.
      limit: '≤ 2',
      ceiling: '2 registrations affected',
      met: change.statusWrites <= 2,
    },
    {
      figure: 'signer CPU for this change, and until its status was written',
      measured: `${(change.cpuSeconds * 1000).toFixed(0)} ms, ${(change.tookMs / 1000).toFixed(1)} s`,
      ...{ limit: '', ceiling: '', met: undefined },
    },
  ];
}

/** The CPU of the signer for certificates, with few and with many of what may slow it down. */
export function cpuFigure(figure: string, pairs: readonly Pair[], few: string): Figure {
  const ratio = median(pairs.map(({ few, many }) => many.signerCpu / few.signerCpu));
  const cpu = (which: keyof Pair) => median(pairs.map((pair) => pair[which].signerCpu)).toFixed(2);
  return {
    figure,
    measured: `${cpu('many')} s (${ratio.toFixed(2)} ×)`,
    limit: `≤ ${mostCpu.toFixed(2)} ×`,
    ceiling: `${cpu('few')} s (with ${few})`,
    met: ratio <= mostCpu,
  };
}
