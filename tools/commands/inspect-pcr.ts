import { ApiStatusError } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { certificatesVersions, type PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, exitCodes, usageError } from '../errors.ts';
import { inspectPcr as inspectRequest } from '../inspect/pcr.ts';
import { conforms, printInspection } from '../inspect/report.ts';
import { contextOf, type InspectOptions, withInspectOptions } from './inspect.ts';

type Options = InspectOptions & ClusterOptions & { namespace?: string };

/** `kubespiffe inspect pcr`: a PodCertificateRequest as the cluster has it. */
export const inspectPcr: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'pcr', {
    description: 'Inspect a PodCertificateRequest of the cluster.',
    examples: `
    # The requests of a namespace, with the pods that they are for
    kubectl get podcertificaterequests --namespace default

    # One of them, and what became of it
    kubespiffe inspect pcr req-462q4 --namespace default`,
    options: [withInspectOptions, withCluster],
  })
    .argument('<name>', 'The request: its name, or NAMESPACE/NAME.')
    .option('-n, --namespace <namespace>', 'Namespace of the request instead of the one of the context.')
    .action(async (reference: string, options: Options) => {
      const { namespace: given, name } = parseReference(reference, options.namespace);
      const { pcr, namespace } = await withApi(options, terminal, async (api, contextNamespace) => {
        const namespace = given ?? contextNamespace ?? 'default';
        return { pcr: await getRequest(api, namespace, name), namespace };
      });
      const inspection = inspectRequest(pcr, await contextOf(terminal, options));
      printInspection(terminal, inspection, `${namespace}/${name}`, options.output);
      done(conforms(inspection) ? exitCodes.ok : exitCodes.failed);
    });

/** @throws CliError for what is neither NAME nor NAMESPACE/NAME, or names another namespace than the flag. */
function parseReference(reference: string, flag: string | undefined): { namespace?: string; name: string } {
  const parts = reference.split('/');
  const [name = '', namespace = flag] = parts.reverse();
  if (name === '' || namespace === '' || parts.length > 2) {
    const what = `${reference} does not name a request`;
    throw usageError(what, 'write NAME with --namespace NAMESPACE, or NAMESPACE/NAME');
  }
  if (flag !== undefined && flag !== namespace) {
    const what = `${reference} is not in namespace ${flag}`;
    throw usageError(what, 'give the namespace once, with --namespace or before the slash');
  }
  return { name, ...(namespace !== undefined && { namespace }) };
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
