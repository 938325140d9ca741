import { isDeepStrictEqual } from 'node:util';
import { isJsonObject } from '../../spiffe/json.ts';
import type { InformerSpec } from '../kube/informer.ts';
import type { Labels } from '../kube/label-selector.ts';
import type { ApiResource } from '../kube/resources.ts';
import { metadataFields, type Namespace } from '../kube/types.ts';
import { type RegistrationPolicy, readPolicy } from './guard-rails.ts';
import { type Registration, readRegistration } from './registration.ts';
import type { RegistrationKind } from './registration-fields.ts';
import type { TemplateContext } from './registration-grant.ts';

/** The only ClusterRegistrationPolicy that counts. */
export const policyName = 'default';

const resource = (name: string, ours: Pick<ApiResource, 'hasOurStatus' | 'isCreated'>): ApiResource => ({
  group: 'kubespiffe.io',
  versions: ['v1alpha1'],
  name,
  mayBeMissing: true,
  ...ours,
});

/** The status that an object has in the cluster, which decides nothing. */
interface WithStatus {
  readonly status: unknown;
}
export type FollowedRegistration = Registration & WithStatus;
export type FollowedPolicy = RegistrationPolicy & WithStatus;

const statusOf = (wire: unknown) => (isJsonObject(wire) ? wire.status : undefined);
/** The status must not wake the pods that it is about. */
const isSame = <T extends WithStatus>({ status: _, ...one }: T, { status: __, ...other }: T) =>
  isDeepStrictEqual(one, other);

const registrationsOf = (kind: RegistrationKind, name: string, context: TemplateContext) =>
  ({
    resource: resource(name, { hasOurStatus: true }),
    fields: { metadata: { ...metadataFields, generation: true }, spec: true, status: true },
    project: (wire) => ({ ...readRegistration(kind, wire, context), status: statusOf(wire) }),
    isSame,
  }) satisfies InformerSpec<unknown, FollowedRegistration>;

/** Everything that says who gets which name, beside the pods. Resources that an API server does not serve are empty. */
export const registrationSpecs = (context: TemplateContext) => ({
  workload: registrationsOf('WorkloadRegistration', 'workloadregistrations', context),
  cluster: registrationsOf('ClusterWorkloadRegistration', 'clusterworkloadregistrations', context),
  policies: {
    resource: resource('clusterregistrationpolicies', { isCreated: true, hasOurStatus: true }),
    name: policyName,
    fields: { metadata: metadataFields, spec: true, status: true },
    project: (wire) => ({ ...readPolicy(wire), status: statusOf(wire) }),
    isSame,
  } satisfies InformerSpec<unknown, FollowedPolicy>,
  namespaces: {
    resource: { group: '', versions: ['v1'], name: 'namespaces' },
    fields: { metadata: { ...metadataFields, labels: true } },
    project: ({ metadata: { labels } }) => labels ?? {},
  } satisfies InformerSpec<Namespace, Labels>,
});
