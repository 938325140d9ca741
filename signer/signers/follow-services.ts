import { createServices } from '../identity/services.ts';
import { keysSelected } from '../kube/label-index.ts';
import { allServices } from '../kube/services.ts';
import type { IdentifierNeeds } from './profile.ts';

/** Follows the Services of the cluster, and finds them by the pods that they select. */
export function followServices({ follow, pods }: Pick<IdentifierNeeds, 'follow' | 'pods'>) {
  const informer = follow(allServices, ({ selector }, key) =>
    keysSelected(pods.store, key.slice(0, key.indexOf('/')), selector),
  );
  return { informer, services: createServices(informer.store) };
}
