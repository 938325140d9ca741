/** Whose key it is. Each namespace has its turn, within it each node. */
export interface Flow {
  readonly namespace: string;
  readonly node: string;
}

interface NodeKeys {
  readonly namespace: NamespaceKeys;
  readonly node: string;
  /** In the order in which they came. */
  readonly keys: Rotation<string>;
}

interface NamespaceKeys {
  readonly name: string;
  readonly nodes: Rotation<NodeKeys>;
}

/**
 * Keys that wait, each once. They are taken from the namespaces in turn, within a namespace from its nodes in turn,
 * and within a node in the order in which they came.
 */
export function createFairLane() {
  const nodeOf = new Map<string, NodeKeys>();
  const namespaces = createRotation<NamespaceKeys>();

  function add(key: string, flow: Flow): void {
    if (nodeOf.has(key)) return;
    let namespace = namespaces.entries.get(flow.namespace);
    if (!namespace) {
      namespace = { name: flow.namespace, nodes: createRotation() };
      namespaces.entries.set(flow.namespace, namespace);
    }
    let node = namespace.nodes.entries.get(flow.node);
    if (!node) {
      node = { namespace, node: flow.node, keys: createRotation() };
      namespace.nodes.entries.set(flow.node, node);
    }
    node.keys.entries.set(key, key);
    nodeOf.set(key, node);
  }

  /** Forgets a key that is no longer in the entries of its node. */
  function removed(key: string, { namespace, node, keys }: NodeKeys): void {
    nodeOf.delete(key);
    if (keys.entries.size > 0) return;
    namespace.nodes.entries.delete(node);
    if (namespace.nodes.entries.size === 0) namespaces.entries.delete(namespace.name);
  }

  /** The next key of a namespace for which `mayTake` is true. */
  function take(mayTake: (namespace: string) => boolean): { key: string; namespace: string } | undefined {
    for (let left = namespaces.entries.size; left > 0; left -= 1) {
      const namespace = firstOf(namespaces);
      if (namespace === undefined) return undefined;
      moveToEnd(namespaces, namespace.name, namespace);
      if (!mayTake(namespace.name)) continue;
      const node = firstOf(namespace.nodes);
      const key = node && firstOf(node.keys);
      if (node === undefined || key === undefined) return undefined;
      moveToEnd(namespace.nodes, node.node, node);
      node.keys.entries.delete(key);
      removed(key, node);
      return { key, namespace: namespace.name };
    }
    return undefined;
  }

  return {
    add,
    has: (key: string) => nodeOf.has(key),
    delete(key: string): void {
      const node = nodeOf.get(key);
      if (!node) return;
      node.keys.entries.delete(key);
      removed(key, node);
    },
    take,
    size: () => nodeOf.size,
  };
}

interface Rotation<T> {
  readonly entries: Map<string, T>;
  /** Every entry lies ahead of it: a new iterator would step over all that were taken before. */
  cursor: MapIterator<T> | undefined;
}

/** Entries in the order in which they were added or moved to the end. */
function createRotation<T>(): Rotation<T> {
  return { entries: new Map(), cursor: undefined };
}

/** The entry that comes first. The caller moves it to the end, or deletes it. */
function firstOf<T>(rotation: Rotation<T>): T | undefined {
  rotation.cursor ??= rotation.entries.values();
  const next = rotation.cursor.next();
  if (!next.done) return next.value;
  rotation.cursor = rotation.entries.values();
  return rotation.cursor.next().value;
}

function moveToEnd<T>(rotation: Rotation<T>, name: string, entry: T): void {
  if (rotation.entries.size === 1) {
    rotation.cursor = undefined;
    return;
  }
  rotation.entries.delete(name);
  rotation.entries.set(name, entry);
}
