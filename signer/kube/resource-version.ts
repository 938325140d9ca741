import { createJsonReader } from './json-reader.ts';
import type { Followed, Location } from './list-watch.ts';

const isNumber = /^(0|[1-9]\d*)$/;

/** Resource versions are growing numbers (KEP-5504). If one is not a number, nothing counts as older. */
export function isOlder(version: string | undefined, than: string | undefined): boolean {
  if (!version || !than || version === than || !isNumber.test(version) || !isNumber.test(than)) return false;
  if (version.length !== than.length) return version.length < than.length;
  return version < than;
}

/**
 * Reads the current version of a resource by a consistent list of one object, which no lagging cache can answer. It is
 * older than a version seen before only if etcd was restored from a backup.
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
