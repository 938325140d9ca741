import type { LabelExpression, LabelSelector, Labels } from '../kube/label-selector.ts';
import type { PodSelection } from './registration.ts';
import type { NamedPod } from './resolve.ts';

/**
 * What registrations select by, as labels: those of the pod, those of its namespace and its ServiceAccount. No label has
 * a `:` in its key.
 */
const ofNamespace = 'namespace:';
const serviceAccountKey = 'serviceAccount:';
/** Stands for a namespace whose labels are known. */
const namespaceKey = ofNamespace;

/** The labels of a namespace as they are here: namespaces have many pods. */
const namespaces = new WeakMap<Labels, Labels>();

function labelsOfNamespace(labels: Labels): Labels {
  const known = namespaces.get(labels);
  if (known) return known;
  const entries = Object.entries(labels).map(([key, value]) => [ofNamespace + key, value]);
  const made = { [namespaceKey]: '', ...Object.fromEntries(entries) };
  namespaces.set(labels, made);
  return made;
}

/** A pod as `selectorsOf` selects it. */
export function labelsOf({ facts, namespaceLabels }: NamedPod): Labels {
  return {
    ...facts.labels,
    ...(namespaceLabels && labelsOfNamespace(namespaceLabels)),
    [serviceAccountKey]: facts.serviceAccountName,
  };
}

/**
 * A selection as label selectors, of which one selects each pod that it is for. Where no label is required, there is one
 * selector for each value of the first `In`, so that each of them requires a label by which an index finds it.
 */
export function selectorsOf({ pods, namespaces, serviceAccounts }: PodSelection): readonly LabelSelector[] {
  const equal = [...pods.equal];
  const expressions: LabelExpression[] = [...pods.expressions];
  if (serviceAccounts) expressions.push({ key: serviceAccountKey, operator: 'In', values: serviceAccounts });
  if (namespaces) {
    equal.push(...namespaces.equal.map(([key, value]) => [ofNamespace + key, value] as const));
    expressions.push(...namespaces.expressions.map((each) => ({ ...each, key: ofNamespace + each.key })));
    // Stands last, as an index takes the first that it can use.
    expressions.push({ key: namespaceKey, operator: 'Exists' });
  }
  const oneOf = equal.length > 0 ? undefined : expressions.find(({ operator }) => operator === 'In');
  if (oneOf?.operator !== 'In') return [{ equal, expressions }];
  const others = expressions.filter((each) => each !== oneOf);
  return [...new Set(oneOf.values)].map((value) => ({ equal: [[oneOf.key, value]], expressions: others }));
}
