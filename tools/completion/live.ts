import { parseArgs } from 'node:util';
import { isPlain404 } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { withApi } from '../api.ts';
import type { Terminal } from '../terminal.ts';

/** The objects of the cluster whose names a shell can complete. */
export type LiveKind = 'namespaces' | 'pods' | 'registrations' | 'federated-trust-domains';

/** A shell that waits longer than this for an answer seems to hang, in milliseconds. */
const timeoutMs = 3_000;
/** A longer list is of no use. */
const mostNames = 500;

/**
 * Completions at the cursor, read from the cluster. A shell asks `kubespiffe __complete KIND CURRENT WORDS…`.
 *
 * @param current what is typed of the word at the cursor. @param words of the command line, which may name a cluster.
 * @returns nothing when the cluster does not answer: a shell has no place for an error.
 */
export async function completeLive(
  [kind = '', current = '', ...words]: readonly string[],
  terminal: Terminal,
): Promise<readonly string[]> {
  const { values } = parseArgs({
    args: words,
    options: { kubeconfig: { type: 'string' }, context: { type: 'string' } },
    ...{ strict: false, allowPositionals: true },
  });
  const cluster = Object.fromEntries(Object.entries(values).filter(([, value]) => typeof value === 'string'));
  const list = lists[kind as LiveKind];
  if (!list) return [];
  try {
    const names = await withApi(cluster, terminal, (api) => list(api, current));
    return names.filter((name) => name.startsWith(current)).slice(0, mostNames);
  } catch {
    return [];
  }
}

const lists: Readonly<Record<LiveKind, (api: Transport, current: string) => Promise<string[]>>> = {
  namespaces: (api) => namesAt(api, '/api/v1/namespaces', 'namespaces'),
  // First the namespace, then what is in it: a list of all pods of a cluster is of no use.
  async pods(api, current) {
    const [namespace = '', name] = current.split('/');
    if (name === undefined) return (await lists.namespaces(api, current)).map((each) => `${each}/`);
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
    return (await namesAt(api, path, 'pods')).map((each) => `${namespace}/${each}`);
  },
  async registrations(api) {
    const kinds = ['workloadregistrations', 'clusterworkloadregistrations'];
    const names = kinds.map((kind) => namesAt(api, `/apis/kubespiffe.io/v1alpha1/${kind}`, kind));
    return [...new Set((await Promise.all(names)).flat())];
  },
  'federated-trust-domains': (api) =>
    namesAt(api, '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains', 'federatedtrustdomains'),
};

async function namesAt(api: Transport, path: string, resource: string): Promise<string[]> {
  // From the cache of the API server, which may be a little old: a read that has to be newest can wait for seconds.
  const query = { limit: String(mostNames), resourceVersion: '0' };
  try {
    const { body } = await api.request<{ items?: { metadata: { name: string } }[] }>({
      ...{ method: 'GET', path, query, resource, timeoutMs },
    });
    return (body.items ?? []).map(({ metadata }) => metadata.name);
  } catch (error) {
    if (isPlain404(error)) return [];
    throw error;
  }
}
