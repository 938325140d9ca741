import {
  type AdmissionPolicy,
  type AdmissionPolicyBinding,
  admissionPolicyName,
} from './issuance/admission-policy.ts';
import { type CertificateRequest, requestFields, toCertificateRequest } from './issuance/request.ts';
import { type CertificatesResource, type Discovery, isMissing } from './kube/discovery.ts';
import type { Fields } from './kube/json-reader.ts';
import type { Location } from './kube/list-watch.ts';
import { type PodFacts, podFields, toPodFacts } from './kube/pods.ts';
import { runReflector } from './kube/reflector.ts';
import { createStore, type Store } from './kube/store.ts';
import type { Transport } from './kube/transport.ts';
import type {
  CertificatesVersion,
  ClusterTrustBundle,
  ConfigMap,
  Namespace,
  Pod,
  PodCertificateRequest,
} from './kube/types.ts';
import type { Logger } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import { bundleFields, type ObservedBundle, toObservedBundle } from './trust/bundle.ts';
import {
  configMapFields,
  namespaceFields,
  type ObservedConfigMap,
  type OptedIn,
  optInLabel,
  toObservedConfigMap,
  toOptedIn,
} from './trust/roots-configmap.ts';

export interface CachesNeeds {
  readonly transport: Transport;
  readonly discovery: Discovery;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly monotonic: () => number;
  readonly jitter: () => number;
  /** Requests and bundles of other signers are never seen: the server selects. */
  readonly signerName: string;
  /** The name of the ConfigMaps with the roots; undefined: neither they nor namespaces are followed. */
  readonly rootsConfigMap: string | undefined;
}

/** What the signer follows in the cluster, each resource cut down to what is used of it. */
export interface Caches {
  readonly requests: Store<CertificateRequest>;
  readonly pods: Store<PodFacts>;
  /** Those of our signer name, whoever made them. */
  readonly bundles: Store<ObservedBundle>;
  /** The admission policy and its binding: at most one of each. */
  readonly policies: Store<AdmissionPolicy>;
  readonly policyBindings: Store<AdmissionPolicyBinding>;
  /** The namespaces that ask for the roots as a ConfigMap. */
  readonly namespaces: Store<OptedIn>;
  readonly configMaps: Store<ObservedConfigMap>;
  /** Resolves when the bundles are read, or it is known that the API server serves none. */
  readonly bundlesKnown: Promise<unknown>;
  /** Resolves when the first lists are in that requests are answered by. */
  readonly synced: Promise<unknown>;
  /** The names of those of them that are not filled yet. */
  filling(): string[];
  /** Keeps them equal to the cluster until the signal is aborted. */
  run(signal: AbortSignal): Promise<unknown>;
}

