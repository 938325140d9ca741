import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes } from '../errors.ts';
import { printReports } from '../federation/print-report.ts';
import { isReady, reportOn } from '../federation/report.ts';
import { federationViewer, readFederation } from '../federation/resources.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';

/** `kubespiffe federation list`: the trust domains that the cluster federates with. */
export const federationList: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'list', {
    description:
      'List the FederatedTrustDomains of the cluster, and whether their bundles are in use.\n\n' +
      'Ends with 1 when one of them is not ready.',
    examples: `
    # Which trust domains does this cluster trust?
    kubespiffe federation list

    # When does the first root of each end?
    kubespiffe federation list -o json | jq '.[] | {trustDomain, ends: [.bundle.keys[]?.notAfter // empty] | min}'`,
    options: [withCluster, outputOption()],
  }).action(async (options: ClusterOptions & OutputOptions) => {
    const all = await withApi({ ...options, role: federationViewer }, terminal, (api) => readFederation(api));
    const reports = all.map((each) => reportOn(each, Math.floor(terminal.now() / 1000)));
    if (options.output) printObject(terminal, options.output, reports);
    else if (reports.length === 0) terminal.out('The cluster federates with no other trust domain.\n');
    else printReports(terminal, reports);
    done(reports.every(isReady) ? exitCodes.ok : exitCodes.failed);
  });
