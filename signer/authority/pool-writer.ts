import type { Transport } from '../kube/transport.ts';
import type { Secret } from '../kube/types.ts';
import type { PoolDocument } from './document.ts';
import { newPoolSecret, serializePool } from './pool-secret.ts';

export interface PoolPlace {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The one way to write a pool: it creates the Secret where none was read, and otherwise replaces exactly the version
 * that was read.
 *
 * @param before the Secret as it was read; undefined where there was none.
 * @throws ApiStatusError 409 if the pool was changed meanwhile.
 */
export async function writePool(
  transport: Transport,
  place: PoolPlace,
  before: Secret | undefined,
  document: PoolDocument,
  isDryRun: boolean,
): Promise<void> {
  const path = `/api/v1/namespaces/${encodeURIComponent(place.namespace)}/secrets`;
  const query = { fieldManager: 'kubespiffe-cli', ...(isDryRun && { dryRun: 'All' }) };
  const call = { resource: 'secrets', query } as const;
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
