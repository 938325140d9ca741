import { nameOfRegistration, type Registration } from '../../signer/identity/registration.ts';
import { explainChoice } from '../../signer/identity/resolve.ts';
import type { Labels } from '../../signer/kube/label-selector.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import type { Store } from '../../signer/kube/store.ts';
import type { SignerSettings } from '../cluster/signer-settings.ts';
import { type Step, step } from './steps.ts';

/** The registrations that a signer looks at for a pod, and those that decide: one gives the name, several prevent it. */
export interface LookedRegistrations {
  readonly steps: readonly Step[];
  readonly deciding: readonly Registration[];
}

/** The registrations of a pod, and what follows where none counts. Pure. */
export function registrationSteps(
  pod: { readonly namespace: string; readonly name: string; readonly facts: PodFacts },
  stores: {
    readonly workload: Pick<Store<Registration>, 'values'>;
    readonly cluster: Pick<Store<Registration>, 'values'>;
    readonly namespaces: Pick<Store<Labels>, 'get'>;
  },
  wanted: string | undefined,
  { config, from }: SignerSettings,
): LookedRegistrations {
  const { registrationClass, defaultIdentity } = config;
  const { considered, resolution } = explainChoice(
    [...stores.workload.values(), ...stores.cluster.values()],
    { ...pod, namespaceLabels: stores.namespaces.get(pod.namespace) },
    {
      ...(wanted !== undefined && { wanted }),
      ...(registrationClass !== undefined && { className: registrationClass }),
    },
  );
  const chosen = resolution.kind === 'one' ? resolution.registration : undefined;
  const among = resolution.kind === 'wait' ? resolution.among : [];
  const steps = considered.map(({ registration, why }) => {
    const ok = registration === chosen || (among.includes(registration) ? false : null);
    const fact = why ?? `it matches, with priority ${registration.priority}`;
    return step(ok, 'registration', fact, `${registration.kind} ${nameOfRegistration(registration)}`);
  });
  steps.sort((one, other) => rank(one) - rank(other));
  if (resolution.kind !== 'none') return { steps, deciding: chosen ? [chosen] : among };
  const isDefault = defaultIdentity === 'serviceAccount';
  const fact = isDefault ? 'none matches, so the default identity counts' : 'none matches';
  const setting = `setting defaultIdentity=${defaultIdentity} of ${from}`;
  return { steps: [step(isDefault, 'registration', fact, setting), ...steps], deciding: [] };
}

/** What counts comes first, then what stands in its way. */
const rank = ({ ok }: Step) => (ok ? 0 : ok === false ? 1 : 2);
