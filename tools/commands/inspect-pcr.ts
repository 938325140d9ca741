import type { Command } from 'commander';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { certificatesVersions, type PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { CliError, exitCodes } from '../errors.ts';
import { withExamples } from '../help.ts';
import { inspectPcr as inspectRequest } from '../inspect/pcr.ts';
import { conforms, printInspection } from '../inspect/report.ts';
import type { Terminal } from '../terminal.ts';
import { contextOf, type InspectOptions, withInspectOptions } from './inspect.ts';

/** `kubespiffe inspect pcr`: a PodCertificateRequest as the cluster has it. */
export function inspectPcr(parent: Command, terminal: Terminal, done: (exitCode: number) => void): Command {
  const command = parent
    .command('pcr')
    .description('Inspect a PodCertificateRequest of the cluster.')
    .argument('<namespace/name>', 'The request.');
  withExamples(
    command,
    `
    # The requests of a namespace, with the pods that they are for
    kubectl get podcertificaterequests --namespace default

    # One of them, and what became of it
    kubespiffe inspect pcr default/req-462q4`,
  );
  withCluster(withInspectOptions(command)).action(
    async (reference: string, options: InspectOptions & ClusterOptions) => {
      const [namespace, name, ...more] = reference.split('/');
      if (!namespace || !name || more.length > 0) {
        throw new CliError(
          'USAGE',
          `${reference} is not a namespace and a name`,
          'write it as NAMESPACE/NAME',
        );
      }
      const pcr = await withApi(options, terminal, (api) => getRequest(api, namespace, name));
      const inspection = inspectRequest(pcr, await contextOf(terminal, options));
      printInspection(terminal, inspection, reference, options.output);
      done(conforms(inspection) ? exitCodes.ok : exitCodes.failed);
    },
  );
  return command;
}

/**
 * Reads a request in the version in which its key is to be seen: one of a kubelet before 1.36 shows none in v1.
 * @throws CliError API_NOT_SERVED, or API_STATUS for a request that is not there.
 */
async function getRequest(api: Transport, namespace: string, name: string): Promise<PodCertificateRequest> {
  let found: PodCertificateRequest | undefined;
  let isServed = false;
  for (const version of certificatesVersions) {
    const path =
      `/apis/certificates.k8s.io/${version}/namespaces/${encodeURIComponent(namespace)}` +
      `/podcertificaterequests/${encodeURIComponent(name)}`;
    try {
      const request = { method: 'GET', path, resource: 'podcertificaterequests' } as const;
      const pcr = (await api.request<PodCertificateRequest>(request)).body;
      found ??= pcr;
      if (pcr.spec.stubPKCS10Request || pcr.spec.pkixPublicKey) return pcr;
    } catch (error) {
      if (!(error instanceof ApiStatusError) || error.status !== 404) throw error;
      isServed ||= error.details?.name !== undefined;
    }
  }
  if (found) return found;
  if (!isServed) {
    const hint =
      'Kubernetes 1.37 serves them; before that the feature gate PodCertificateRequest has to be on';
    throw new CliError('API_NOT_SERVED', 'the cluster serves no PodCertificateRequests', hint);
  }
  const hint = `requests are deleted some 15 min after they were made; \`kubectl get podcertificaterequests -n ${namespace}\` lists what there is`;
  throw new CliError('API_STATUS', `there is no PodCertificateRequest ${namespace}/${name}`, hint);
}
