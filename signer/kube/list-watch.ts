import { messageOf } from '../../spiffe/errors.ts';
import type { Log } from '../observe/log.ts';
import { ApiConnectionError, ApiStatusError, isExpired } from './api-error.ts';
import { createJsonReader, type Fields, type JsonReader } from './json-reader.ts';
import type { PageSize } from './page-size.ts';
import type { Store } from './store.ts';
import type { Transport } from './transport.ts';
import type { Status } from './types.ts';
import type { WatchEvent } from './watch-lines.ts';

/** The path of a resource, narrowed by `query`: fieldSelector, labelSelector. */
export interface Location {
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
}

/** A resource that is followed, and the store that is kept equal to it. */
export interface Followed<T> {
  readonly transport: Transport;
  readonly store: Store<T>;
  /** The members to read of an object: all that `project` and `keyOf` use. */
  readonly fields: Fields;
  /** What we keep of an object; undefined to keep nothing of it. */
  readonly project: (raw: unknown) => T | undefined;
  readonly log: Log<'warn'>;
  /** Metric label and name in logs. */
  readonly resource?: string;
}

const pageTimeoutMs = 30_000;

interface Listed {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly unknown[] | null;
}

/** `namespace/name`, or `name` for an object without namespace. */
function keyOf(raw: unknown): string {
  const { metadata } = raw as { metadata?: { namespace?: string; name?: string } };
  if (!metadata?.name) throw new Error('an object without a name');
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

/**
 * Lists the resource in pages, consistently and not from a cache that may be behind. Each object is projected as it
 * arrives, so memory depends on the largest object and not on the page. A page that is too large is requested again
 * with fewer objects.
 *
 * @param pages is kept for the next list.
 * @throws ApiStatusError, ApiConnectionError
 */
export async function listAll<T>(
  needs: Followed<T>,
  at: Location,
  pages: PageSize,
  signal: AbortSignal,
): Promise<{ objects: [key: string, object: T][]; resourceVersion: string }> {
  let objects: [key: string, object: T][] = [];
  let token: string | undefined;
  let mayRestart = true;
  while (true) {
    const page = createPage(needs);
    let listed: Listed;
    try {
      const { body } = await needs.transport.request<Listed | null>({
        method: 'GET',
        path: at.path,
        query: { ...at.query, limit: String(pages.current()), continue: token },
        timeoutMs: pageTimeoutMs,
        reader: page.reader,
        signal,
        ...(needs.resource !== undefined && { resource: needs.resource }),
      });
      listed = listOf(body, at);
    } catch (error) {
      if (isTooMuch(error, page.received) && pages.shrink(page.received)) {
        const fields = { resource: needs.resource, objects: pages.current(), error: messageOf(error) };
        needs.log.warn(fields, 'a page of the list is too large; asking for fewer objects at once');
        continue;
      }
      // Reading the pages took longer than etcd keeps history. List again at once, the second time with back-off.
      if (!(isExpired(error) && token !== undefined && mayRestart)) throw error;
      mayRestart = false;
      objects = [];
      token = undefined;
      continue;
    }
    for (const entry of page.entries) objects.push(entry);
    pages.fitted(page.bytes);
    token = listed.metadata?.continue || undefined;
    if (token === undefined) return { objects, resourceVersion: listed.metadata?.resourceVersion ?? '' };
  }
}

/** One page while it is read. */
function createPage<T>(needs: Followed<T>) {
  const page = { entries: [] as [key: string, object: T][], received: 0, bytes: 0, reader };
  return page;

  /** Starts again, because a GET that was cut is repeated. */
  function reader(): JsonReader {
    Object.assign(page, { entries: [], received: 0, bytes: 0 });
    const { end, push } = createJsonReader(listFields, {
      fields: needs.fields,
      take(item) {
        page.received += 1;
        const entry = entryOf(needs, item);
        if (entry !== undefined) page.entries.push(entry);
      },
    });
    return {
      end,
      push(chunk) {
        page.bytes += chunk.length;
        push(chunk);
      },
    };
  }
}

const listFields = { metadata: true, items: {} } as const;

/** Another object must not count as an empty list: all objects would be deleted from the store. */
function listOf(body: Listed | null | undefined, at: Location): Listed {
  if (typeof body?.metadata?.resourceVersion === 'string' && body.items !== undefined) return body;
  throw new ApiConnectionError('malformed', `GET ${at.path}: the answer is not a list`);
}

/** Whether a smaller page may succeed. A page that never began to arrive failed for another reason. */
function isTooMuch(error: unknown, received: number): boolean {
  if (!(error instanceof ApiConnectionError)) return false;
  return error.failure === 'too-large' || (error.failure === 'timeout' && received > 0);
}

/** The key and the projection of an object. An object that cannot be read is logged and left out. */
function entryOf<T>(needs: Followed<T>, raw: unknown): [key: string, object: T] | undefined {
  try {
    const object = needs.project(raw);
    return object === undefined ? undefined : [keyOf(raw), object];
  } catch (error) {
    needs.log.warn({ resource: needs.resource, error: messageOf(error) }, 'an object could not be read');
    return undefined;
  }
}

/** Makes the store equal to a list. A listener that throws is a bug; the store has the list all the same. */
export function takeList<T>(needs: Followed<T>, objects: Iterable<readonly [key: string, object: T]>): void {
  try {
    needs.store.replace(objects);
  } catch (error) {
    needs.log.warn(
      { resource: needs.resource, error: messageOf(error) },
      'a list could not be read completely',
    );
  }
}

/**
 * Applies one watch event to the store.
 *
 * @returns the version to continue from. @throws ApiStatusError when the watch ended with an error.
 */
export function applyEvent<T>(needs: Followed<T>, event: WatchEvent): string | undefined {
  if (event.type === 'ERROR') {
    const status = event.object as Status;
    throw new ApiStatusError(
      { method: 'WATCH', path: needs.resource ?? '' },
      { status: status.code ?? 0, body: status, retryAfterMs: undefined },
    );
  }
  const { metadata } = event.object as { metadata?: { resourceVersion?: string } };
  if (event.type === 'BOOKMARK') needs.store.touch();
  else change(needs, event);
  return metadata?.resourceVersion;
}

function change<T>(needs: Followed<T>, event: WatchEvent): void {
  const { store, log } = needs;
  try {
    const key = keyOf(event.object);
    const entry = event.type === 'DELETED' ? undefined : entryOf(needs, event.object);
    if (entry === undefined) store.delete(key);
    else store.set(key, entry[1]);
  } catch (error) {
    // A listener failed, or an object is invalid: go on with the rest of the resource.
    store.touch();
    log.warn({ resource: needs.resource, error: messageOf(error) }, 'a watch event could not be applied');
  }
}
