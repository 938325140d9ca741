import type { InformerSpec } from './informer.ts';
import type { LabelSelector } from './label-selector.ts';
import { metadataFields, type Service } from './types.ts';

/** What we keep of a Service: which pods it selects, and whether DNS names each of them. */
export interface ServiceFacts {
  readonly selector: LabelSelector;
  /** Whether it has no cluster IP. DNS then has a name for each of its pods that has a hostname. */
  readonly isHeadless: boolean;
}

/** Undefined for a Service that selects no pods: one without a selector, and an ExternalName Service. */
export function toServiceFacts({ spec }: Service): ServiceFacts | undefined {
  const equal = Object.entries(spec?.selector ?? {});
  if (equal.length === 0 || spec?.type === 'ExternalName') return undefined;
  return { selector: { equal, expressions: [] }, isHeadless: spec?.clusterIP === 'None' };
}

/** All Services of the cluster that select pods. */
export const allServices: InformerSpec<Service, ServiceFacts> = {
  resource: { group: '', versions: ['v1'], name: 'services' },
  fields: { metadata: metadataFields, spec: { type: true, clusterIP: true, selector: true } },
  project: toServiceFacts,
};
