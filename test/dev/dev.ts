import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { launcher } from '../tools/run.ts';

export interface RunningDev {
  readonly child: Child;
  /** Where the files are. */
  readonly folder: string;
  /** All that it wrote. */
  output(): string;
}

/** Runs `kubespiffe dev` while the test acts. */
export async function withDev(
  args: readonly string[],
  act: (dev: RunningDev) => Promise<void>,
  parent = mkdtempSync(join(tmpdir(), 'dev-')),
): Promise<void> {
  const folder = join(parent, 'dev');
  const child = startChild('dev', [launcher, 'dev', '--folder', folder, ...args], {
    logFile: join(mkdtempSync(join(parent, 'log-')), 'dev.log'),
  });
  const output = () => child.lastLines(1_000);
  try {
    await waitFor('the start of dev', () => /Ctrl-C ends it/.test(output()), { needs: [child] });
    await act({ child, folder, output });
  } finally {
    await child.stop();
    rmSync(parent, { recursive: true, force: true });
  }
}
