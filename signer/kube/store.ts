import { messageOf } from '../../spiffe/errors.ts';
import type { Time } from './time.ts';

/** One change of a store. For a deletion, `object` is the deleted one. */
export interface Change<T> {
  readonly type: 'set' | 'delete';
  readonly key: string;
  readonly object: T;
  readonly previous: T | undefined;
}

/**
 * The objects of a resource as a reflector knows them: projections by key (`namespace/name`, or `name` for
 * cluster-scoped objects) and by named indexes. A read is synchronous and costs a lookup in a Map.
 */
export interface Store<T> {
  get(key: string): T | undefined;
  /** All objects with this value in the index; empty for an unknown value or index. */
  by(index: string, value: string): readonly T[];
  /** The keys of these objects. */
  keysBy(index: string, value: string): Iterable<string>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<T>;
  readonly size: number;
  /** Replaces the content: deletes what is not in the list and sets the rest. The store is synced from then on. */
  replace(items: Iterable<readonly [key: string, object: T]>): void;
  set(key: string, object: T): void;
  delete(key: string): void;
  /** Notes contact with the server without a change (a bookmark, an event about an object that we do not keep). */
  touch(): void;
  /**
   * Calls the listener after each change. If a listener throws, the change stays, the other
   * listeners and changes follow, and replace(), set() or delete() throws at its end.
   *
   * @returns a function that ends it.
   */
  subscribe(listener: (change: Change<T>) => void): () => void;
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>;
  isSynced(): boolean;
  /** Monotonic milliseconds of the last event, bookmark or list; -Infinity before the first. */
  lastContact(): number;
}

export interface StoreOptions<T> {
  /** Named functions that return an object's value in that index, or several, or undefined to leave it out. */
  indexes?: Readonly<Record<string, IndexedBy<T>>>;
  time: Time;
}

export type IndexedBy<T> = (object: T, key: string) => string | readonly string[] | undefined;

export function createStore<T>(options: StoreOptions<T>): Store<T> {
  const { monotonic } = options.time;
  const objects = new Map<string, T>();
  const listeners = new Set<(change: Change<T>) => void>();
  const indexes = new Map(
    Object.entries(options.indexes ?? {}).map(([name, indexedBy]) => [name, createIndex(indexedBy)] as const),
  );
  const { promise: synced, resolve: markSynced } = Promise.withResolvers<void>();
  let isSynced = false;
  let lastContact = Number.NEGATIVE_INFINITY;

  let failures: unknown[] = [];

  function notify(change: Change<T>): void {
    for (const listener of listeners) {
      try {
        listener(change);
      } catch (error) {
        failures.push(error);
      }
    }
  }

  /** Throws what listeners threw since the last call. */
  function throwFailures(): void {
    if (failures.length === 0) return;
    const [first] = failures;
    const what = `${failures.length} calls of a listener failed, the first with: ${messageOf(first)}`;
    failures = [];
    throw new Error(what, { cause: first });
  }

  function put(key: string, object: T): void {
    const previous = objects.get(key);
    objects.set(key, object);
    for (const index of indexes.values()) index.move(key, previous, object);
    notify({ type: 'set', key, object, previous });
  }

  function remove(key: string): void {
    const object = objects.get(key);
    if (object === undefined) return;
    objects.delete(key);
    for (const index of indexes.values()) index.move(key, object, undefined);
    notify({ type: 'delete', key, object, previous: object });
  }

  return {
    get: (key) => objects.get(key),
    by(name, value) {
      const found: T[] = [];
      for (const key of indexes.get(name)?.keys(value) ?? []) {
        const object = objects.get(key);
        if (object !== undefined) found.push(object);
      }
      return found;
    },
    keysBy: (name, value) => indexes.get(name)?.keys(value) ?? [],
    keys: () => objects.keys(),
    values: () => objects.values(),
    get size() {
      return objects.size;
    },
    replace(items) {
      lastContact = monotonic();
      const next = new Map(items);
      for (const key of [...objects.keys()]) {
        if (!next.has(key)) remove(key);
      }
      for (const [key, object] of next) put(key, object);
      isSynced = true;
      markSynced();
      throwFailures();
    },
    set(key, object) {
      lastContact = monotonic();
      put(key, object);
      throwFailures();
    },
    delete(key) {
      lastContact = monotonic();
      remove(key);
      throwFailures();
    },
    touch() {
      lastContact = monotonic();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    synced,
    isSynced: () => isSynced,
    lastContact: () => lastContact,
  };
}

function createIndex<T>(indexedBy: IndexedBy<T>) {
  // Most values have only one key (a pod has one open request). It is held without a Set to save memory.
  const keysByValue = new Map<string, string | Set<string>>();

  function add(value: string, key: string): void {
    const held = keysByValue.get(value);
    if (held === undefined || held === key) keysByValue.set(value, key);
    else if (typeof held === 'string') keysByValue.set(value, new Set([held, key]));
    else held.add(key);
  }

  function drop(value: string, key: string): void {
    const held = keysByValue.get(value);
    if (held === key) keysByValue.delete(value);
    else if (held instanceof Set) {
      held.delete(key);
      if (held.size === 0) keysByValue.delete(value);
    }
  }

  return {
    keys(value: string): Iterable<string> {
      const held = keysByValue.get(value);
      if (held === undefined) return [];
      return typeof held === 'string' ? [held] : held;
    },
    move(key: string, from: T | undefined, to: T | undefined): void {
      const before = valuesOf(from, key);
      const after = valuesOf(to, key);
      for (const value of before) if (!after.includes(value)) drop(value, key);
      for (const value of after) if (!before.includes(value)) add(value, key);
    },
  };

  function valuesOf(object: T | undefined, key: string): readonly string[] {
    const values = object === undefined ? undefined : indexedBy(object, key);
    if (values === undefined) return none;
    return typeof values === 'string' ? [values] : values;
  }
}

const none: readonly string[] = [];
