import { messageOf } from '../errors.ts';
import { ApiStatusError, isExpired } from './api-error.ts';
import type { Store } from './store.ts';
import type { Transport } from './transport.ts';
import type { Status } from './types.ts';
import type { WatchEvent } from './watch-lines.ts';

/** Where a resource is to be had. `query` narrows it: fieldSelector, labelSelector. */
export interface Location {
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
}

/** A resource that is followed, and the store that is kept equal to it. */
export interface Followed<T> {
  readonly transport: Transport;
  readonly store: Store<T>;
  /** What we keep of an object; undefined to keep nothing of it. */
  readonly project: (raw: unknown) => T | undefined;
  readonly log: { warn(fields: object, message: string): void };
  /** Metric label and name in logs. */
  readonly resource?: string;
}

/** Objects a page: what client-go asks for. */
const pageSize = 500;
const pageTimeoutMs = 30_000;

interface Listed {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly unknown[] | null;
}

/** `namespace/name`, or `name` for an object without namespace. */
export function keyOf(raw: unknown): string {
  const { metadata } = raw as { metadata?: { namespace?: string; name?: string } };
  if (!metadata?.name) throw new Error('an object without a name');
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

/**
 * Reads the whole resource in pages, as of now and not from a cache that may be behind, and projects each page as it
 * comes, so that no more than one page is held as the server sent it.
 * @throws ApiStatusError, ApiConnectionError
 */
export async function listAll<T>(
  needs: Followed<T>,
  at: Location,
  signal: AbortSignal,
): Promise<{ objects: [key: string, object: T][]; resourceVersion: string }> {
  let objects: [key: string, object: T][] = [];
  let token: string | undefined;
  let mayRestart = true;
  while (true) {
    let page: Listed;
    try {
      const answer = await needs.transport.request<Listed>({
        method: 'GET',
        path: at.path,
        query: { ...at.query, limit: String(pageSize), continue: token },
        timeoutMs: pageTimeoutMs,
        signal,
        ...(needs.resource !== undefined && { resource: needs.resource }),
      });
      page = answer.body;
    } catch (error) {
      // The pages of a long list outlived etcd's history. Once is bad luck, twice is trouble to wait out.
      if (!(isExpired(error) && token !== undefined && mayRestart)) throw error;
      mayRestart = false;
      objects = [];
      token = undefined;
      continue;
    }
    for (const raw of page.items ?? []) {
      const entry = entryOf(needs, raw);
      if (entry !== undefined) objects.push(entry);
    }
    token = page.metadata?.continue || undefined;
    if (token === undefined) return { objects, resourceVersion: page.metadata?.resourceVersion ?? '' };
  }
}

/** The key of an object and what we keep of it. An object that cannot be read is logged and left out. */
function entryOf<T>(needs: Followed<T>, raw: unknown): [key: string, object: T] | undefined {
  try {
    const object = needs.project(raw);
    return object === undefined ? undefined : [keyOf(raw), object];
  } catch (error) {
    needs.log.warn({ resource: needs.resource, error: messageOf(error) }, 'an object could not be read');
    return undefined;
  }
}

/** Makes the store equal to a list. A listener that fails is a mistake of ours; the list is in the store all the same. */
export function takeList<T>(needs: Followed<T>, objects: Iterable<readonly [key: string, object: T]>): void {
  try {
    needs.store.replace(objects);
  } catch (error) {
    needs.log.warn(
      { resource: needs.resource, error: messageOf(error) },
      'a list could not be taken in whole',
    );
  }
}

/** What an event did: `applied` (with the version to go on from), or it ended the watch with an error. */
export type Applied =
  | { readonly kind: 'applied'; readonly resourceVersion: string | undefined }
  | { readonly kind: 'refused'; readonly error: ApiStatusError };

/** Takes one event of a watch into the store. */
export function applyEvent<T>(needs: Followed<T>, event: WatchEvent): Applied {
  if (event.type === 'ERROR') {
    const status = event.object as Status;
    const error = new ApiStatusError(
      { method: 'WATCH', path: needs.resource ?? '' },
      { status: status.code ?? 0, body: status, retryAfterMs: undefined },
    );
    return { kind: 'refused', error };
  }
  const { metadata } = event.object as { metadata?: { resourceVersion?: string } };
  if (event.type === 'BOOKMARK') needs.store.touch();
  else change(needs, event);
  return { kind: 'applied', resourceVersion: metadata?.resourceVersion };
}

function change<T>(needs: Followed<T>, event: WatchEvent): void {
  const { store, log } = needs;
  try {
    const key = keyOf(event.object);
    const entry = event.type === 'DELETED' ? undefined : entryOf(needs, event.object);
    if (entry === undefined) store.delete(key);
    else store.set(key, entry[1]);
  } catch (error) {
    // A listener's mistake, or an object that is none: the rest of the resource is still worth following.
    store.touch();
    log.warn({ resource: needs.resource, error: messageOf(error) }, 'an event could not be taken in');
  }
}
