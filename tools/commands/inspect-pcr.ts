import { allNames } from '../../signer/identity/subject.ts';
import { terminalCondition } from '../../signer/issuance/request.ts';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { certificatesVersions, type PodCertificateRequest } from '../../signer/kube/types.ts';
import { explain } from '../../signer/observe/reasons.ts';
import { allProfiles } from '../../signer/signers/profiles.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { identityOfRequest } from '../cluster/identities.ts';
import {
  readSignerSettings,
  type SettingsOptions,
  usualDeployment,
  withSignerSettings,
} from '../cluster/signer-settings.ts';
import { createWorld, identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, exitCodes, usageError } from '../errors.ts';
import { inspectPcr as inspectRequest, type NamedNow } from '../inspect/pcr.ts';
import { conforms, printInspection } from '../inspect/report.ts';
import type { Terminal } from '../terminal.ts';
import { contextOf, type InspectOptions, withInspectOptions } from './inspect.ts';

type Options = InspectOptions & ClusterOptions & SettingsOptions & { namespace?: string };

/** `kubespiffe inspect pcr`: a PodCertificateRequest as the cluster has it. */
export const inspectPcr: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'pcr', {
    description: 'Inspect a PodCertificateRequest of the cluster.',
    examples: `
    # The requests of a namespace, with the pods that they are for
    kubectl get podcertificaterequests --namespace default

    # One of them, and what became of it
    kubespiffe inspect pcr req-462q4 --namespace default`,
    options: [withInspectOptions, withSignerSettings, withCluster],
  })
    .argument('<name>', 'The request: its name, or NAMESPACE/NAME.')
    .option('-n, --namespace <namespace>', 'Namespace of the request instead of the one of the context.')
    .action(async (reference: string, options: Options) => {
      const { namespace: given, name } = parseReference(reference, options.namespace);
      const { pcr, namespace, named } = await withApi(options, terminal, async (api, contextNamespace) => {
        const namespace = given ?? contextNamespace ?? 'default';
        const pcr = await getRequest(api, namespace, name);
        const isOurs = allProfiles.some(({ signerName }) => signerName === pcr.spec.signerName);
        const isIssued = terminalCondition(pcr.status?.conditions)?.type === 'Issued';
        const named = isOurs && isIssued ? await namedNow(api, terminal, pcr, options) : undefined;
        return { pcr, namespace, named };
      });
      const inspection = inspectRequest(pcr, await contextOf(terminal, options), named);
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
 * Repeats the decision of the signer about the pod of a request. It needs more rights than reading the request, so without
 * them the rest is still shown.
 */
async function namedNow(
  api: Transport,
  terminal: Terminal,
  pcr: PodCertificateRequest,
  options: Options,
): Promise<NamedNow | undefined> {
  try {
    const world = createWorld(await readSignerSettings(api, terminal, options));
    await world.fill(api, pcr.metadata.namespace);
    const identity = identityOfRequest(pcr, world);
    if (!identity) return undefined;
    if (identity.ok) return { kind: 'named', names: allNames(identity.subject) };
    const { reason, detail } = identity;
    const kind = reason === 'PodGone' || reason === 'PodReplaced' ? 'unknown' : 'unnamed';
    return { kind, why: explain(reason, detail) };
  } catch (error) {
    if (error instanceof ApiStatusError && error.status === 403) {
      return { kind: 'unknown', why: `${error.message}; the ${identityViewer} allow it` };
    }
    const isGiven = options.config !== undefined || options.signerDeployment !== usualDeployment;
    if (error instanceof CliError && error.code === 'CONFIG_INVALID' && !isGiven) {
      return { kind: 'unknown', why: error.message };
    }
    throw error;
  }
}

/**
 * Reads a request in the version in which its key is to be seen: one of a kubelet before 1.36 shows none in v1.
 * @throws CliError API_NOT_SERVED, or API_STATUS for a request that does not exist.
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
