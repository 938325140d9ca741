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

/** Most changes of a pod do not matter to us, and some never end. */
function haveSameIdentity(one: PodFacts, other: PodFacts): boolean {
  return (
    one.uid === other.uid &&
    one.serviceAccountName === other.serviceAccountName &&
    one.nodeName === other.nodeName &&
    one.finished === other.finished
  );
}
