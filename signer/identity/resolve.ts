import { type Labels, mismatch, selects } from '../kube/label-selector.ts';
import type { PodFacts } from '../kube/pods.ts';
import { nameOfRegistration, type Registration } from './registration.ts';

/** The pod that is to be named, as registrations see it. */
export interface NamedPod {
  readonly namespace: string;
  readonly name: string;
  readonly facts: PodFacts;
  /** Undefined while the namespace was not seen. */
  readonly namespaceLabels: Labels | undefined;
}

/** Which registration counts for a pod. */
export type Resolution =
  | { readonly kind: 'one'; readonly registration: Registration }
  /** No registration matches. */
  | { readonly kind: 'none' }
  | {
      readonly kind: 'wait';
      readonly reason: 'RegistrationAmbiguous' | 'RegistrationNotMatching';
      readonly detail: string;
      /** Those that match with the same priority. */
      readonly among: readonly Registration[];
    };

/** Whether a registration is for a pod. Pure. */
export function matches(registration: Registration, pod: NamedPod): boolean {
  const { namespace, selection } = registration;
  if (!selection || (namespace !== undefined && namespace !== pod.namespace)) return false;
  const { pods, serviceAccounts } = selection;
  const { facts } = pod;
  return (
    selects(pods, facts.labels) &&
    (serviceAccounts?.includes(facts.serviceAccountName) ?? true) &&
    selectsNamespace(registration, pod)
  );
}

/** Whether a registration says nothing about namespaces, or selects that of the pod. */
export function selectsNamespace({ selection }: Registration, { namespaceLabels }: NamedPod): boolean {
  const namespaces = selection?.namespaces;
  return namespaces === undefined || (namespaceLabels !== undefined && selects(namespaces, namespaceLabels));
}

/** Why a registration is not for a pod; undefined if it is. For people. */
export function whyNot(registration: Registration, pod: NamedPod): string | undefined {
  if (matches(registration, pod)) return undefined;
  const { namespace, selection, grant } = registration;
  if (!selection) return grant.ok ? 'it selects no pods' : `it cannot be read: ${grant.message}`;
  if (namespace !== undefined && namespace !== pod.namespace)
    return `it is for pods of the namespace ${namespace}`;
  const { pods, namespaces, serviceAccounts } = selection;
  const { facts, namespaceLabels } = pod;
  const ofPod = mismatch(pods, facts.labels);
  if (ofPod !== undefined) return ofPod;
  if (serviceAccounts && !serviceAccounts.includes(facts.serviceAccountName)) {
    return `the ServiceAccount of the pod is ${facts.serviceAccountName}, not ${some(serviceAccounts, ' or ')}`;
  }
  if (!namespaces || !namespaceLabels) return `the namespace ${pod.namespace} was not seen yet`;
  return mismatch(namespaces, namespaceLabels, `the namespace ${pod.namespace}`);
}

/**
 * Which of the registrations that match a pod counts: one that is no fallback, the one that was asked for, that of the
 * highest priority. A choice never leads below a registration of the cluster: its author limits what teams may do. Pure.
 *
 * @param matching all that match, in any order. @param wanted name of the registration that a request asks for.
 */
export function choose(matching: readonly Registration[], wanted?: string): Resolution {
  const regular = matching.filter(({ isFallback }) => !isFallback);
  const counting = regular.length > 0 ? regular : matching;
  const floor = highestPriority(counting.filter(({ namespace }) => namespace === undefined));
  const eligible =
    wanted === undefined
      ? counting
      : counting.filter(({ name, priority }) => name === wanted && priority >= floor);
  if (eligible.length === 0) {
    if (wanted === undefined) return { kind: 'none' };
    const detail = whyNotEligible(matching, counting, wanted);
    return { kind: 'wait', reason: 'RegistrationNotMatching', detail, among: [] };
  }
  const highest = highestPriority(eligible);
  const best = eligible.filter(({ priority }) => priority === highest);
  const [registration] = best;
  if (registration && best.length === 1) return { kind: 'one', registration };
  return { kind: 'wait', reason: 'RegistrationAmbiguous', detail: listed(best), among: best };
}

const highestPriority = (registrations: readonly Registration[]): number =>
  registrations.reduce((most, { priority }) => Math.max(most, priority), Number.NEGATIVE_INFINITY);

function whyNotEligible(
  matching: readonly Registration[],
  counting: readonly Registration[],
  wanted: string,
): string {
  const found = matching.find(({ name }) => name === wanted);
  if (!found) return wanted;
  const own = nameOfRegistration(found);
  if (!counting.includes(found)) return `${own} is a fallback, and ${listed(counting)} matches the pod`;
  const higher = counting.filter(
    ({ namespace, priority }) => namespace === undefined && priority > found.priority,
  );
  return `the priority of ${own} is lower than that of ${listed(higher)}, a ClusterWorkloadRegistration that matches the pod`;
}

const mostListed = 5;

/** Names for a sentence, in an order that does not change. */
function listed(registrations: readonly Registration[]): string {
  const first: string[] = [];
  // Not all are sorted: there may be thousands, and this is done for each request.
  for (const name of registrations.map(nameOfRegistration)) {
    if (first.length === mostListed && name > (first.at(-1) ?? '')) continue;
    first.push(name);
    first.sort().splice(mostListed);
  }
  return some(first, ', ', registrations.length);
}

/** The first of some names, since their author decides how many there are. */
function some(names: readonly string[], separator: string, count = names.length): string {
  const others = count - mostListed;
  return names.slice(0, mostListed).join(separator) + (others > 0 ? ` and ${others} others` : '');
}

/** A registration that was looked at for a pod, and why it does not count; undefined for the one that does. */
export interface Considered {
  readonly registration: Registration;
  readonly why: string | undefined;
}

/**
 * The same decision with everything that led to it, for people. Looks at each registration. Pure.
 *
 * @param className of the signer: registrations of other classes do not count.
 */
export function explainChoice(
  registrations: Iterable<Registration>,
  pod: NamedPod,
  { wanted, className }: { readonly wanted?: string; readonly className?: string } = {},
): { readonly resolution: Resolution; readonly considered: readonly Considered[] } {
  const looked = [...registrations].map((registration) => ({
    registration,
    why: otherClass(registration, className) ?? whyNot(registration, pod),
  }));
  const matching = looked.filter(({ why }) => why === undefined).map(({ registration }) => registration);
  const resolution = choose(matching, wanted);
  const considered = looked.map(({ registration, why }) => ({
    registration,
    why: why ?? whyNotChosen(registration, resolution, wanted),
  }));
  return { resolution, considered };
}

/** Why a registration is left to another signer; undefined if it is this one's. */
export function otherClass({ className }: Registration, own: string | undefined): string | undefined {
  if (className === own) return undefined;
  const theirs = className === undefined ? 'it has no className' : `its className is ${className}`;
  return `${theirs}, and this signer reads ${own === undefined ? 'those without one' : own}`;
}

function whyNotChosen(registration: Registration, resolution: Resolution, wanted: string | undefined) {
  if (resolution.kind === 'wait') return `it matches, but: ${resolution.reason} (${resolution.detail})`;
  if (resolution.kind === 'none' || resolution.registration === registration) return undefined;
  const chosen = nameOfRegistration(resolution.registration);
  if (registration.isFallback && !resolution.registration.isFallback) {
    return `it is a fallback, and ${chosen} matches`;
  }
  if (wanted !== undefined && registration.name !== wanted) return `the request asks for ${wanted}`;
  return `its priority is ${registration.priority}, and that of ${chosen} is ${resolution.registration.priority}`;
}
