import { isJsonObject } from '../../spiffe/json.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { type LabelSelector, selectsAll } from '../kube/label-selector.ts';
import { type RegistrationFields, type RegistrationKind, readFields } from './registration-fields.ts';
import { type ReadGrant, readGrant, type TemplateContext } from './registration-grant.ts';

/** Which pods a registration is for. All of it must hold. */
export interface PodSelection {
  readonly pods: LabelSelector;
  /** Undefined where it says nothing about namespaces. */
  readonly namespaces: LabelSelector | undefined;
  /** Undefined for all ServiceAccounts. */
  readonly serviceAccounts: readonly string[] | undefined;
}

/** A WorkloadRegistration or ClusterWorkloadRegistration that was read. */
export interface Registration {
  readonly kind: RegistrationKind;
  /** Undefined for a ClusterWorkloadRegistration. */
  readonly namespace: string | undefined;
  readonly name: string;
  readonly uid: string;
  /** Raised with each change of the spec. */
  readonly generation: number;
  readonly className: string | undefined;
  /** Higher first. */
  readonly priority: number;
  /** Counts only for pods that no other registration matches. */
  readonly isFallback: boolean;
  /** Undefined where it cannot be read. It is for no pod then. */
  readonly selection: PodSelection | undefined;
  /**
   * What it gives, or why it gives nothing. One that is wrong still matches its pods, which wait: with another name than
   * the one that was meant, they would have the wrong identity.
   */
  readonly grant: ReadGrant;
}

/** `namespace/name`, or the name of a ClusterWorkloadRegistration: as messages, audit lines and Terms have it. */
export function nameOfRegistration({ namespace, name }: Pick<Registration, 'namespace' | 'name'>): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** The fields without which it is unknown which pods are meant. */
const selecting = [
  'spec',
  'podSelector',
  'namespaceSelector',
  'serviceAccountNames',
  'matchAllPods',
  'className',
] as const;

/**
 * Reads an object of the API server. It may have been written before its CRD was, or by a CRD of another version, so
 * that nothing is taken for granted. Never throws.
 */
export function readRegistration(
  kind: RegistrationKind,
  wire: unknown,
  context: TemplateContext,
): Registration {
  const { metadata, spec } = isJsonObject(wire) ? wire : {};
  const { name, namespace, uid, generation } = isJsonObject(metadata) ? metadata : {};
  const { values, problems } = readFields(kind, spec);
  const isClusterKind = kind === 'ClusterWorkloadRegistration';
  const selection = selecting.some((field) => problems.has(field))
    ? undefined
    : selectionOf(values, isClusterKind);
  if (selection && !selection.ok) problems.set('spec', selection.reason);
  const grant = readGrant(values, problems, context);
  return {
    kind,
    namespace: isClusterKind ? undefined : textOr(namespace),
    name: textOr(name),
    uid: textOr(uid),
    generation: typeof generation === 'number' ? generation : 0,
    className: values.className,
    priority: values.priority ?? 0,
    isFallback: values.fallback ?? false,
    selection: selection?.ok ? selection.value : undefined,
    grant,
  };
}

const textOr = (value: unknown, otherwise = ''): string => (typeof value === 'string' ? value : otherwise);

function selectionOf(values: RegistrationFields, isClusterKind: boolean): Result<PodSelection> {
  const { podSelector = selectsAll, namespaceSelector, serviceAccountNames } = values;
  const isRestricted =
    restricts(podSelector) || restricts(namespaceSelector) || serviceAccountNames !== undefined;
  if (isClusterKind && !isRestricted && values.matchAllPods !== true) {
    return failure(
      'selects every pod of the cluster: give podSelector, namespaceSelector or serviceAccountNames, or set matchAllPods to true',
    );
  }
  return success({ pods: podSelector, namespaces: namespaceSelector, serviceAccounts: serviceAccountNames });
}

const restricts = (selector: LabelSelector = selectsAll) =>
  selector.equal.length > 0 || selector.expressions.length > 0;