export function createCaches(needs: CachesNeeds): Caches {
  const { transport, discovery, metrics, log, monotonic, jitter } = needs;
  const requests = createStore<CertificateRequest>({
    indexes: {
      pod: (request) =>
        request.answered === undefined ? `${request.namespace}/${request.podName}` : undefined,
    },
  });
  const pods = createStore<PodFacts>();
  const bundles = createStore<ObservedBundle>();
  const policies = createStore<AdmissionPolicy>({ monotonic });
  const policyBindings = createStore<AdmissionPolicyBinding>({ monotonic });
  const namespaces = createStore<OptedIn>();
  const configMaps = createStore<ObservedConfigMap>();
  /**
   * What requests are answered by, under the names that readiness tells. There is nothing to wait for where a resource
   * is not served; that it should be is told elsewhere.
   */
  const needed: readonly {
    readonly name: string;
    readonly store: Pick<Store<unknown>, 'isSynced'>;
    readonly resource?: CertificatesResource;
  }[] = [
    { name: 'requests', store: requests, resource: 'podcertificaterequests' },
    { name: 'pods', store: pods },
    { name: 'trust bundles', store: bundles, resource: 'clustertrustbundles' },
  ];
  const isNotServed = (resource: CertificatesResource) => isMissing(discovery.served(), resource);

  const bundlesNotServed = new Promise<void>((resolve) => {
    discovery.onChange(() => isNotServed('clustertrustbundles') && resolve());
  });
  const bundlesKnown = Promise.race([bundles.synced, bundlesNotServed]);

  function follow<T>(
    resource: string,
    store: Store<T>,
    fields: Fields,
    project: (raw: unknown) => T,
    locate: (signal: AbortSignal) => Promise<Location | undefined>,
    signal: AbortSignal,
  ): Promise<void> {
    const onRestart = (cause: string) => metrics.watchRestarts.inc({ resource, cause });
    const onNotServed = discovery.rediscover;
    const common = { transport, log, monotonic, jitter, onRestart, onNotServed };
    return runReflector<T>({ ...common, resource, store, fields, project, locate }, signal);
  }

  /** Follows a resource in whichever version is served. */
  function followCertificates<T>(
    resource: CertificatesResource,
    fieldSelector: string,
    store: Store<T>,
    fields: Fields,
    project: (raw: unknown, version: CertificatesVersion) => T,
    signal: AbortSignal,
  ): Promise<void> {
    let version: CertificatesVersion = 'v1';
    const locate = async (until: AbortSignal) => {
      const [served] = await discovery.whenServed(resource, until);
      if (!served) return undefined;
      version = served;
      return { path: `/apis/certificates.k8s.io/${version}/${resource}`, query: { fieldSelector } };
    };
    return follow(resource, store, fields, (raw) => project(raw, version), locate, signal);
  }

  /** Only namespaces with the label, and only ConfigMaps of the name: no other one is ever seen. */
  function followRoots(name: string, signal: AbortSignal): Promise<unknown> {
    const labelSelector = `${optInLabel.key}=${optInLabel.value}`;
    return Promise.all([
      follow(
        'namespaces',
        namespaces,
        namespaceFields,
        (raw) => toOptedIn(raw as Namespace),
        async () => ({ path: '/api/v1/namespaces', query: { labelSelector } }),
        signal,
      ),
      follow(
        'configmaps',
        configMaps,
        configMapFields,
        (raw) => toObservedConfigMap(raw as ConfigMap),
        async () => ({ path: '/api/v1/configmaps', query: { fieldSelector: `metadata.name=${name}` } }),
        signal,
      ),
    ]);
  }

  /** The two objects of this name, and no others: the right to list and watch them is held to the name as well. */
  function followPolicy(signal: AbortSignal): Promise<unknown> {
    const query = { fieldSelector: `metadata.name=${admissionPolicyName}` };
    const at = (resource: string) => async () => ({
      path: `/apis/admissionregistration.k8s.io/v1/${resource}`,
      query,
    });
    const [policy, binding] = ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'] as const;
    return Promise.all([
      follow(policy, policies, true, (raw) => raw as AdmissionPolicy, at(policy), signal),
      follow(binding, policyBindings, true, (raw) => raw as AdmissionPolicyBinding, at(binding), signal),
    ]);
  }

  return {
    requests,
    pods,
    bundles,
    policies,
    policyBindings,
    namespaces,
    configMaps,
    bundlesKnown,
    synced: Promise.all([requests.synced, pods.synced, bundlesKnown]),
    filling: () =>
      needed
        .filter(({ store, resource }) => !store.isSynced() && !(resource && isNotServed(resource)))
        .map(({ name }) => name),
    run: (signal) =>
      Promise.all([
        followPolicy(signal),
        needs.rootsConfigMap !== undefined && followRoots(needs.rootsConfigMap, signal),
        follow(
          'pods',
          pods,
          podFields,
          (raw) => toPodFacts(raw as Pod),
          async () => ({ path: '/api/v1/pods' }),
          signal,
        ),
        followCertificates(
          'podcertificaterequests',
          `spec.signerName=${needs.signerName}`,
          requests,
          requestFields,
          (raw, version) => toCertificateRequest(raw as PodCertificateRequest, version),
          signal,
        ),
        followCertificates(
          'clustertrustbundles',
          `spec.signerName=${needs.signerName}`,
          bundles,
          bundleFields,
          (raw) => toObservedBundle(raw as ClusterTrustBundle),
          signal,
        ),
      ]),
  };
}
