import type { Command } from 'commander';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes, usageError } from '../errors.ts';
import { mergedTrustDomains } from '../inspect/certificates.ts';
import { inspectContent } from '../inspect/detect.ts';
import { certificatesOf, type InspectContext } from '../inspect/pem.ts';
import { conforms, printInspection } from '../inspect/report.ts';
import { type OutputOptions, outputOption } from '../output.ts';
import { lookInto, nameOfInput, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';
import { trustDomainFlag } from '../trust-domain.ts';

export interface InspectOptions extends OutputOptions {
  trustDomain?: string;
  roots?: string;
}

/** `kubespiffe inspect`: what a file says, whether it conforms, what is wrong with it. */
export const inspect: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'inspect', {
    description:
      'Show what a certificate, a bundle or a request contains, whether it conforms, and what is wrong.\n\n' +
      'Accepts certificates, chains and trust bundles (PEM, DER), credential bundle files, and PodCertificateRequests,\n' +
      'ClusterTrustBundles, pools and SPIFFE bundles (JSON, YAML; also several, or a List). Private keys are never\n' +
      'shown. Ends with 1 when a MUST is not fulfilled.',
    examples: `
    # What kubelet wrote into a pod
    kubectl exec web -- cat /run/spiffe/credentials.pem | kubespiffe inspect -

    # Does the chain lead to these roots?
    kubespiffe inspect chain.pem --roots roots.pem --trust-domain example.org

    # The trust bundles of the cluster
    kubectl get clustertrustbundles -o yaml | kubespiffe inspect -

    # A request that is in the cluster
    kubespiffe inspect pcr req-462q4 --namespace default`,
    options: [withInspectOptions],
  })
    .enablePositionalOptions()
    .argument('[file]', 'The file to inspect; - is standard input.')
    .action(async (file: string | undefined, options: InspectOptions) => {
      if (file === undefined) {
        throw usageError('nothing to inspect', 'give a file, or - for standard input');
      }
      const content = await readInput(terminal, file);
      const context = await contextOf(terminal, options);
      const inspection = lookInto(file, () => inspectContent(content, context));
      printInspection(terminal, inspection, nameOfInput(file), options.output);
      done(conforms(inspection) ? exitCodes.ok : exitCodes.failed);
    });

export function withInspectOptions(command: Command): Command {
  return command
    .option('--trust-domain <name>', 'Trust domain that the SPIFFE IDs should be of.')
    .option('--roots <file>', 'PEM file with roots that the chain should lead to.')
    .addOption(outputOption());
}

export async function contextOf(terminal: Terminal, options: InspectOptions): Promise<InspectContext> {
  const { trustDomain, roots } = options;
  // Only here: the library takes 100 ms to load, which no other command needs.
  const { createContents } = await import('../inspect/contents.ts');
  return {
    now: Math.floor(terminal.now() / 1000),
    trustDomain: trustDomainFlag(trustDomain),
    contents: createContents(),
    roots: roots === undefined ? undefined : await certificatesIn(terminal, roots),
  };
}

async function certificatesIn(terminal: Terminal, file: string): Promise<CertificateFacts[]> {
  const content = await readInput(terminal, file);
  const roots = lookInto(file, () => certificatesOf(content));
  const merged = mergedTrustDomains(roots);
  if (merged !== undefined) terminal.err(`warning: ${nameOfInput(file)}: ${printable(merged)}\n`);
  return roots;
}
