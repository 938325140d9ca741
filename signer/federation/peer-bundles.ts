import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { Informer } from '../kube/informer.ts';
import { resourcePath } from '../kube/resources.ts';
import type { Time } from '../kube/time.ts';
import type { Transport } from '../kube/transport.ts';
import type { DesiredBundle, ObservedBundle } from '../trust/bundle.ts';
import { managedBy, trustDomainLabel } from '../trust/labels.ts';
import { joinSiblings, type Sibling, type Siblings } from '../trust/siblings.ts';
import type { BundleSource } from '../trust/trust-bundle-publisher.ts';
import {
  countingOne,
  type FederatedTrustDomain,
  readFederatedTrustDomain,
} from './federated-trust-domain.ts';
import {
  bundleNamesOf,
  bundlesFrom,
  dnsSubdomain,
  isMadeFrom,
  isNamedAsSelf,
  type NamedResource,
  type ResourceBundles,
  sourceAnnotation,
} from './resource-bundles.ts';

export interface PeerBundlesNeeds {
  readonly resources: Pick<Informer<FederatedTrustDomain>, 'spec' | 'store' | 'isUnlisted'>;
  /** Whose pods are to verify the other trust domains. */
  readonly signerName: string;
  readonly trustDomain: string;
  readonly transport: Pick<Transport, 'request'>;
  readonly time: Pick<Time, 'now'>;
}

/** The ClusterTrustBundles of the trust domains that are federated. */
export interface PeerBundles extends BundleSource {
  /** The ClusterTrustBundle of a resource. */
  readonly nameOf: (resource: NamedResource) => string;
  /** JSON of the bundles that are held, by trust domain; undefined while they are not known. The map is replaced when one changes. */
  documents(): ReadonlyMap<string, string> | undefined;
  /** What the other clusters of this trust domain publish; undefined while it is not known. */
  siblings(): Siblings | undefined;
  /** The roots of other trust domains, PEM, by their names; undefined while they are not known. */
  roots(): ReadonlyMap<string, string> | undefined;
  /**
   * Whether the FederatedTrustDomain that a bundle was made from was deleted, and no other one holds a bundle that replaces it.
   * Another one may count now that was never fetched: the roots of the deleted one must not stay until it is.
   */
  isLeftOver(observed: ObservedBundle): boolean;
  /** The same, read live. Throws what the transport throws. */
  isStillLeftOver(observed: ObservedBundle, signal: AbortSignal): Promise<boolean>;
}

