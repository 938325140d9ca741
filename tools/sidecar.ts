import { Command } from 'commander';
import { complete, runProgram } from './run.ts';
import type { Terminal } from './terminal.ts';

/** `kubespiffe workload-api` or `helper` without the other commands: they run in pods, and the others cost memory. */
export async function runSidecar(argv: readonly string[], terminal: Terminal): Promise<number> {
  const addCommand =
    argv[0] === 'helper'
      ? (await import('./commands/helper.ts')).helper
      : (await import('./commands/workload-api.ts')).workloadApi;
  return runProgram(argv, terminal, () => {
    const program = new Command('kubespiffe').enablePositionalOptions();
    addCommand(program, terminal);
    return complete(program);
  });
}
