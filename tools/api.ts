import type { Command } from 'commander';
import type { PoolDocument } from '../signer/authority/document.ts';
import type { PoolPlace } from '../signer/authority/pool-secret.ts';
import { writePool } from '../signer/authority/pool-writer.ts';
import { ApiConnectionError, ApiStatusError } from '../signer/kube/api-error.ts';
import type { Credentials } from '../signer/kube/credentials.ts';
import { realTime } from '../signer/kube/time.ts';
import type { Transport } from '../signer/kube/transport.ts';
import type { Secret } from '../signer/kube/types.ts';
import { KubespiffeError } from '../spiffe/errors.ts';
import { CliError } from './errors.ts';
import type { Terminal } from './terminal.ts';

export interface ClusterOptions {
  kubeconfig?: string;
  context?: string;
}

interface UnattendedOptions extends ClusterOptions {
  readonly deadline?: AbortSignal;
}

/** The options of every command that talks to a cluster. */
export function withCluster(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'Kubeconfig to use instead of $KUBECONFIG or ~/.kube/config.')
    .option('--context <name>', 'Context of the kubeconfig to use.');
}

/**
 * The API server of each command that runs. A command with --wait connects again and again, for days, and the current
 * context of the kubeconfig may be that of another cluster by then.
 */
const credentialsOf = new WeakMap<Terminal, Promise<Credentials>>();

/**
 * Talks to the API server for as long as `use` runs, which gets the namespace of the context, if it has one.
 * All calls of one command reach the server of the first call. The options of later calls do not change that.
 * @param options role: that grants all of it, for the hint where a right is missing. deadline: for a caller that must
 * not wait for a person: credential plugins get no terminal, and are ended by it.
 * @throws CliError with a hint for what commonly goes wrong.
 */
export async function withApi<T>(
  { role, ...cluster }: UnattendedOptions & { readonly role?: string },
  terminal: Terminal,
  use: (transport: Transport, contextNamespace: string | undefined) => Promise<T>,
): Promise<T> {
  // Most of what a command needs to load is this, and most commands do not need it.
  const { createTransport } = await import('../signer/kube/transport.ts');
  const { openOfAnyVersion } = await import('./http1.ts');
  const credentials = await credentialsFor(cluster, terminal);
  const transport = createTransport({
    ...{ credentials, time: realTime, open: openOfAnyVersion },
    userAgent: 'kubespiffe-cli',
  });
  try {
    return await use(transport, credentials.namespace);
  } catch (error) {
    throw withHint(error, credentials.server, role);
  } finally {
    await transport.close();
  }
}

/** They are read again for each call, so that a command that waits has certificates and CAs of now. */
async function credentialsFor(cluster: UnattendedOptions, terminal: Terminal): Promise<Credentials> {
  const known = credentialsOf.get(terminal);
  const loading = known ?? loadOnce(cluster, terminal);
  credentialsOf.set(terminal, loading);
  const credentials = await loading;
  if (!known) return credentials;
  credentials.invalidate();
  await credentials.authorization();
  return credentials;
}

async function loadOnce(
  { kubeconfig, context, deadline }: UnattendedOptions,
  { env }: Terminal,
): Promise<Credentials> {
  const { loadCredentials } = await import('../signer/kube/credentials.ts');
  try {
    const unattended = deadline && { signal: deadline, isTerminal: false };
    return await loadCredentials({ env, time: realTime, kubeconfig, context, ...unattended });
  } catch (error) {
    if (!(error instanceof KubespiffeError) || error.hint !== undefined) throw error;
    const hint = 'give a kubeconfig that works with --kubeconfig FILE or in KUBECONFIG';
    throw new CliError(error.code, error.message, hint, { cause: error });
  }
}

function withHint(error: unknown, server: URL, role: string | undefined): unknown {
  if (!(error instanceof ApiConnectionError || error instanceof ApiStatusError)) return error;
  const hint = error instanceof ApiStatusError ? statusHint(error, role) : connectionHint(error, server);
  return hint === undefined ? error : new CliError(error.code, error.message, hint, { cause: error });
}

function connectionHint({ cause }: ApiConnectionError, { origin }: URL): string {
  return isOfCertificate(cause)
    ? `check that certificate-authority-data of the kubeconfig belongs to ${origin}`
    : `check that ${origin} is the right server and that it is up (\`kubectl cluster-info\`)`;
}

function statusHint({ status, details }: ApiStatusError, granting: string | undefined): string | undefined {
  if (status === 401)
    return 'the credentials of the kubeconfig are no longer valid; log in to the cluster again';
  if (status === 403) {
    const role = granting ?? roleFor[details?.kind ?? ''];
    const such = role === undefined ? '' : `, such as the ${role}`;
    return `ask a cluster administrator for the right${such}, or use a context with other credentials for this cluster (--context)`;
  }
  if (status !== 404 || details?.kind !== 'namespaces') return undefined;
  return `check --namespace: the pool belongs where the signer looks for it; \`kubectl create namespace ${details.name}\` makes it`;
}

/** Whether TLS failed since the certificate of the server was not taken: the codes of OpenSSL and of Node.js for it. */
function isOfCertificate(cause: unknown): boolean {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return /CERT|UNABLE_TO_VERIFY/.test(code);
}

/** What manifests/base has for those who may not do what they tried, by the resource. */
const roleFor: Readonly<Record<string, string>> = {
  secrets: 'Role kubespiffe-ca-operator',
  podcertificaterequests: 'ClusterRole kubespiffe-request-viewer',
};

/**
 * The API server's clock, as its newest answer shows it. What is dated by it fits to the clocks of the signers, which
 * compare theirs with it too; the clock of the operator's machine may be anything.
 *
 * @returns seconds since the epoch; undefined before the first answer.
 */
export function serverClock(transport: Transport): () => number | undefined {
  let seconds: number | undefined;
  transport.onDate((epochMs) => {
    seconds = Math.floor(epochMs / 1000);
  });
  return () => seconds;
}

/** @returns undefined when there is no such Secret. */
export async function getSecret(
  transport: Transport,
  namespace: string,
  name: string,
): Promise<Secret | undefined> {
  try {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(name)}`;
    return (await transport.request<Secret>({ method: 'GET', path, resource: 'secrets' })).body;
  } catch (error) {
    if (error instanceof ApiStatusError && error.status === 404) return undefined;
    throw error;
  }
}

/**
 * Writes a pool over what was read, and never over anything newer.
 * @throws CliError ALREADY_EXISTS where there is a Secret although none was read, POOL_INVALID where it was changed.
 */
export async function savePool(
  transport: Transport,
  place: PoolPlace,
  before: Secret | undefined,
  document: PoolDocument,
  isDryRun = false,
): Promise<void> {
  const { namespace, name } = place;
  try {
    await writePool(transport, place, before, document, isDryRun);
  } catch (error) {
    if (!(error instanceof ApiStatusError && error.status === 409)) throw error;
    if (before) {
      const what = `Secret ${namespace}/${name} was changed meanwhile by another writer and was not overwritten`;
      const hint = 'run the command again, which reads the Secret again';
      throw new CliError('POOL_INVALID', what, hint, { cause: error });
    }
    const hint =
      `\`kubespiffe ca show --namespace ${namespace} --name ${name}\` shows what is in it; to bring another CA into ` +
      'this pool see docs/reference/pool.md#the-next-ca; to put a copy back use `kubespiffe ca restore`';
    const what = `Secret ${namespace}/${name} exists already and was not changed`;
    throw new CliError('ALREADY_EXISTS', what, hint, { cause: error });
  }
}
