import { isNotFoundOfObject } from './api-error.ts';
import { type ApiResource, resourcePath } from './resources.ts';
import type { Transport } from './transport.ts';

/** Whose status is written: with the UID, no other object that has taken the name. */
export interface StatusOwner {
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid: string;
  /** Where the status is of this version of the object only. */
  readonly resourceVersion?: string;
}

/**
 * Changes the status of one of our own resources by a merge PATCH. An object that was deleted needs none, which our watch
 * will show.
 *
 * @throws ApiStatusError, ApiConnectionError
 */
export async function patchStatus(
  transport: Pick<Transport, 'request'>,
  resource: ApiResource,
  { namespace, name, ...metadata }: StatusOwner,
  status: object,
  signal: AbortSignal,
): Promise<void> {
  try {
    await transport.request({
      method: 'PATCH',
      path: `${resourcePath(resource, resource.versions[0], namespace)}/${name}/status`,
      contentType: 'application/merge-patch+json',
      body: { metadata, status },
      resource: `${resource.name}/status`,
      discardBody: true,
      signal,
    });
  } catch (error) {
    if (!isNotFoundOfObject(error)) throw error;
  }
}
