import { setTimeout as pause } from 'node:timers/promises';
import {
  allFederatedTrustDomains,
  type FederatedTrustDomain,
  refreshAnnotation,
} from '../../signer/federation/federated-trust-domain.ts';
import { resourcePath } from '../../signer/kube/resources.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { CliError, exitCodes } from '../errors.ts';
import { printReport } from '../federation/print-report.ts';
import { type FederationReport, reportOn } from '../federation/report.ts';
import { readFederation, resourceNamed } from '../federation/resources.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions, OutputOptions {
  timeout: string;
}

const pollEveryMs = 250;

/** `kubespiffe federation refresh`: has the signer fetch a bundle now, and prints the result. */
export const federationRefresh: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'refresh', {
    description:
      'Have the signer fetch the bundle of another trust domain now, and show the result.\n\n' +
      `Sets the annotation ${refreshAnnotation}, which needs patch on federatedtrustdomains. Ends with 1 when the\n` +
      'bundle was not taken.',
    examples: `
    # The partner has rotated its CA
    kubespiffe federation refresh partner`,
    options: [withCluster],
  })
    .argument('<federated-trust-domain>', 'Its name, or the trust domain.')
    .option('--timeout <duration>', 'How long to wait for the signer. A fetch takes 30s at most.', '45s')
    .addOption(outputOption())
    .action(async (name: string, options: Options) => {
      const seconds = parseSeconds(options.timeout, '--timeout');
      const report = await withApi(options, terminal, async (api) => {
        const resource = resourceNamed(await readFederation(api), name);
        const value = new Date(terminal.now()).toISOString();
        await askFor(api, resource, value);
        const until = terminal.now() + seconds * 1000;
        return reportOn(
          await refreshed(api, terminal, resource, value, until),
          Math.floor(terminal.now() / 1000),
        );
      });
      if (options.output) printObject(terminal, options.output, report);
      else printReport(terminal, report);
      done(isTaken(report) ? exitCodes.ok : exitCodes.failed);
    });

const { resource: federatedTrustDomains } = allFederatedTrustDomains;

async function askFor(api: Transport, { name, uid }: FederatedTrustDomain, value: string): Promise<void> {
  await api.request({
    method: 'PATCH',
    path: `${resourcePath(federatedTrustDomains, federatedTrustDomains.versions[0])}/${encodeURIComponent(name)}`,
    body: { metadata: { uid, annotations: { [refreshAnnotation]: value } } },
    resource: federatedTrustDomains.name,
    discardBody: true,
  });
}

/** The resource, once its status says that the request was followed. @throws CliError where no signer does so in time. */
async function refreshed(
  api: Transport,
  terminal: Terminal,
  { name, uid }: FederatedTrustDomain,
  value: string,
  until: number,
): Promise<FederatedTrustDomain> {
  while (terminal.now() < until) {
    const [found] = await readFederation(api, name);
    if (found?.uid !== uid)
      throw new CliError('BUNDLE_UNREACHABLE', `FederatedTrustDomain ${name} was deleted`);
    if (found.status.observedRefresh === value) return found;
    await pause(pollEveryMs);
  }
  const hint =
    'is the setting federation on, and does a signer run? `kubespiffe federation show` says when it looked last';
  throw new CliError('BUNDLE_UNREACHABLE', `no signer has fetched the bundle of ${name} in time`, hint);
}

const isTaken = ({ conditions }: FederationReport) =>
  conditions.some(({ type, reason }) => type === 'Ready' && reason === 'BundleTaken');
