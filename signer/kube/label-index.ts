import { type LabelSelector, type Labels, selects } from './label-selector.ts';
import type { Store } from './store.ts';

/** Labels that Kubernetes sets and that differ for each pod or rollout. Selectors do not use them. */
const notIndexed = new Set([
  'apps.kubernetes.io/pod-index',
  'batch.kubernetes.io/controller-uid',
  'batch.kubernetes.io/job-completion-index',
  'controller-revision-hash',
  'controller-uid',
  'pod-template-hash',
  'statefulset.kubernetes.io/pod-name',
]);

/** The index `label` of a store: values `namespace/key=value` of each label, and `namespace/` for all of a namespace. */
export function labelIndex({ labels = {} }: { readonly labels?: Labels }, key: string): readonly string[] {
  const namespace = key.slice(0, key.indexOf('/') + 1);
  const values = [namespace];
  for (const name in labels) {
    if (!notIndexed.has(name)) values.push(`${namespace}${name}=${labels[name]}`);
  }
  return values;
}

/**
 * Keys of the objects of a namespace that a selector selects. The cost is the number of objects with the first label
 * that the selector requires; without such a label, the number of objects in the namespace.
 *
 * @param store has labelIndex as its index `label`.
 */
export function* keysSelected(
  store: Pick<Store<{ readonly labels?: Labels }>, 'get' | 'keysBy'>,
  namespace: string,
  selector: LabelSelector,
): Generator<string> {
  const required = selector.equal.find(([name]) => !notIndexed.has(name));
  const value = required ? `${namespace}/${required[0]}=${required[1]}` : `${namespace}/`;
  for (const key of store.keysBy('label', value)) {
    const object = store.get(key);
    if (object && selects(selector, object.labels)) yield key;
  }
}

/**
 * An index of what selects pods by their labels, such as Services. It goes by a label that the selector requires, with or
 * without its value, so that a pod is compared only with those that name one of its labels, and with those that require
 * none. If a selector requires several labels, the label with the fewest entries is used: a label that all objects of
 * a team require would find them all.
 *
 * @param namespace of an entry: empty for objects that select in every namespace.
 */
export function createSelectorIndex<T>() {
  type Entry = { readonly namespace: string; readonly selector: LabelSelector; readonly object: T };
  /** By namespace, key and value: strings that a pod has already, so that none is made to look one up. */
  const places = new Map<string, Map<string, Map<string, Set<Entry>>>>();
  const entries = new Map<string, { readonly entry: Entry; readonly key: string; readonly value: string }>();

  function bucketFor({ namespace, selector }: Entry): readonly [key: string, value: string] {
    const present = selector.expressions.find(({ operator }) => operator === 'Exists');
    let best: readonly [string, string] = present ? [present.key, anyValue] : noLabel;
    let fewest = Number.POSITIVE_INFINITY;
    for (const label of selector.equal) {
      const size = places.get(namespace)?.get(label[0])?.get(label[1])?.size ?? 0;
      if (size < fewest) [best, fewest] = [label, size];
    }
    return best;
  }

  function remove(name: string): void {
    const held = entries.get(name);
    if (!held) return;
    entries.delete(name);
    const { entry, key, value } = held;
    const place = places.get(entry.namespace);
    const values = place?.get(key);
    const bucket = values?.get(value);
    bucket?.delete(entry);
    if (bucket?.size === 0) values?.delete(value);
    if (values?.size === 0) place?.delete(key);
    if (place?.size === 0) places.delete(entry.namespace);
  }

  return {
    set(name: string, entry: Entry): void {
      remove(name);
      const [key, value] = bucketFor(entry);
      entries.set(name, { entry, key, value });
      const place = getOrAdd(places, entry.namespace, () => new Map<string, Map<string, Set<Entry>>>());
      getOrAdd(
        getOrAdd(place, key, () => new Map()),
        value,
        () => new Set(),
      ).add(entry);
    },
    delete: remove,
    /** Everything that selects these labels. The cost is the number of objects that require one of the labels. */
    selecting(namespace: string, labels: Labels = {}): T[] {
      const found: T[] = [];
      const look = (bucket?: ReadonlySet<Entry>) => {
        for (const { selector, object } of bucket ?? []) if (selects(selector, labels)) found.push(object);
      };
      for (const name of namespace === '' ? [''] : [namespace, '']) {
        const place = places.get(name);
        if (!place) continue;
        look(place.get(noLabel[0])?.get(noLabel[1]));
        for (const key of Object.keys(labels)) {
          const values = place.get(key);
          look(values?.get(labels[key] as string));
          look(values?.get(anyValue));
        }
      }
      return found;
    },
    get size() {
      return entries.size;
    },
  };
}

/** The entry of selectors that require no label. A real label has a key. */
const noLabel = ['', ''] as const;
/** Stands for any value of a required label. No value has such a character. */
const anyValue = '*';

function getOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
