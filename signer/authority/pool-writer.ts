import type { Transport } from '../kube/transport.ts';
import type { Secret } from '../kube/types.ts';
import type { PoolDocument } from './document.ts';
import { newPoolSecret, type PoolPlace, serializePool } from './pool-secret.ts';

/**
 * The one way to write a pool: it creates the Secret where none was read, and otherwise replaces exactly the version
 * that was read.
 *
 * @param before the Secret as it was read; undefined where there was none.
 * @param options.fieldManager under which the API server records the change; that of the commands by default.
 * @throws ApiStatusError 409 if the pool was changed meanwhile.
 */
export async function writePool(
  transport: Pick<Transport, 'request'>,
  place: PoolPlace,
  before: Secret | undefined,
  document: PoolDocument,
  isDryRun: boolean,
  options: { readonly fieldManager?: string; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const path = `/api/v1/namespaces/${encodeURIComponent(place.namespace)}/secrets`;
  const { fieldManager = 'kubespiffe-cli', signal } = options;
  const query = { fieldManager, ...(isDryRun && { dryRun: 'All' }) };
  const call = { resource: 'secrets', query, ...(signal && { signal }) } as const;
  if (!before) {
    await transport.request({ ...call, method: 'POST', path, body: newPoolSecret(place, document) });
    return;
  }
  if (before.metadata.resourceVersion === undefined) {
    throw new Error('a Secret without its version would overwrite any');
  }
  const body = { ...before, data: { ...before.data, ...serializePool(document) } };
  await transport.request({
    ...call,
    method: 'PUT',
    path: `${path}/${encodeURIComponent(place.name)}`,
    body,
  });
}
