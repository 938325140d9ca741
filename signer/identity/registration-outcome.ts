import type { PodFacts } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';
import { explain } from '../observe/reasons.ts';
import { type NamingPolicy, registeredName } from './registered-name.ts';
import type { PodOutcome } from './registration-tally.ts';
import type { Registrations } from './registrations.ts';
import { choose } from './resolve.ts';

/**
 * What registrations do for a pod that chooses none, by its key: the same decision as for its requests, with all the
 * registrations that took part. Undefined for a pod that is gone or finished.
 */
export function outcomeOfPod(
  registrations: Registrations,
  pods: Pick<Store<PodFacts>, 'get'>,
  policy: Omit<NamingPolicy, 'policy'>,
): (podKey: string) => PodOutcome | undefined {
  return (podKey) => {
    const facts = pods.get(podKey);
    if (!facts || facts.finished) return undefined;
    const [namespace = '', podName = ''] = podKey.split('/');
    const pod = registrations.namedPod({ namespace, podName }, facts);
    const selectedBy = registrations.matching(pod);
    const resolution = choose(selectedBy);
    if (resolution.kind === 'none') return { selectedBy };
    if (resolution.kind === 'wait') {
      const { among: of, reason, detail } = resolution;
      return { selectedBy, failure: { of, reason, message: explain(reason, detail) } };
    }
    const { registration } = resolution;
    const identity = registeredName(registration, pod, { ...policy, policy: registrations.policy() });
    if (identity.ok) return { selectedBy, namedBy: registration };
    const { reason, detail } = identity;
    return { selectedBy, failure: { of: [registration], reason, message: explain(reason, detail) } };
  };
}
