import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import { explainChoice } from '../../signer/identity/resolve.ts';
import type { Labels } from '../../signer/kube/label-selector.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import type { Store } from '../../signer/kube/store.ts';
import type { Step } from './steps.ts';

/** The registrations that were looked at for a pod, the one that counts first. Pure. */
export function registrationSteps(
  pod: { readonly namespace: string; readonly name: string; readonly facts: PodFacts },
  stores: {
    readonly workload: Store<Registration>;
    readonly cluster: Store<Registration>;
    readonly namespaces: Store<Labels>;
  },
  choice: { readonly wanted?: string | undefined; readonly className?: string | undefined },
): Step[] {
  const { wanted, className } = choice;
  const { considered, resolution } = explainChoice(
    [...stores.workload.values(), ...stores.cluster.values()],
    { ...pod, namespaceLabels: stores.namespaces.get(pod.namespace) },
    { ...(wanted !== undefined && { wanted }), ...(className !== undefined && { className }) },
  );
  const steps = considered.map(({ registration, why }): Step => {
    const isChosen = resolution.kind === 'one' && resolution.registration === registration;
    const name = nameOfRegistration(registration);
    return {
      ok: isChosen ? true : null,
      what: 'registration',
      fact: isChosen ? `${name} matches, with priority ${registration.priority}` : `${name}: ${why}`,
      from: `${registration.kind} ${name}`,
    };
  });
  return steps.sort((one, other) => Number(other.ok ?? false) - Number(one.ok ?? false));
}
