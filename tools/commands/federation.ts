import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { federationCheck } from './federation-check.ts';
import { federationDiff } from './federation-diff.ts';
import { federationInvite } from './federation-invite.ts';
import { federationList } from './federation-list.ts';
import { federationRefresh } from './federation-refresh.ts';
import { federationShow } from './federation-show.ts';

/** `kubespiffe federation`: other trust domains, before and after they are trusted. */
export function federation(parent: Command, terminal: Terminal, done: (exitCode: number) => void): Command {
  const command = parent
    .command('federation')
    .description('Check, show and refresh the bundles of other trust domains, and invite them.');
  federationCheck(command, terminal);
  federationList(command, terminal, done);
  federationShow(command, terminal, done);
  federationDiff(command, terminal, done);
  federationInvite(command, terminal);
  federationRefresh(command, terminal, done);
  return command;
}
