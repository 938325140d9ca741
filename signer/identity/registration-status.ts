import { type StatusCondition, transitionsIn } from '../kube/conditions.ts';
import { nameOfRegistration, type Registration } from './registration.ts';
import type { PodOutcome, Tally } from './registration-tally.ts';

/** The status of a registration, as docs/reference/crds.md describes it. */
export interface RegistrationStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly RegistrationCondition[];
  readonly podsSelected: number;
  readonly namesGiven: number;
  readonly failureCount: number;
  readonly failures: readonly { readonly pod: string; readonly reason: string; readonly message: string }[];
}

export type RegistrationCondition = StatusCondition<'Ready' | 'TemplateInvalid' | 'Conflicting'>;

/** So many pods that get no name are examples. */
const mostExamples = 5;
/** A message names up to five registrations, and a registration has a name of up to 253 characters. */
const longestMessage = 1024;

/**
 * What is to be in the status of a registration. Pure.
 *
 * @param observed the status that it has now, from which times are kept.
 * @param outcomeOf what registrations do for a pod now, by its key.
 * @param now RFC 3339.
 */
export function registrationStatus(
  registration: Registration,
  { selected, named, failures }: Tally,
  {
    observed,
    outcomeOf,
    now,
  }: {
    readonly observed: unknown;
    readonly outcomeOf: (podKey: string) => PodOutcome | undefined;
    readonly now: string;
  },
): RegistrationStatus {
  const examples: RegistrationStatus['failures'][number][] = [];
  for (const pod of failures.keys()) {
    if (examples.length === mostExamples) break;
    const failure = outcomeOf(pod)?.failure;
    if (failure) examples.push({ pod, reason: failure.reason, message: cut(failure.message) });
  }
  const times = transitionsIn(observed);
  const { generation } = registration;
  const condition = (
    type: RegistrationCondition['type'],
    status: RegistrationCondition['status'],
    reason: string,
    message: string,
  ): RegistrationCondition => {
    const lastTransitionTime = times.get(`${type}=${status}`) ?? now;
    return {
      type,
      status,
      reason,
      message: cut(message),
      observedGeneration: generation,
      lastTransitionTime,
    };
  };
  const { grant } = registration;
  const conflict = conflictIn(failures);
  return {
    observedGeneration: generation,
    conditions: [
      readiness(),
      grant.ok
        ? condition('TemplateInvalid', 'False', 'Valid', 'The registration can be used.')
        : condition('TemplateInvalid', 'True', grant.reason, grant.message),
      conflict
        ? condition('Conflicting', 'True', 'SamePriority', conflictMessage(conflict, outcomeOf(conflict)))
        : condition(
            'Conflicting',
            'False',
            'NoConflict',
            'No other registration of the same priority matches its pods.',
          ),
    ],
    podsSelected: selected,
    namesGiven: named,
    failureCount: failures.size,
    failures: examples,
  };

  function readiness(): RegistrationCondition {
    if (!grant.ok) return condition('Ready', 'False', grant.reason, grant.message);
    const [first] = examples;
    if (first) {
      const count = `${failures.size} of ${counted(selected)} ${failures.size === 1 ? 'gets' : 'get'} no name`;
      return condition(
        'Ready',
        'False',
        'PodsWithoutName',
        `${count}, for example ${first.pod}: ${first.message}`,
      );
    }
    if (selected === 0) return condition('Ready', 'True', 'NoPods', 'No running pod matches.');
    const others = selected - named;
    const rest =
      others === 0
        ? ''
        : ` ${counted(others)} of those that it selects ${havePods(others)} from another registration.`;
    return condition('Ready', 'True', 'NamesGiven', `${counted(named)} ${havePods(named)} from it.${rest}`);
  }
}

const counted = (pods: number) => (pods === 1 ? '1 pod' : `${pods} pods`);
const havePods = (pods: number) => (pods === 1 ? 'has its name' : 'have their names');
const cut = (message: string) =>
  message.length > longestMessage ? `${message.slice(0, longestMessage - 1)}…` : message;

/** A pod that several registrations of the same priority match. */
function conflictIn(failures: Tally['failures']): string | undefined {
  for (const [pod, reason] of failures) if (reason === 'RegistrationAmbiguous') return pod;
  return undefined;
}

function conflictMessage(pod: string, outcome: PodOutcome | undefined): string {
  const others = outcome?.failure?.of.map(nameOfRegistration).sort() ?? [];
  return (
    `${pod} is matched with the same priority by ${others.slice(0, mostExamples).join(', ')}. Such pods wait, unless they ` +
    'name one in kubespiffe.io/registration of the userAnnotations of the podCertificate source. Change a priority or a selector.'
  );
}
