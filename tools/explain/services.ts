import { createServices } from '../../signer/identity/services.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import type { ServiceFacts } from '../../signer/kube/services.ts';
import type { Store } from '../../signer/kube/store.ts';
import { type Step, step } from './steps.ts';

/** The Services of the pod's namespace, those that select it first. Pure. */
export function serviceSteps(
  pod: { readonly namespace: string; readonly facts: PodFacts },
  store: Store<ServiceFacts>,
  chosen: readonly string[] | undefined,
): Step[] {
  const services = createServices(store);
  const steps = [...store.keys()].sort().flatMap((key): Step | Step[] => {
    const [namespace = '', name = ''] = key.split('/');
    if (namespace !== pod.namespace) return [];
    const found = services.find(namespace, name, pod.facts.labels);
    const from = `Service ${key}`;
    if (typeof found === 'string') return step(null, 'service', found, from);
    if (chosen && !chosen.includes(name)) {
      return step(null, 'service', `it selects the pod, and the pod asks for ${chosen.join(', ')}`, from);
    }
    return step(true, 'service', `it selects the pod${found.isHeadless ? ' and is headless' : ''}`, from);
  });
  return steps.sort((one, other) => Number(other.ok ?? false) - Number(one.ok ?? false));
}
