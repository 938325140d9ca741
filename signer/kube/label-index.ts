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

/** What selects pods by their labels, such as a Service: found by the labels of a pod. */
export interface SelectorIndex<T> {
  set(
    key: string,
    entry: { readonly namespace: string; readonly selector: LabelSelector; readonly object: T },
  ): void;
  delete(key: string): void;
  /** Everything that selects these labels. The cost is the number of objects that require one of the labels. */
  selecting(namespace: string, labels: Labels | undefined): T[];
  readonly size: number;
}

/**
 * An index of objects by a label that their selector requires, so that a pod is compared only with those that name one
 * of its labels, and with those that require none. Of several labels the one that the fewest others are found by is
 * taken: a label that all objects of a team require would find them all.
 *
 * @param namespace of an entry: empty for objects that select in every namespace.
 */
export function createSelectorIndex<T>(): SelectorIndex<T> {
  type Entry = Parameters<SelectorIndex<T>['set']>[1];
  const entries = new Map<string, { readonly entry: Entry; readonly bucket: string }>();
  const buckets = new Map<string, Entry[]>();

  function bucketFor({ namespace, selector }: Entry): string {
    let best = `${namespace}/`;
    let fewest = Number.POSITIVE_INFINITY;
    for (const [key, value] of selector.equal) {
      const name = `${namespace}/${key}=${value}`;
      const size = buckets.get(name)?.length ?? 0;
      if (size < fewest) [best, fewest] = [name, size];
    }
    return best;
  }

  function remove(key: string): void {
    const held = entries.get(key);
    if (!held) return;
    entries.delete(key);
    const bucket = buckets.get(held.bucket);
    bucket?.splice(bucket.indexOf(held.entry), 1);
    if (bucket?.length === 0) buckets.delete(held.bucket);
  }

  return {
    set(key, entry) {
      remove(key);
      const name = bucketFor(entry);
      entries.set(key, { entry, bucket: name });
      const bucket = buckets.get(name);
      if (bucket) bucket.push(entry);
      else buckets.set(name, [entry]);
    },
    delete: remove,
    selecting(namespace, labels = {}) {
      const found: T[] = [];
      const look = (bucket: string) => {
        for (const { selector, object } of buckets.get(bucket) ?? []) {
          if (selects(selector, labels)) found.push(object);
        }
      };
      for (const place of new Set([namespace, ''])) {
        look(`${place}/`);
        for (const name of Object.keys(labels)) look(`${place}/${name}=${labels[name]}`);
      }
      return found;
    },
    get size() {
      return entries.size;
    },
  };
}
