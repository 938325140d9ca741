import type { InformerSpec } from '../kube/informer.ts';
import type { ObjectMeta } from '../kube/types.ts';

/** The name of the ValidatingAdmissionPolicy of manifests/base, and of its binding. */
export const admissionPolicyName = 'kubespiffe-requests-from-nodes-only';

/** What the policy's one match condition and one validation say. A test holds manifests/base to both. */
const signersExpression = "object.spec.signerName.startsWith('kubespiffe.io/')";
const nodesExpression =
  "request.userInfo.username.startsWith('system:node:') && " +
  "has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups";

interface Selector {
  readonly matchLabels?: object;
  readonly matchExpressions?: readonly object[];
}

interface MatchResources {
  readonly resourceRules?: readonly ResourceRule[];
  readonly excludeResourceRules?: readonly ResourceRule[];
  readonly namespaceSelector?: Selector;
  readonly objectSelector?: Selector;
  readonly matchPolicy?: string;
}

interface ResourceRule {
  readonly apiGroups?: readonly string[];
  readonly apiVersions?: readonly string[];
  readonly resources?: readonly string[];
  readonly operations?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly scope?: string;
}

/** The part of admissionregistration.k8s.io/v1 that decides which requests are refused. */
export interface AdmissionPolicy {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly failurePolicy?: string;
    readonly paramKind?: object;
    readonly matchConstraints?: MatchResources;
    readonly matchConditions?: readonly { readonly expression: string }[];
    readonly validations?: readonly { readonly expression: string }[];
  };
}

export interface AdmissionPolicyBinding {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly policyName?: string;
    readonly paramRef?: object;
    readonly matchResources?: MatchResources;
    readonly validationActions?: readonly string[];
  };
}

/** The policy and its binding, and no others: the right to list and watch them is restricted to the name as well. */
const ofOurName = {
  name: admissionPolicyName,
  fields: true,
  project: <T>(object: T) => object,
} as const;
const admissionregistration = { group: 'admissionregistration.k8s.io', versions: ['v1'] } as const;
export const admissionPolicies: InformerSpec<AdmissionPolicy, AdmissionPolicy> = {
  ...ofOurName,
  resource: { ...admissionregistration, name: 'validatingadmissionpolicies' },
};
export const admissionPolicyBindings: InformerSpec<AdmissionPolicyBinding, AdmissionPolicyBinding> = {
  ...ofOurName,
  resource: { ...admissionregistration, name: 'validatingadmissionpolicybindings' },
};

/**
 * Why these two do not prevent clients other than nodes from creating requests for our signers; undefined when they do. A policy
 * that refuses more than ours is good: further validations, a wider match. Texts that people read are not compared, and
 * neither are fields that this version does not know: a newer API server may fill some in. Pure.
 */
export function admissionPolicyProblem(
  policy: AdmissionPolicy | undefined,
  binding: AdmissionPolicyBinding | undefined,
): string | undefined {
  const policyTitle = `ValidatingAdmissionPolicy ${admissionPolicyName}`;
  const bindingTitle = `ValidatingAdmissionPolicyBinding ${admissionPolicyName}`;
  if (!policy) return `${policyTitle} does not exist`;
  if (!binding) return `${bindingTitle} does not exist`;
  const ofPolicy = problemOfPolicy(policy.spec ?? {});
  if (ofPolicy !== undefined) return `${policyTitle} ${ofPolicy}`;
  const ofBinding = problemOfBinding(binding.spec ?? {});
  return ofBinding === undefined ? undefined : `${bindingTitle} ${ofBinding}`;
}

function problemOfPolicy(spec: NonNullable<AdmissionPolicy['spec']>): string | undefined {
  const { failurePolicy = 'Fail', matchConstraints = {}, matchConditions = [], validations = [] } = spec;
  if (failurePolicy !== 'Fail') return `has failurePolicy ${failurePolicy}, not Fail`;
  if (spec.paramKind) return 'depends on parameters (paramKind)';
  const narrowing = narrowingIn(matchConstraints);
  if (narrowing !== undefined) return `leaves requests out (matchConstraints.${narrowing})`;
  if (!matchConstraints.resourceRules?.some(coversRequests))
    return 'has no resourceRule for CREATE of podcertificaterequests in v1 and v1beta1';
  const other = matchConditions.find(({ expression }) => expression !== signersExpression);
  if (other) return 'has a matchCondition that is not the one of this version';
  if (!validations.some(({ expression }) => expression === nodesExpression))
    return 'lacks the validation of this version';
  return undefined;
}

function problemOfBinding(spec: NonNullable<AdmissionPolicyBinding['spec']>): string | undefined {
  const { policyName, matchResources = {}, validationActions = [] } = spec;
  if (policyName !== admissionPolicyName) return `is of the policy ${policyName}`;
  if (spec.paramRef) return 'depends on parameters (paramRef)';
  const narrowing = matchResources.resourceRules?.length ? 'resourceRules' : narrowingIn(matchResources);
  if (narrowing !== undefined) return `leaves requests out (matchResources.${narrowing})`;
  if (!validationActions.includes('Deny'))
    return `has validationActions ${JSON.stringify(validationActions)}, without Deny`;
  return undefined;
}

/** The field that may leave requests out, other than the rules themselves. */
function narrowingIn(match: MatchResources): keyof MatchResources | undefined {
  if (match.excludeResourceRules?.length) return 'excludeResourceRules';
  if (!isEmpty(match.namespaceSelector)) return 'namespaceSelector';
  if (!isEmpty(match.objectSelector)) return 'objectSelector';
  // Exact would leave out what is created through a version that no rule names.
  if ((match.matchPolicy ?? 'Equivalent') !== 'Equivalent') return 'matchPolicy';
  return undefined;
}

function isEmpty(selector: Selector = {}): boolean {
  return (
    Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0
  );
}

function coversRequests(rule: ResourceRule): boolean {
  const has = (values: readonly string[] | undefined, ...wanted: string[]) =>
    values?.includes('*') || wanted.every((value) => values?.includes(value));
  return Boolean(
    has(rule.apiGroups, 'certificates.k8s.io') &&
      has(rule.apiVersions, 'v1', 'v1beta1') &&
      has(rule.resources, 'podcertificaterequests') &&
      has(rule.operations, 'CREATE') &&
      !rule.resourceNames?.length &&
      ['*', 'Namespaced'].includes(rule.scope ?? '*'),
  );
}
