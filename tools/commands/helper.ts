import type { Command } from 'commander';
import { type KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { withExamples } from '../help.ts';
import { readInput } from '../read-input.ts';
import { requiredOption } from '../required.ts';
import type { Terminal } from '../terminal.ts';

interface Options {
  config: string;
  once?: boolean;
}

/** `kubespiffe helper`: the files that other software wants, until SIGTERM or once. */
export function helper(parent: Command, terminal: Terminal): Command {
  const command = parent
    .command('helper')
    .description(
      'Write certificate, key and roots in the files that other software wants, until SIGTERM.\n\n' +
        'Writes them again after each renewal, all at one moment, and then signals a process or runs a command so that\n' +
        'the software reloads them. With --once it writes them and ends, as an init container.',
    );
  withExamples(
    command,
    `
    # As a sidecar container: write the files, and again after each renewal
    kubespiffe helper --config /etc/kubespiffe/helper.yaml

    # As an init container
    kubespiffe helper --config /etc/kubespiffe/helper.yaml --once`,
  );
  requiredOption(command, '--config <file>', 'Configuration file, YAML or JSON.');
  return command
    .option('--once', 'Write the files once, without signal or command, and end.')
    .action(async (options: Options) => {
      const { parseConfig } = await import('../../workload/helper/parse-config.ts');
      const { runHelper } = await import('../../workload/helper/run.ts');
      const config = await parseConfig(options.config, textOf(await readInput(terminal, options.config)));
      const stopping = new AbortController();
      const stop = () => stopping.abort();
      process.once('SIGTERM', stop).once('SIGINT', stop);
      const warn = (problem: KubespiffeError) => {
        terminal.err(`warning: ${messageOf(problem)}\n`);
        if (problem.hint !== undefined) terminal.err(`hint: ${problem.hint}\n`);
      };
      await runHelper(
        { ...config, once: options.once ?? config.once },
        { log: (line) => terminal.err(`${line}\n`), warn, env: terminal.env, signal: stopping.signal },
      );
    });
}
