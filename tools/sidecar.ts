import { Command } from 'commander';
import { workloadApi } from './commands/workload-api.ts';
import { complete, runProgram } from './run.ts';
import type { Terminal } from './terminal.ts';

/** `kubespiffe workload-api` without the other commands: it runs in every pod that has it, and they cost memory. */
export function runSidecar(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram(argv, terminal, () => {
    const program = new Command('kubespiffe').enablePositionalOptions();
    workloadApi(program, terminal);
    return complete(program);
  });
}
