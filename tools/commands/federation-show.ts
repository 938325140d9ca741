import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes } from '../errors.ts';
import { printReport } from '../federation/print-report.ts';
import { isReady, reportOn } from '../federation/report.ts';
import { federationViewer, readFederation, resourceNamed } from '../federation/resources.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';

/** `kubespiffe federation show`: one trust domain, with the keys that are in use. */
export const federationShow: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'show', {
    description:
      'Show a FederatedTrustDomain: its source, its conditions, and the keys that are in use.\n\n' +
      'Ends with 1 when it is not ready.',
    examples: `
    # Why is a partner not ready?
    kubespiffe federation show partner`,
    options: [withCluster, outputOption()],
  })
    .argument('<federated-trust-domain>', 'Its name, or the trust domain.')
    .action(async (name: string, options: ClusterOptions & OutputOptions) => {
      const all = await withApi({ ...options, role: federationViewer }, terminal, (api) =>
        readFederation(api),
      );
      const report = reportOn(resourceNamed(all, name), Math.floor(terminal.now() / 1000));
      if (options.output) printObject(terminal, options.output, report);
      else printReport(terminal, report);
      done(isReady(report) ? exitCodes.ok : exitCodes.failed);
    });
