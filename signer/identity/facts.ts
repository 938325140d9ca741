import { isDeepStrictEqual } from 'node:util';
import type { Labels } from '../kube/label-selector.ts';
import type { PodFacts } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';

/** What identities depend on. */
export interface Facts {
  /** Calls the listener with the key of a pod (`namespace/name`) when something changed that its identity depends on. */
  onChange(listener: (podKey: string) => void): void;
}

/** The facts that stand in the pod itself. */
export function podFacts(pods: Pick<Store<PodFacts>, 'subscribe'>): Facts {
  return {
    onChange(listener) {
      pods.subscribe(({ type, key, object, previous }) => {
        if (type === 'set' && previous && haveSameIdentity(object, previous)) return;
        listener(key);
      });
    },
  };
}

/**
 * The facts in other objects, such as Services.
 *
 * @param podsOf keys of the pods whose identity may depend on an object; asked before and after each change.
 * @param isSame whether an object is the same for identities.
 */
export function factsOf<T>(
  objects: Pick<Store<T>, 'subscribe'>,
  podsOf: (object: T, key: string) => Iterable<string>,
  isSame: (one: T, other: T) => boolean = isDeepStrictEqual,
): Facts {
  return {
    onChange(listener) {
      objects.subscribe(({ type, key, object, previous }) => {
        // Most changes of an object are not in what we keep of it, and after each list all objects are set again.
        if (type === 'set' && previous !== undefined && isSame(object, previous)) return;
        const before = previous === undefined ? [] : podsOf(previous, key);
        for (const podKey of new Set([...before, ...podsOf(object, key)])) listener(podKey);
      });
    },
  };
}

export function joinFacts(all: readonly Facts[]): Facts {
  return {
    onChange(listener) {
      for (const facts of all) facts.onChange(listener);
    },
  };
}

/** Most changes of a pod do not matter to us, and some never end. */
function haveSameIdentity(one: PodFacts, other: PodFacts): boolean {
  return (
    one.uid === other.uid &&
    one.serviceAccountName === other.serviceAccountName &&
    one.nodeName === other.nodeName &&
    one.finished === other.finished &&
    one.hostname === other.hostname &&
    one.subdomain === other.subdomain &&
    areEqual(one.labels, other.labels) &&
    areEqual(one.annotations, other.annotations)
  );
}

function areEqual(one: Labels = {}, other: Labels = {}): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
