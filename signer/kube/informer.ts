import type { Log } from '../observe/log.ts';
import type { Discovery } from './discovery.ts';
import type { Fields } from './json-reader.ts';
import { type RestartCause, runReflector } from './reflector.ts';
import { type ApiResource, resourcePath } from './resources.ts';
import { createStore, type Store, type StoreOptions } from './store.ts';
import type { Time } from './time.ts';
import type { Transport } from './transport.ts';

/** A resource that is followed, declared as data. `Wire` is the object as the API server sends it. */
export interface InformerSpec<Wire, T, Version extends string = string> {
  readonly resource: ApiResource<Version>;
  /** Only in this namespace. */
  readonly namespace?: string;
  /** Only the object of this name. The right to list and watch can then be restricted to it. */
  readonly name?: string;
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
  /** The members to read of an object: all that `project` uses, and metadataFields. */
  readonly fields: Fields;
  /** What we keep of an object; undefined to keep nothing of it. */
  readonly project: (wire: Wire, version: Version) => T | undefined;
  readonly indexes?: StoreOptions<T>['indexes'];
  /** Whether nothing changed that identities depend on. Left out: whether all that we keep is equal. */
  readonly isSame?: (one: T, other: T) => boolean;
  /** For resources that change often: how long the watch may be silent before all is listed again. */
  readonly silentAfterMs?: number;
}

export interface InformerNeeds {
  readonly transport: Transport;
  /** Needed for resources that may be missing. */
  readonly discovery?: Pick<Discovery, 'find' | 'rediscover'>;
  readonly onWatchRestart?: (resource: string, cause: RestartCause) => void;
  readonly log: Log<'warn' | 'debug'>;
  readonly time: Time;
}

/** A store that is kept equal to the cluster. */
export interface Informer<T, Version extends string = string> {
  readonly spec: Pick<InformerSpec<never, T, Version>, 'resource' | 'namespace' | 'name'>;
  readonly store: Store<T>;
  /** Resolves with the first complete list, and when the resource is known not to be served. */
  readonly synced: Promise<void>;
  /** The versions that are served, the preferred one first; undefined while that is not known. */
  versions(): readonly Version[] | undefined;
  /** Whether the API server is known not to serve the resource. The store is empty then, and counts as synced. */
  isMissing(): boolean;
  /** The same, and still while it is served again and its first list has not come: the store is empty then too. */
  isUnlisted(): boolean;
  /** Keeps the store equal to the cluster until the signal is aborted. Never throws. */
  run(signal: AbortSignal): Promise<void>;
}

export function createInformer<Wire, T, Version extends string = string>(
  needs: InformerNeeds,
  spec: InformerSpec<Wire, T, Version>,
): Informer<T, Version> {
  const { discovery, onWatchRestart, ...rest } = needs;
  const { resource, namespace, name, labelSelector, fields, project, indexes, silentAfterMs } = spec;
  const fieldSelector = name === undefined ? spec.fieldSelector : `metadata.name=${name}`;
  const store = createStore<T>({ time: needs.time, ...(indexes && { indexes }) });
  const availability = resource.mayBeMissing && discovery?.find(resource);
  let version = resource.versions[0];
  const isMissing = () => availability?.isMissing() ?? false;
  /** When the store was emptied last because the resource is missing, as lastContact() says it. */
  let emptiedAt: number | undefined;
  function empty(): void {
    store.replace([]);
    emptiedAt = store.lastContact();
  }

  return {
    spec,
    store,
    synced: store.synced,
    versions: () => (availability ? availability.versions() : resource.versions),
    isMissing,
    isUnlisted: () => isMissing() || store.lastContact() === emptiedAt,
    run: (signal) =>
      runReflector<T>(
        {
          ...rest,
          resource: resource.name,
          store,
          fields,
          project: (wire) => project(wire as Wire, version),
          async locate(until) {
            if (availability) {
              const [served] = await availability.whenServed(until, empty);
              if (!served) return undefined;
              version = served;
            }
            return {
              path: resourcePath(resource, version, namespace),
              query: { ...(fieldSelector && { fieldSelector }), ...(labelSelector && { labelSelector }) },
            };
          },
          ...(discovery && { onNotServed: discovery.rediscover }),
          ...(onWatchRestart && { onRestart: (cause) => onWatchRestart(resource.name, cause) }),
          ...(silentAfterMs !== undefined && { silentAfterMs }),
        },
        signal,
      ),
  };
}
