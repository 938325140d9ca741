import type { PodFacts } from '../kube/pods.ts';
import { type Cannot, cannot } from '../observe/reasons.ts';
import type { PodService, Services } from './services.ts';

/** Most DNS names that are given to one pod. */
export const mostServiceNames = 100;

/** A pod as its Services see it. */
export interface PodOfServices {
  readonly namespace: string;
  readonly facts: Pick<PodFacts, 'labels' | 'hostname' | 'subdomain'>;
}

/** The DNS names of a pod, or why it has none. */
export type ServiceNames =
  | { readonly ok: true; readonly dnsNames: readonly string[] }
  | Cannot<ServiceNamesReason>;

export type ServiceNamesReason = 'NoService' | 'ServiceNotMatching' | 'TooManyNames';

/**
 * The DNS names of the Services that select a pod, as the DNS of Kubernetes has them. Pure but for the stores, and
 * independent of whether the pod is ready: it needs its certificate before.
 *
 * @param domains the domains of Services beside `svc`, such as `svc.cluster.local`.
 * @param chosen names of the only Services that count; undefined for all that select the pod.
 */
export function serviceNames(
  pod: PodOfServices,
  services: Services,
  domains: readonly string[],
  chosen?: readonly string[],
): ServiceNames {
  const { namespace, facts } = pod;
  const found: PodService[] = [];
  for (const name of chosen ?? []) {
    const service = services.find(namespace, name, facts.labels);
    if (typeof service === 'string') return cannot('ServiceNotMatching', `${namespace}/${name}: ${service}`);
    found.push(service);
  }
  if (!chosen) found.push(...services.selecting(namespace, facts.labels));
  if (found.length === 0) return cannot('NoService', labelsOf(facts));
  const dnsNames = found.flatMap((service) => namesFrom(service, pod, domains));
  if (dnsNames.length > mostServiceNames) {
    const detail = `${found.length} Services give ${dnsNames.length} names, and at most ${mostServiceNames} are possible`;
    return cannot('TooManyNames', detail);
  }
  return { ok: true, dnsNames };
}

/** The names that one Service gives to a pod that it selects: its own, and that of the pod in a headless Service. */
export function namesFrom(
  { name, isHeadless }: PodService,
  { namespace, facts: { hostname, subdomain } }: PodOfServices,
  domains: readonly string[],
): string[] {
  const ofPod = isHeadless && hostname !== undefined && subdomain === name;
  const relative = [`${name}.${namespace}`, ...(ofPod ? [`${hostname}.${name}.${namespace}`] : [])];
  return relative.flatMap((each) => ['svc', ...domains].map((domain) => `${each}.${domain}`));
}

function labelsOf({ labels = {} }: PodOfServices['facts']): string {
  const shown = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  if (shown.length === 0) return 'the pod has no labels';
  const some = shown.slice(0, 10).join(', ');
  return `the pod has the labels ${some}${shown.length > 10 ? ` and ${shown.length - 10} others` : ''}`;
}
