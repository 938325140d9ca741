import { isJsonObject, type JsonObject } from '../../spiffe/json.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/** The selecting fields of a ClusterWorkloadRegistration. `isAll`: they select every pod. */
export type Selection = Result<{ readonly selects: JsonObject; readonly isAll: boolean }>;

/** The label that Kubernetes gives to each namespace. */
const namespaceName = 'kubernetes.io/metadata.name';

/** Selectors that hold for every pod: templates of the pod's own facts. */
const ofEveryPod =
  /^k8s:(ns:\{\{\s*\.PodMeta\.Namespace|sa:\{\{\s*\.PodSpec\.ServiceAccountName|pod-uid:\{\{\s*\.PodMeta\.UID|pod-name:\{\{\s*\.PodMeta\.Name)\s*\}\}$/;

/**
 * Makes selecting fields of SPIRE's workload selectors, which must all hold for one process. A selector about a container,
 * an image or a process has no counterpart, and without it the identity would belong to more than was meant.
 *
 * @param given label selectors that must hold too.
 */
export function selectionOf(
  selectors: readonly string[],
  given: { readonly podSelector?: unknown; readonly namespaceSelector?: unknown },
): Selection {
  const labels = new Map<string, string>();
  const namespaces = new Set<string>();
  const accounts = new Set<string>();
  for (const selector of selectors) {
    if (ofEveryPod.test(selector)) continue;
    const [, kind = '', value = ''] = /^k8s:(ns|sa|pod-label):([^{}]+)$/.exec(selector) ?? [];
    const [, key, label] = /^([^:]+):(.*)$/.exec(value) ?? [];
    if (kind === 'ns') namespaces.add(value);
    else if (kind === 'sa') accounts.add(value);
    else if (kind === 'pod-label' && key !== undefined && label !== undefined) {
      if (labels.has(key) && labels.get(key) !== label)
        return failure(`have two values for the label ${key}`);
      labels.set(key, label);
    } else {
      return failure(
        `have ${JSON.stringify(selector)}, which has no counterpart: a certificate belongs to a volume of a pod. Without it the ` +
          'identity would be given to more than was meant. If the whole pod may have it, remove this selector and migrate again',
      );
    }
  }
  if (namespaces.size > 1 || accounts.size > 1)
    return failure('select nothing: no pod is in two namespaces or has two ServiceAccounts');
  const podSelector = merged(given.podSelector, labels);
  const namespaceSelector = merged(
    given.namespaceSelector,
    new Map([...namespaces].map((name) => [namespaceName, name])),
  );
  const selects = {
    ...(podSelector && { podSelector }),
    ...(namespaceSelector && { namespaceSelector }),
    ...(accounts.size > 0 && { serviceAccountNames: [...accounts] }),
  };
  return success({ selects, isAll: Object.keys(selects).length === 0 });
}

/** A label selector with more labels; undefined where it selects everything. Where both name a label, both must hold. */
function merged(selector: unknown, labels: ReadonlyMap<string, string>): JsonObject | undefined {
  const { matchLabels, matchExpressions } = isJsonObject(selector) ? selector : {};
  const given = isJsonObject(matchLabels) ? matchLabels : {};
  const expressions: unknown[] = Array.isArray(matchExpressions) ? [...matchExpressions] : [];
  const all: Record<string, unknown> = { ...given };
  for (const [key, value] of labels) {
    if (!Object.hasOwn(given, key)) all[key] = value;
    else if (given[key] !== value) expressions.push({ key, operator: 'In', values: [value] });
  }
  if (Object.keys(all).length === 0 && expressions.length === 0) return undefined;
  return {
    ...(Object.keys(all).length > 0 && { matchLabels: all }),
    ...(expressions.length > 0 && { matchExpressions: expressions }),
  };
}
