import type { Seconds } from '../../spiffe/pki/time.ts';
import { ApiStatusError, isNotFoundOfObject } from '../kube/api-error.ts';
import type { ApiRequest, Transport } from '../kube/transport.ts';
import type { ConfigMap } from '../kube/types.ts';
import type { AuthorityRecord } from './document.ts';
import type { PoolPlace } from './pool-secret.ts';
import {
  raisedUntil,
  readSignedUntil,
  type SignedUntil,
  signedUntilKeyOf,
  signedUntilName,
  writeSignedUntil,
} from './signed-until.ts';

/** The record as it was read. */
export interface SignedUntilRecord {
  readonly signedUntil: SignedUntil;
  readonly resourceVersion: string;
}

const fieldManager = 'kubespiffe';
const labels = { 'app.kubernetes.io/managed-by': 'kubespiffe' };
/** Writers that come between; more of them than there are replicas. */
const mostTries = 20;
const timeoutMs = 5_000;

/** The record of a pool; undefined if there is none. @throws ApiStatusError, ApiConnectionError */
export async function readSignedUntilRecord(
  transport: Pick<Transport, 'request'>,
  pool: PoolPlace,
): Promise<SignedUntilRecord | undefined> {
  try {
    return await send(transport, pool, { method: 'GET' });
  } catch (error) {
    if (isNotFoundOfObject(error)) return undefined;
    throw error;
  }
}

/**
 * Changes entries of the record by compare-and-swap, and creates the record if it is missing.
 *
 * @param next the entries that are to be written, by what the record has now; none to leave it as it is. It is asked again
 *   when another writer changed it meanwhile.
 * @param known the record as it was read last, which saves the read.
 * @throws ApiStatusError, ApiConnectionError. The write may have been done then.
 */
export async function changeSignedUntilRecord(
  transport: Pick<Transport, 'request'>,
  pool: PoolPlace,
  next: (signedUntil: SignedUntil) => ReadonlyMap<string, Seconds>,
  known?: SignedUntilRecord,
): Promise<SignedUntilRecord> {
  let record = known;
  for (let tries = 1; ; tries += 1) {
    record ??= (await readSignedUntilRecord(transport, pool)) ?? (await createRecord(transport, pool));
    const entries = next(record.signedUntil);
    if (entries.size === 0) return record;
    try {
      return await send(transport, pool, {
        method: 'PATCH',
        query: { fieldManager },
        body: {
          metadata: { resourceVersion: record.resourceVersion },
          data: Object.fromEntries([...entries].map(([key, until]) => [key, writeSignedUntil(until)])),
        },
      });
    } catch (error) {
      const isChanged = error instanceof ApiStatusError && error.status === 409;
      if ((!isChanged && !isNotFoundOfObject(error)) || tries >= mostTries) throw error;
      record = undefined;
    }
  }
}

/** Without entries, so that it removes nothing from a record that another writer has created meanwhile. */
function createRecord(transport: Pick<Transport, 'request'>, pool: PoolPlace): Promise<SignedUntilRecord> {
  return send(transport, pool, {
    method: 'PATCH',
    query: { fieldManager, force: 'true' },
    contentType: 'application/apply-patch+yaml',
    body: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: signedUntilName(pool.name), namespace: pool.namespace, labels },
    },
  });
}

/** @returns the record that the API server answers with. */
async function send(
  transport: Pick<Transport, 'request'>,
  { namespace, name }: PoolPlace,
  call: Pick<ApiRequest, 'method' | 'query' | 'contentType' | 'body'>,
): Promise<SignedUntilRecord> {
  const record = encodeURIComponent(signedUntilName(name));
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${record}`;
  const { body } = await transport.request<ConfigMap>({ ...call, path, resource: 'configmaps', timeoutMs });
  const { data, metadata } = body;
  const { resourceVersion } = metadata;
  if (resourceVersion === undefined) throw new Error('a ConfigMap without its version would overwrite any');
  return { signedUntil: readSignedUntil(data), resourceVersion };
}

/** Raises the record before something is signed outside of the signers, which ends at `until`. */
export async function raiseSignedUntil(
  transport: Pick<Transport, 'request'>,
  pool: PoolPlace,
  authority: AuthorityRecord,
  { trustDomain, now, until }: { trustDomain: string | undefined; now: Seconds; until: Seconds },
): Promise<void> {
  const key = signedUntilKeyOf(authority, trustDomain);
  if (key === undefined) return;
  await changeSignedUntilRecord(transport, pool, (signedUntil) => {
    const known = signedUntil.get(key);
    if (known !== undefined && known >= until) return new Map();
    return new Map([[key, raisedUntil(known, { kind: authority.kind, until, now })]]);
  });
}

/**
 * Begins the entries of authorities whose keys were just made, so that they cannot have signed anything before `now`. To be
 * called before the pool has them.
 *
 * @param isNewPool whether nothing can sign with the pool yet. Otherwise a record that is missing is not created: the
 *   signers may be of a version that keeps none.
 * @throws ApiStatusError, ApiConnectionError
 */
export async function beginSignedUntil(
  transport: Pick<Transport, 'request'>,
  pool: PoolPlace,
  made: readonly AuthorityRecord[],
  { trustDomain, now, isNewPool }: { trustDomain: string | undefined; now: Seconds; isNewPool: boolean },
): Promise<void> {
  const keys = made.flatMap((each) => signedUntilKeyOf(each, trustDomain) ?? []);
  if (keys.length === 0) return;
  const known = await readSignedUntilRecord(transport, pool);
  if (!known && !isNewPool) return;
  const next = (signedUntil: SignedUntil) =>
    new Map(keys.filter((key) => !signedUntil.has(key)).map((key) => [key, now]));
  await changeSignedUntilRecord(transport, pool, next, known);
}
