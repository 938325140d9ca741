import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, startChild } from '../../cluster/process.ts';
import { launcher, type Ran, run } from '../../tools/run.ts';

/** A folder of the test, with what helps to run the helper in it. */
export interface Workshop extends Disposable {
  readonly folder: string;
  /** Writes a configuration and returns its path: the header is added to a YAML text that has none. */
  config(text: string): string;
  once(text: string): Promise<Ran>;
  /** Runs the helper until the test ends. */
  follow(text: string): Child;
}

export function openWorkshop(): Workshop {
  const folder = mkdtempSync(join(tmpdir(), 'helper-'));
  let count = 0;
  const config = (text: string): string => {
    count += 1;
    const path = join(folder, `helper-${count}.yaml`);
    writeFileSync(path, `apiVersion: kubespiffe.io/v1alpha1\nkind: HelperConfiguration\n${text}`);
    return path;
  };
  return {
    folder,
    config,
    once: (text) => run(['helper', '--once', '--config', config(text)]),
    follow(text) {
      const command = [launcher, 'helper', '--config', config(text)];
      return startChild('helper', command, { logFile: join(folder, `helper-${count}.log`) });
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
