import { createSelectorIndex, keysSelected } from '../kube/label-index.ts';
import { type Labels, selects, selectsAll } from '../kube/label-selector.ts';
import type { PodFacts, PodReference } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';
import { noPolicy, type RegistrationPolicy } from './guard-rails.ts';
import type { Registration } from './registration.ts';
import { labelsOf, selectorsOf } from './registration-selector.ts';
import { policyName } from './registration-specs.ts';
import { type NamedPod, otherClass } from './resolve.ts';

/** What `registrationSpecs` is kept in: by informers, or by a tool from lists. */
export interface RegistrationStores {
  /** By namespace/name. */
  readonly workload: Store<Registration>;
  readonly cluster: Store<Registration>;
  readonly policies: Pick<Store<RegistrationPolicy>, 'get'>;
  /** Labels by namespace. */
  readonly namespaces: Pick<Store<Labels>, 'get' | 'keys'>;
  readonly pods: Pick<Store<PodFacts>, 'get' | 'keysBy'>;
}

/** Most WorkloadRegistrations of a namespace. */
const mostOfNamespace = 1_000;
/** Where registrations of the cluster are in the index. */
const ofCluster = '';

/**
 * The registrations of the cluster, found by the pods that they are for, and the other way round. A pod is looked up by its
 * labels, those of its namespace and its ServiceAccount, so one index finds a registration by any of these requirements.
 *
 * @param className of the signer; registrations of other classes are left out.
 */
export function createRegistrations(stores: RegistrationStores, className: string | undefined) {
  const { workload, cluster, policies, namespaces, pods } = stores;
  const index = createSelectorIndex<Registration>();
  const entriesOf = new Map<string, readonly string[]>();
  const byNamespace = new Map<string, Set<Registration>>();
  const byNamespaceLabels = new Set<Registration>();

  const isCounted = (registration: Registration | undefined) =>
    registration?.selection !== undefined && otherClass(registration, className) === undefined;

  function remove(key: string, registration: Registration): void {
    for (const entry of entriesOf.get(key) ?? []) index.delete(entry);
    entriesOf.delete(key);
    byNamespaceLabels.delete(registration);
    const others = byNamespace.get(registration.namespace ?? '');
    others?.delete(registration);
    if (others?.size === 0) byNamespace.delete(registration.namespace ?? '');
  }

  function add(key: string, registration: Registration): void {
    if (!registration.selection || !isCounted(registration)) return;
    const { namespace = ofCluster } = registration;
    const entries = selectorsOf(registration.selection).map((selector, number) => {
      index.set(`${key}#${number}`, { namespace, selector, object: registration });
      return `${key}#${number}`;
    });
    entriesOf.set(key, entries);
    if (registration.selection.namespaces) byNamespaceLabels.add(registration);
    byNamespace.set(namespace, (byNamespace.get(namespace) ?? new Set()).add(registration));
  }

  for (const store of [workload, cluster]) {
    for (const key of store.keys()) {
      const registration = store.get(key);
      if (registration) add(key, registration);
    }
    store.subscribe(({ type, key, object, previous }) => {
      if (previous) remove(key, previous);
      if (type === 'set') add(key, object);
    });
  }

  /**
   * Why no registration of a namespace can count; undefined if it has few enough. Each decision about its pods may
   * compare all of them, and everyone who may create them could keep the replicas busy.
   */
  function tooMany(namespace: string): string | undefined {
    const count = byNamespace.get(namespace)?.size ?? 0;
    if (count <= mostOfNamespace) return undefined;
    return `the namespace ${namespace} has ${count} WorkloadRegistrations, and at most ${mostOfNamespace} are allowed; delete some`;
  }

  /** Whether a change that is in the store, and not in the index yet, brings a namespace over its limit or back. */
  function crossesLimit(namespace: string, key: string): boolean {
    const wasCounted = entriesOf.has(key);
    if (isCounted(workload.get(key)) === wasCounted) return false;
    return byNamespace.get(namespace)?.size === mostOfNamespace + Number(wasCounted);
  }

  function* podsIn(namespace: string, { selection }: Registration): Generator<string> {
    if (!selection) return;
    for (const key of keysSelected(pods, namespace, selection.pods)) {
      const serviceAccount = pods.get(key)?.serviceAccountName ?? '';
      if (selection.serviceAccounts?.includes(serviceAccount) ?? true) yield key;
    }
  }

  return {
    /** A pod with what registrations select by. */
    namedPod({ namespace, podName: name }: Pick<PodReference, 'namespace' | 'podName'>, facts: PodFacts) {
      return { namespace, name, facts, namespaceLabels: namespaces.get(namespace) };
    },
    /** All that match a pod. Costs as much as there are registrations that require something that the pod has. */
    matching(pod: NamedPod): Registration[] {
      if (index.size === 0) return [];
      const place = tooMany(pod.namespace) === undefined ? pod.namespace : ofCluster;
      return index.selecting(place, labelsOf(pod));
    },
    tooMany,
    /** The registrations that a pod of a namespace could mean by a name. */
    named: (namespace: string, name: string): Registration[] =>
      [workload.get(`${namespace}/${name}`), cluster.get(name)].filter((each) => each !== undefined),
    /** The registrations of the team of a namespace; those of the cluster for undefined. */
    of: (namespace = ofCluster): Iterable<Registration> => byNamespace.get(namespace) ?? [],
    /** Whether any of them selects by the labels of namespaces. */
    useNamespaceLabels: () => byNamespaceLabels.size > 0,
    policy: (): RegistrationPolicy => policies.get(policyName) ?? noPolicy,
    /**
     * Keys of the pods whose names may change with a registration: those that it selects, or all of its namespace if the
     * change brings that over its limit or back. Costs as much as there are.
     *
     * @param key of the registration in its store, which has the change already.
     */
    *podsOf(registration: Registration, key: string): Generator<string> {
      const { namespace, selection } = registration;
      if (namespace !== undefined && crossesLimit(namespace, key)) {
        yield* keysSelected(pods, namespace, selectsAll);
        return;
      }
      if (!selection || !isCounted(registration)) return;
      if (namespace !== undefined) {
        yield* podsIn(namespace, registration);
        return;
      }
      for (const each of namespaces.keys()) {
        if (!selection.namespaces || selects(selection.namespaces, namespaces.get(each))) {
          yield* podsIn(each, registration);
        }
      }
    },
    /** Keys of the pods of a namespace that a registration selects by its labels, these ones. */
    *podsOfNamespace(namespace: string, labels: Labels): Generator<string> {
      for (const registration of byNamespaceLabels) {
        const { selection } = registration;
        if (selection?.namespaces && selects(selection.namespaces, labels))
          yield* podsIn(namespace, registration);
      }
    },
    /** Keys of the pods whose names depend on a policy. */
    *podsOfPolicy({ grants }: RegistrationPolicy): Generator<string> {
      for (const namespace of grants.keys()) {
        for (const registration of byNamespace.get(namespace) ?? []) yield* podsIn(namespace, registration);
      }
    },
  };
}

export type Registrations = ReturnType<typeof createRegistrations>;
