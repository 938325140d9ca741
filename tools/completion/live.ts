import { parseArgs } from 'node:util';
import { isPlain404 } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { withApi } from '../api.ts';
import type { Terminal } from '../terminal.ts';

/** The objects of the cluster whose names a shell can complete. */
export type LiveKind = 'namespaces' | 'pods' | 'registrations' | 'federated-trust-domains';

/** A shell that waits longer than this for an answer seems to hang, in milliseconds. */
export const timeoutMs = 3_000;
/** Names of namespaces, pods and the other kinds: RFC 1123 subdomains. */
const nameForm = /^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/;
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
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    const names = await withApi({ ...cluster, deadline }, terminal, (api) =>
      list(namesFrom(api, deadline), current),
    );
    return names.filter((name) => name.startsWith(current)).slice(0, mostNames);
  } catch {
    return [];
  }
}

/** The names of objects, from the path of their list. */
type ReadNames = (path: string, resource: string) => Promise<string[]>;

const lists: Readonly<Record<LiveKind, (read: ReadNames, current: string) => Promise<string[]>>> = {
  namespaces: (read) => read('/api/v1/namespaces', 'namespaces'),
  // First the namespace, then what is in it: a list of all pods of a cluster is of no use.
  async pods(read, current) {
    const [namespace = '', name] = current.split('/');
    if (name === undefined) return (await lists.namespaces(read, current)).map((each) => `${each}/`);
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
    return (await read(path, 'pods')).map((each) => `${namespace}/${each}`);
  },
  async registrations(read) {
    const kinds = ['workloadregistrations', 'clusterworkloadregistrations'];
    const names = kinds.map((kind) => read(`/apis/kubespiffe.io/v1alpha1/${kind}`, kind));
    return [...new Set((await Promise.all(names)).flat())];
  },
  'federated-trust-domains': (read) =>
    read('/apis/kubespiffe.io/v1alpha1/federatedtrustdomains', 'federatedtrustdomains'),
};

function namesFrom(api: Transport, signal: AbortSignal): ReadNames {
  // From the cache of the API server, which may be a little old: a read that has to be newest can wait for seconds.
  const query = { limit: String(mostNames), resourceVersion: '0' };
  return async (path, resource) => {
    try {
      const { body } = await api.request<{ items?: { metadata: { name: string } }[] }>({
        ...{ method: 'GET', path, query, resource, signal },
      });
      // They are put on the command line of a shell, so a server must not choose other characters than the API allows.
      return (body.items ?? []).map(({ metadata }) => metadata.name).filter((name) => nameForm.test(name));
    } catch (error) {
      if (isPlain404(error)) return [];
      throw error;
    }
  };
}
