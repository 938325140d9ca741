import type { InformerSpec } from '../kube/informer.ts';
import type { Labels } from '../kube/label-selector.ts';
import type { ApiResource } from '../kube/resources.ts';
import { metadataFields, type Namespace } from '../kube/types.ts';
import { type RegistrationPolicy, readPolicy } from './guard-rails.ts';
import { type Registration, type RegistrationKind, readRegistration } from './registration.ts';
import type { TemplateContext } from './registration-grant.ts';

/** The only ClusterRegistrationPolicy that counts. */
export const policyName = 'default';

const resource = (name: string): ApiResource => ({
  group: 'kubespiffe.io',
  versions: ['v1alpha1'],
  name,
  mayBeMissing: true,
});

const registrationsOf = (kind: RegistrationKind, name: string, context: TemplateContext) =>
  ({
    resource: resource(name),
    // Nothing of the status: who writes it must not wake the pods that it is about.
    fields: { metadata: { ...metadataFields, generation: true }, spec: true },
    project: (wire) => readRegistration(kind, wire, context),
  }) satisfies InformerSpec<unknown, Registration>;

/** Everything that says who gets which name, beside the pods. Resources that an API server does not serve are empty. */
export const registrationSpecs = (context: TemplateContext) => ({
  workload: registrationsOf('WorkloadRegistration', 'workloadregistrations', context),
  cluster: registrationsOf('ClusterWorkloadRegistration', 'clusterworkloadregistrations', context),
  policies: {
    resource: resource('clusterregistrationpolicies'),
    name: policyName,
    fields: { metadata: metadataFields, spec: true },
    project: readPolicy,
  } satisfies InformerSpec<unknown, RegistrationPolicy>,
  namespaces: {
    resource: { group: '', versions: ['v1'], name: 'namespaces' },
    fields: { metadata: { ...metadataFields, labels: true } },
    project: ({ metadata: { labels } }) => labels ?? {},
  } satisfies InformerSpec<Namespace, Labels>,
});
