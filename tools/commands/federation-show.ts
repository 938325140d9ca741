import type { Command } from 'commander';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { exitCodes } from '../errors.ts';
import { printReport } from '../federation/print-report.ts';
import { isReady, reportOn } from '../federation/report.ts';
import { federationViewer, readFederation, resourceNamed } from '../federation/resources.ts';
import { withExamples } from '../help.ts';
import { type OutputFormat, outputOption, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';

/** `kubespiffe federation show`: one trust domain, with the keys that are in use. */
export function federationShow(
  parent: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): Command {
  const command = parent
    .command('show')
    .description(
      'Show a FederatedTrustDomain: its source, its conditions, and the keys that are in use.\n\n' +
        'Ends with 1 when it is not ready.',
    )
    .argument('<federated-trust-domain>', 'Its name, or the trust domain.');
  withExamples(
    command,
    `
    # Why is a partner not ready?
    kubespiffe federation show partner`,
  );
  return withCluster(command)
    .addOption(outputOption())
    .action(async (name: string, options: ClusterOptions & { output?: OutputFormat }) => {
      const all = await withApi(options, terminal, (api) => readFederation(api), federationViewer);
      const report = reportOn(resourceNamed(all, name), Math.floor(terminal.now() / 1000));
      if (options.output) printObject(terminal, options.output, report);
      else printReport(terminal, report);
      done(isReady(report) ? exitCodes.ok : exitCodes.failed);
    });
}
