import { createJsonReader } from './json-reader.ts';
import type { Followed, Location } from './list-watch.ts';

/** Resource versions are numbers that grow (KEP-5504). Where they are not, nothing counts as older. */
export function isOlder(version: string | undefined, than: string | undefined): boolean {
  const digits = /^\d+$/;
  if (!version || !than || !digits.test(version) || !digits.test(than)) return false;
  return BigInt(version) < BigInt(than);
}

/**
 * Reads the version that a resource has now, by a list of one object: etcd itself is asked, so that a cache that lags
 * behind cannot answer. It is older than what was seen only where etcd was restored from a backup.
 *
 * @throws ApiStatusError, ApiConnectionError
 */
export async function readVersion(
  needs: Pick<Followed<unknown>, 'transport' | 'resource'>,
  at: Location,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { body } = await needs.transport.request<{ metadata?: { resourceVersion?: string } }>({
    method: 'GET',
    path: at.path,
    query: { ...at.query, limit: '1' },
    reader: () => createJsonReader({ metadata: true }),
    // The caller has a back-off.
    retry: 'none',
    signal,
    ...(needs.resource !== undefined && { resource: needs.resource }),
  });
  return body.metadata?.resourceVersion;
}
