import { Command } from 'commander';
import { dev } from './commands/dev.ts';
import { complete, runProgram } from './run.ts';
import type { Terminal } from './terminal.ts';

/** `kubespiffe dev` and what is below it, without the other commands: a person waits for it, and they take time. */
export function runDev(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram(argv, terminal, (_terminal, done) => {
    const program = new Command('kubespiffe').enablePositionalOptions();
    dev(program, terminal, done);
    return complete(program);
  });
}
