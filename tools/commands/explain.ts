import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { explainDenial } from './explain-denial.ts';
import { explainPodCommand } from './explain-pod.ts';
import { explainToken } from './explain-token.ts';

/** `kubespiffe explain`: why something has, or lacks, an identity. */
export function explain(parent: Command, terminal: Terminal, done: (exitCode: number) => void): Command {
  const command = parent.command('explain').description('Explain why a pod has its names, or none.');
  explainPodCommand(command, terminal, done);
  explainToken(command, terminal, done);
  explainDenial(command, terminal, done);
  return command;
}