/** Made from the bundle in the status of each resource: the last one that was good. */
export function createPeerBundles(needs: PeerBundlesNeeds): PeerBundles {
  const { store, spec, isUnlisted } = needs.resources;
  const listeners: ((name: string) => void)[] = [];
  const namesOf = (resource: NamedResource) => bundleNamesOf(resource, needs.signerName);
  const nameOf: PeerBundles['nameOf'] = (resource) => namesOf(resource)[0] ?? '';
  /** By name of the resource; made again only when the text has changed. */
  const known = new Map<
    string,
    { readonly text: unknown; readonly uid: string; readonly isSelf: boolean; readonly made: ResourceBundles }
  >();
  /** These two by name of the ClusterTrustBundle; the second one has the name of the resource. */
  const desired = new Map<string, Result<DesiredBundle>>();
  const counting = new Map<string, string>();
  /** By trust domain, and those of other clusters by name of the resource. */
  const documents = createSnapshots<string>();
  const roots = createSnapshots<string>();
  const clusters = createSnapshots<Sibling>();
  let siblings: { readonly from: ReadonlyMap<string, Sibling>; readonly joined: Siblings } | undefined;
  /** The state before the API server stopped serving the resource. */
  let lastKnown:
    | ({ readonly siblings: Siblings } & Record<'roots' | 'documents', ReadonlyMap<string, string>>)
    | undefined;

  const read = (resource: FederatedTrustDomain) =>
    bundlesFrom(resource, needs, Math.floor(needs.time.now() / 1000));

  store.subscribe(({ type, key, object, previous }) => {
    const isSame =
      type === 'set' &&
      previous?.uid === object.uid &&
      previous.status.bundle === object.status.bundle &&
      previous.isSelf === object.isSelf;
    if (isSame) return;
    if (type === 'delete') known.delete(key);
    const touched = new Set<string>();
    // Only what has changed is made again: there may be a thousand others.
    for (const each of [previous, object]) {
      if (!each) continue;
      for (const name of remove(each)) touched.add(name);
      const first = each.isSelf ? undefined : countingOne(store, each.trustDomain);
      if (first && first.trustDomain !== needs.trustDomain) add(first);
    }
    if (type === 'set' && object.isSelf && object.trustDomain === needs.trustDomain) add(object);
    for (const name of touched) for (const listener of listeners) listener(name);
  });

  function remove(resource: FederatedTrustDomain): readonly string[] {
    const names = namesOf(resource);
    for (const name of names) {
      desired.delete(name);
      counting.delete(name);
    }
    if (resource.isSelf) clusters.delete(resource.name);
    else for (const snapshots of [documents, roots]) snapshots.delete(resource.trustDomain);
    return names;
  }

  function add(resource: FederatedTrustDomain): void {
    const { sibling, document, bundles } = madeFrom(resource);
    for (const name of namesOf(resource)) counting.set(name, resource.name);
    for (const [name, bundle] of bundles) desired.set(name, bundle);
    if (sibling) clusters.set(resource.name, sibling);
    if (resource.isSelf) return;
    if (document !== undefined) documents.set(resource.trustDomain, document);
    const bundle = bundles.get(nameOf(resource));
    if (bundle?.ok) roots.set(resource.trustDomain, bundle.value.trustBundle);
  }

  function madeFrom(resource: FederatedTrustDomain): ResourceBundles {
    const { name, uid, status, isSelf } = resource;
    const last = known.get(name);
    if (last && last.uid === uid && last.text === status.bundle && last.isSelf === isSelf) return last.made;
    const made = read(resource);
    known.set(name, { text: status.bundle, uid, isSelf, made });
    return made;
  }

  function federated(): typeof lastKnown {
    if (!store.isSynced()) return undefined;
    const from = clusters.current();
    if (siblings?.from !== from) siblings = { from, joined: joinSiblings(from.values()) };
    // While the API server does not serve the resource, the store is empty, and the trust stays as it was.
    if (!isUnlisted() || !lastKnown) {
      lastKnown = { siblings: siblings.joined, roots: roots.current(), documents: documents.current() };
    }
    return lastKnown;
  }

  /** @returns undefined for one that does not exist. */
  async function readLive(name: string, signal: AbortSignal): Promise<FederatedTrustDomain | undefined> {
    const { resource } = spec;
    try {
      const path = `${resourcePath(resource, resource.versions[0])}/${name}`;
      const { body } = await needs.transport.request({
        method: 'GET',
        path,
        resource: resource.name,
        signal,
      });
      return readFederatedTrustDomain(body);
    } catch (error) {
      if (isNotFoundOfObject(error)) return undefined;
      throw error;
    }
  }

  /** @returns the bundle of this name that the resource that counts holds; undefined for none. */
  async function readLiveBundle(
    name: string,
    signal: AbortSignal,
  ): Promise<Result<DesiredBundle> | undefined> {
    const resource = store.get(counting.get(name) ?? '');
    const live = resource && (await readLive(resource.name, signal));
    const isSame = live?.uid === resource?.uid && live?.trustDomain === resource?.trustDomain;
    return live && isSame ? read(live).bundles.get(name) : undefined;
  }

  const isSource = (resource: FederatedTrustDomain | undefined, observed: ObservedBundle): boolean =>
    resource !== undefined && isMadeFrom(observed, resource, needs.signerName);

  return {
    nameOf,
    documents: () => federated()?.documents,
    siblings: () => federated()?.siblings,
    roots: () => federated()?.roots,
    desired: () =>
      store.isSynced() ? success(desired) : failure('the FederatedTrustDomains are not read yet'),
    async readDesired(signal, name) {
      const bundle = await readLiveBundle(name, signal);
      return success(new Map(bundle ? [[name, bundle]] : []));
    },
    onChange: (listener) => void listeners.push(listener),
    isLeftOver(observed) {
      const { name, labels, annotations } = observed;
      const source = annotations[sourceAnnotation];
      if (!store.isSynced() || isUnlisted() || source === undefined) return false;
      if (desired.get(name)?.ok || isSource(store.get(source), observed)) return false;
      const own = trustDomainLabel(needs.trustDomain);
      return (
        labels[managedBy.key] === managedBy.value &&
        labels['k8s.spiffe.io/workload-trust-domain'] === own &&
        // Never the bundles of our own pool.
        (labels['k8s.spiffe.io/peer-trust-domain'] !== own || isNamedAsSelf(name, needs.signerName))
      );
    },
    async isStillLeftOver(observed, signal) {
      const source = observed.annotations[sourceAnnotation] ?? '';
      // It goes into a path.
      if (!dnsSubdomain.test(source)) return false;
      if (isSource(await readLive(source, signal), observed)) return false;
      return !(await readLiveBundle(observed.name, signal))?.ok;
    },
  };
}

/** A map that is read far more often than it changes: readers get a copy, which is another one after a change. */
function createSnapshots<T>() {
  const values = new Map<string, T>();
  let copy: ReadonlyMap<string, T> | undefined;
  return {
    set(key: string, value: T): void {
      if (values.get(key) !== value) copy = undefined;
      values.set(key, value);
    },
    delete(key: string): void {
      if (values.delete(key)) copy = undefined;
    },
    current(): ReadonlyMap<string, T> {
      copy ??= new Map(values);
      return copy;
    },
  };
}
