import { isDnsName } from '../../spiffe/dns-name.ts';
import { shown } from '../../spiffe/json.ts';
import type { PodFacts, PodReference } from '../kube/pods.ts';
import { cannot } from '../observe/reasons.ts';
import { type Annotations, type Identify, type Identity, identify } from './identify.ts';
import { type NamingPolicy, registeredName } from './registered-name.ts';
import { nameOfRegistration } from './registration.ts';
import type { Registrations } from './registrations.ts';
import { choose, type NamedPod, type Resolution, selectsNamespace, whyNot } from './resolve.ts';

/** The annotation of a podCertificate source that names the registration which is meant. */
export const registrationAnnotation = 'kubespiffe.io/registration';

/** Why the name of a registration in a request can never be right; undefined if it can. */
export function registrationNameProblem(name: string): string | undefined {
  return isDnsName(name) ? undefined : `is ${shown(name)}, which is not the name of a registration`;
}

export interface RegisteredPolicy extends Omit<NamingPolicy, 'policy'> {
  /** What a pod gets that no registration matches. */
  readonly defaultIdentity: 'serviceAccount' | 'none';
  /** Why there are no registrations at all, such as CRDs that are not installed. */
  readonly unserved: () => string | undefined;
}

/**
 * Names pods by their registration, and by default by their ServiceAccount. The one decision for requests, tokens and
 * tools. Pure but for the stores behind the registrations.
 */
export function createIdentify(registrations: Registrations, policy: RegisteredPolicy): Identify {
  return (reference: PodReference, facts: PodFacts, annotations: Annotations): Identity => {
    const pod = registrations.namedPod(reference, facts);
    if (!pod.namespaceLabels && registrations.useNamespaceLabels()) {
      return cannot('PodNotVisible', `the namespace ${pod.namespace} was not seen yet`);
    }
    const excess = registrations.tooMany(pod.namespace);
    if (excess !== undefined) return cannot('IdentityInvalid', excess);
    const wanted = annotations[registrationAnnotation];
    const resolution = choose(registrations.matching(pod), wanted);
    switch (resolution.kind) {
      case 'one':
        return registeredName(resolution.registration, pod, { ...policy, policy: registrations.policy() });
      case 'none':
        if (policy.defaultIdentity === 'serviceAccount') return identify(reference, policy);
        return cannot('NotRegistered', policy.unserved() ?? whatWouldHelp(pod, registrations));
      case 'wait':
        return cannot(resolution.reason, detailOf(resolution, pod, wanted, registrations));
    }
  };
}

function detailOf(
  { reason, detail }: Extract<Resolution, { kind: 'wait' }>,
  pod: NamedPod,
  wanted: string | undefined,
  registrations: Registrations,
): string {
  if (reason === 'RegistrationAmbiguous' || detail !== wanted) return detail;
  const reasons = registrations
    .named(pod.namespace, wanted)
    .map(
      (each) =>
        `${nameOfRegistration(each)}: ${whyNot(each, pod) ?? `its className is ${each.className ?? 'not set'}, which is not this signer's`}`,
    );
  return reasons.length > 0
    ? reasons.join('; ')
    : `there is no ${wanted} in ${pod.namespace} or of the cluster`;
}

const mostHints = 3;
/** Hints are searched in at most so many registrations of the namespace, and in as many of the cluster. */
const mostLooked = 50;

/** Which label or ServiceAccount would make a registration match: first those of the team, then of the cluster. */
function whatWouldHelp(pod: NamedPod, registrations: Registrations): string {
  const hints: string[] = [];
  for (const namespace of [pod.namespace, undefined]) {
    let left = mostLooked;
    for (const registration of registrations.of(namespace)) {
      if (hints.length === mostHints || left === 0) break;
      left -= 1;
      if (!selectsNamespace(registration, pod)) continue;
      hints.push(`${nameOfRegistration(registration)}: ${whyNot(registration, pod)}`);
    }
  }
  return hints.length > 0 ? hints.join('; ') : `there is none for the namespace ${pod.namespace}`;
}
