import { createSelectorIndex } from '../kube/label-index.ts';
import { type Labels, mismatch } from '../kube/label-selector.ts';
import type { ServiceFacts } from '../kube/services.ts';
import type { Store } from '../kube/store.ts';

/** A Service that selects a pod. */
export interface PodService {
  readonly name: string;
  readonly isHeadless: boolean;
}

/**
 * The Services of the cluster, found by the pods that they select, which is decided by selectors and labels as Kubernetes
 * decides it. EndpointSlices would not do: a pod has no address before its volumes are mounted, so no EndpointSlice has it
 * when it needs its first certificate. An EndpointSlice that a tenant writes by hand could name any pod.
 *
 * @param store what it has now and later is indexed. Tools fill one from a list.
 */
export function createServices(store: Pick<Store<ServiceFacts>, 'get' | 'keys' | 'subscribe'>) {
  const index = createSelectorIndex<PodService>();
  const add = (key: string, { selector, isHeadless }: ServiceFacts) => {
    const [namespace = '', name = ''] = key.split('/');
    index.set(key, { namespace, selector, object: { name, isHeadless } });
  };
  for (const key of store.keys()) {
    const service = store.get(key);
    if (service) add(key, service);
  }
  store.subscribe(({ type, key, object }) => {
    if (type === 'set') add(key, object);
    else index.delete(key);
  });

  return {
    /** Those that select a pod with these labels, by name. */
    selecting: (namespace: string, labels: Labels | undefined): readonly PodService[] =>
      index.selecting(namespace, labels).sort((one, other) => (one.name < other.name ? -1 : 1)),
    /** One of them, or why it does not select the pod. */
    find(namespace: string, name: string, labels: Labels | undefined): PodService | string {
      const service = store.get(`${namespace}/${name}`);
      if (!service) return 'there is no such Service with a selector';
      return mismatch(service.selector, labels) ?? { name, isHeadless: service.isHeadless };
    },
  };
}

export type Services = ReturnType<typeof createServices>;
