import { slowMs, type TokenRate } from './key-rates.ts';
import type { Keys, SlowToken } from './keys.ts';
import type { Figure } from './table.ts';

/** The share of the rate that follows from the number of signatures at once and the time of one. */
const leastShare = 0.8;
const limit = `≥ ${leastShare} × at once / time of one`;

/** The figures of keys outside of the pool; one that says what is missing where they could not be measured. */
export function keysFiguresOf(measured: Keys | undefined): Figure[] {
  if (!measured) {
    const missing = 'not measured: `make key-backends` installs it';
    return [{ figure: 'signatures by SoftHSM2', measured: missing, limit: '', ceiling: '', met: undefined }];
  }
  const { inMemory, ofToken } = measured.rates;
  const ceiling = `${inMemory.perSecond.toFixed(0)}/s, ${inMemory.cpuMs.toFixed(2)} ms (in memory)`;
  return [...ofToken.map((rate) => rateRow(rate, ceiling)), ...slowRows(measured.slowToken)];
}

function rateRow({ isSlow, concurrency, perSecond, cpuMs, latencyMs }: TokenRate, ceiling: string): Figure {
  const share = perSecond / ((concurrency / (isSlow ? slowMs : latencyMs)) * 1000);
  return {
    figure: `signatures by SoftHSM2${isSlow ? ` with ${slowMs} ms for each` : ''}, ${concurrency} at once`,
    measured: `${perSecond.toFixed(0)}/s (${share.toFixed(2)} ×), ${cpuMs.toFixed(2)} ms CPU each`,
    ...{ limit, ceiling, met: share >= leastShare },
  };
}

function slowRows({ count, tookMs, concurrency, looks, notReady, recordWrites }: SlowToken): Figure[] {
  const perSecond = (count / tookMs) * 1000;
  const most = (concurrency / slowMs) * 1000;
  const share = perSecond / most;
  const during = `, burst of ${count} by a token with ${slowMs} ms, ${concurrency} at once`;
  return [
    {
      figure: `certificates${during}`,
      measured: `${perSecond.toFixed(0)}/s (${share.toFixed(2)} ×)`,
      ...{ limit, ceiling: `${most}/s`, met: share >= leastShare },
    },
    {
      figure: `not ready${during}`,
      measured: `${notReady} of ${looks} looks`,
      ...{ limit: '0', ceiling: '', met: looks > 0 && notReady === 0 },
    },
    {
      figure: `writes of the record of the CA${during}`,
      measured: `${recordWrites}`,
      ...{ limit: '≤ 4', ceiling: '', met: recordWrites <= 4 },
    },
  ];
}
