import { Command } from 'commander';
import { helper } from './commands/helper.ts';
import { workloadApi } from './commands/workload-api.ts';
import { complete, runProgram } from './run.ts';
import type { Terminal } from './terminal.ts';

/** `kubespiffe workload-api` and `helper` without the other commands: they run in pods, and the others cost memory. */
export function runSidecar(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram(argv, terminal, () => {
    const program = new Command('kubespiffe').enablePositionalOptions();
    workloadApi(program, terminal);
    helper(program, terminal);
    return complete(program);
  });
}
