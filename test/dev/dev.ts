import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { launcher, type Ran, run } from '../tools/run.ts';

export interface RunningDev extends AsyncDisposable {
  readonly child: Child;
  /** Where the files are. */
  readonly folder: string;
  /** URL of the token endpoint. */
  readonly tokenEndpoint: string;
  /** Runs `kubespiffe dev VERB` against it. */
  ask(verb: string, ...args: readonly string[]): Promise<Ran>;
}

/**
 * Starts `kubespiffe dev`, which ends with the test.
 * @param parent of its folder; by default one that is removed. @param starter program and arguments that run the command.
 */
export async function startDev(
  args: readonly string[],
  parent?: string,
  starter: readonly string[] = [],
): Promise<RunningDev> {
  const place = parent ?? mkdtempSync(join(tmpdir(), 'dev-'));
  const folder = join(place, 'kubespiffe-dev');
  const command = [...starter, launcher, 'dev', '--folder', folder, '--port', '0', ...args];
  const child = startChild('dev', command, {
    logFile: join(mkdtempSync(join(place, 'log-')), 'dev.log'),
  });
  const written = () => child.lastLines(1_000);
  const tokenEndpoint = await waitFor(
    'the start of dev',
    () => /^token endpoint +(\S+)$/m.exec(written())?.[1],
    { needs: [child] },
  );
  return {
    child,
    folder,
    tokenEndpoint,
    ask: (verb, ...words) => run(['dev', verb, '--folder', folder, ...words]),
    async [Symbol.asyncDispose]() {
      await child.stop();
      if (parent === undefined) rmSync(place, { recursive: true, force: true });
    },
  };
}
