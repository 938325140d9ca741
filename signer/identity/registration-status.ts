import { conditionsAfter, cutMessage, type StatusCondition } from '../kube/conditions.ts';
import { nameOfRegistration, type Registration } from './registration.ts';
import type { PodOutcome, Tally } from './registration-tally.ts';

/** The status of a registration, as docs/reference/crds.md describes it. */
export interface RegistrationStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly StatusCondition<RegistrationConditionType>[];
  readonly podsSelected: number;
  readonly namesGiven: number;
  readonly failureCount: number;
  readonly failures: readonly { readonly pod: string; readonly reason: string; readonly message: string }[];
}

type RegistrationConditionType = 'Ready' | 'TemplateInvalid' | 'Conflicting';

/** So many pods that get no name are examples. */
const mostExamples = 5;

/**
 * What is to be in the status of a registration. Pure.
 *
 * @param observed the status that it has now, from which times are kept.
 * @param outcomeOf what registrations do for a pod now, by its key.
 * @param now RFC 3339.
 */
export function registrationStatus(
  registration: Registration,
  tally: Tally,
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
  const { failures } = tally;
  const examples: RegistrationStatus['failures'][number][] = [];
  for (const pod of failures.keys()) {
    if (examples.length === mostExamples) break;
    const failure = outcomeOf(pod)?.failure;
    if (failure) examples.push({ pod, reason: failure.reason, message: cutMessage(failure.message) });
  }
  const { generation, grant } = registration;
  const condition = conditionsAfter<RegistrationConditionType>(observed, generation, now);
  const conflict = conflictIn(failures);
  return {
    observedGeneration: generation,
    conditions: [
      condition('Ready', ...readiness(grant, tally, examples[0])),
      grant.ok
        ? condition('TemplateInvalid', false, 'Valid', 'The registration can be used.')
        : condition('TemplateInvalid', true, grant.reason, grant.message),
      conflict
        ? condition('Conflicting', true, 'SamePriority', conflictMessage(conflict, outcomeOf(conflict)))
        : condition('Conflicting', false, 'NoConflict', noConflict),
    ],
    podsSelected: tally.selected,
    namesGiven: tally.named,
    failureCount: failures.size,
    failures: examples,
  };
}

const noConflict = 'No other registration of the same priority matches its pods.';

function readiness(
  grant: Registration['grant'],
  { selected, named, failures }: Tally,
  example: RegistrationStatus['failures'][number] | undefined,
): [isTrue: boolean, reason: string, message: string] {
  if (!grant.ok) return [false, grant.reason, grant.message];
  if (example) {
    const count = `${failures.size} of ${counted(selected)} ${failures.size === 1 ? 'gets' : 'get'} no name`;
    return [false, 'PodsWithoutName', `${count}, for example ${example.pod}: ${example.message}`];
  }
  if (selected === 0) return [true, 'NoPods', 'No running pod matches.'];
  const others = selected - named;
  const rest = `${counted(others)} of those that it selects ${havePods(others)} from another registration.`;
  const given = `${counted(named)} ${havePods(named)} from it.`;
  return [true, 'NamesGiven', others === 0 ? given : `${given} ${rest}`];
}

const counted = (pods: number) => (pods === 1 ? '1 pod' : `${pods} pods`);
const havePods = (pods: number) => (pods === 1 ? 'has its name' : 'have their names');

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
