import { inSpan } from '../../signer/observe/span.ts';
import { median } from './statistics.ts';

/** decide, sign and write: signer/issuance/reconcile.ts. */
const stepsOfCertificate = 3;

/**
 * The CPU that a certificate costs more because its steps could be spans, while no traces are recorded: nanoseconds, the median
 * of the rounds. Each round runs the same steps with and without.
 */
export async function costOfTracesOff({ rounds = 11, steps = 200_000 } = {}): Promise<number> {
  const step = async () => undefined;
  const nsPerStep = async (run: () => Promise<unknown>) => {
    const before = process.cpuUsage();
    for (let done = 0; done < steps; done += 1) await run();
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1000) / steps;
  };
  const more: number[] = [];
  while (more.length < rounds) {
    const bare = await nsPerStep(() => step());
    more.push((await nsPerStep(() => inSpan(undefined, 'step', step))) - bare);
  }
  return stepsOfCertificate * median(more);
}
