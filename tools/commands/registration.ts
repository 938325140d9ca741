import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { registrationLint } from './registration-lint.ts';
import { registrationWhatIf } from './registration-what-if.ts';

/** `kubespiffe registration`: registrations before they are applied. */
export function registration(parent: Command, terminal: Terminal, done: (exitCode: number) => void): Command {
  const command = parent
    .command('registration')
    .description('Check registrations, and show what they would change.');
  registrationLint(command, terminal, done);
  registrationWhatIf(command, terminal, done);
  return command;
}
