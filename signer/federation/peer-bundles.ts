import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { Informer } from '../kube/informer.ts';
import { resourcePath } from '../kube/resources.ts';
import type { Transport } from '../kube/transport.ts';
import { bundleName, type DesiredBundle, type ObservedBundle } from '../trust/bundle.ts';
import { managedBy, trustDomainLabel } from '../trust/labels.ts';
import { joinSiblings, noSiblings, type Sibling, type Siblings } from '../trust/siblings.ts';
import type { BundleSource, DesiredBundles } from '../trust/trust-bundle-publisher.ts';
import {
  countingOnes,
  type FederatedTrustDomain,
  readFederatedTrustDomain,
} from './federated-trust-domain.ts';
import {
  bundleNamesOf,
  bundlesFrom,
  dnsSubdomain,
  type NamedResource,
  type ResourceBundles,
  sourceAnnotation,
} from './resource-bundles.ts';

export interface PeerBundlesNeeds {
  readonly resources: Pick<Informer<FederatedTrustDomain>, 'spec' | 'store' | 'isMissing'>;
  /** Whose pods are to verify the other trust domains. */
  readonly signerName: string;
  readonly trustDomain: string;
  readonly transport: Pick<Transport, 'request'>;
  readonly now: () => Seconds;
}

/** The ClusterTrustBundles of the trust domains that are federated. */
export interface PeerBundles extends BundleSource {
  /** The ClusterTrustBundle of a resource. */
  readonly nameOf: (resource: NamedResource) => string;
  /** JSON of the bundles that are held, by trust domain. The map is replaced when one changes. */
  documents(): ReadonlyMap<string, string>;
  /** What the other clusters of this trust domain publish; undefined while it is not known. */
  siblings(): Siblings | undefined;
  /** The roots of other trust domains, PEM, by their names; undefined while they are not known. */
  roots(): ReadonlyMap<string, string> | undefined;
  /** Whether a bundle is of a trust domain that is federated no more. */
  isLeftOver(observed: ObservedBundle): boolean;
  /** The same, read live. Throws what the transport throws. */
  isStillLeftOver(observed: ObservedBundle, signal: AbortSignal): Promise<boolean>;
}

interface Current {
  /** By trust domain. */
  readonly documents: ReadonlyMap<string, string>;
  /** These two by name of the ClusterTrustBundle. */
  readonly desired: DesiredBundles;
  readonly resources: ReadonlyMap<string, FederatedTrustDomain>;
  readonly siblings: Siblings;
  readonly roots: ReadonlyMap<string, string>;
}

/** Made from the bundle in the status of each resource: the last one that was good. */
export function createPeerBundles(needs: PeerBundlesNeeds): PeerBundles {
  const { store, spec, isMissing } = needs.resources;
  const listeners: ((name: string) => void)[] = [];
  const namesOf = (resource: NamedResource) => bundleNamesOf(resource, needs.signerName);
  const nameOf: PeerBundles['nameOf'] = (resource) => namesOf(resource)[0] ?? '';
  /** By name of the resource; made again only when the text has changed. */
  const known = new Map<
    string,
    { readonly text: unknown; readonly uid: string; readonly isSelf: boolean; readonly made: ResourceBundles }
  >();
  const selfPrefix = bundleName(needs.signerName, 'self.');
  let all: Current | undefined;
  let lastSiblings = noSiblings;
  /** What was known before the resource was served no more. */
  let lastKnown: Pick<Current, 'siblings' | 'roots'> | undefined;

  store.subscribe(({ type, key, object, previous }) => {
    const isSame =
      type === 'set' &&
      previous?.uid === object.uid &&
      previous.status.bundle === object.status.bundle &&
      previous.isSelf === object.isSelf;
    if (isSame) return;
    if (type === 'delete') known.delete(key);
    all = undefined;
    for (const each of new Set([...namesOf(object), ...(previous ? namesOf(previous) : [])]))
      for (const listener of listeners) listener(each);
  });

  function madeFrom(resource: FederatedTrustDomain): ResourceBundles {
    const { name, uid, status, isSelf } = resource;
    const last = known.get(name);
    if (last && last.uid === uid && last.text === status.bundle && last.isSelf === isSelf) return last.made;
    const made = bundlesFrom(resource, needs);
    known.set(name, { text: status.bundle, uid, isSelf, made });
    return made;
  }

  function current(): Current {
    if (all) return all;
    const documents = new Map<string, string>();
    const desired = new Map<string, Result<DesiredBundle>>();
    const resources = new Map<string, FederatedTrustDomain>();
    const siblings: Sibling[] = [];
    const roots = new Map<string, string>();
    const others = [...countingOnes(store.values()).values()].filter(
      ({ trustDomain }) => trustDomain !== needs.trustDomain,
    );
    const own = [...store.values()].filter(
      ({ isSelf, trustDomain }) => isSelf && trustDomain === needs.trustDomain,
    );
    for (const resource of [...others, ...own]) {
      const { sibling, document, bundles } = madeFrom(resource);
      for (const name of namesOf(resource)) resources.set(name, resource);
      for (const [name, bundle] of bundles) desired.set(name, bundle);
      if (sibling) siblings.push(sibling);
      if (resource.isSelf) continue;
      if (document !== undefined) documents.set(resource.trustDomain, document);
      const bundle = bundles.get(nameOf(resource));
      if (bundle?.ok) roots.set(resource.trustDomain, bundle.value.trustBundle);
    }
    const joined = joinSiblings(siblings);
    // The same siblings are the same object, so that nothing is made again.
    if (joined.content !== lastSiblings.content) lastSiblings = joined;
    all = { documents, desired, resources, siblings: lastSiblings, roots };
    return all;
  }

  function federated(): Pick<Current, 'siblings' | 'roots'> | undefined {
    if (!store.isSynced()) return undefined;
    // The store is empty then, which does not mean that nobody is trusted any more.
    if (!isMissing()) lastKnown = current();
    return lastKnown ?? { siblings: noSiblings, roots: noRoots };
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

  return {
    nameOf,
    documents: () => current().documents,
    siblings: () => federated()?.siblings,
    roots: () => federated()?.roots,
    desired: () =>
      store.isSynced() ? success(current().desired) : failure('the FederatedTrustDomains are not read yet'),
    async readDesired(signal, name) {
      const resource = current().resources.get(name);
      const live = resource && (await readLive(resource.name, signal));
      const isSame = live?.uid === resource?.uid && live?.trustDomain === resource?.trustDomain;
      const bundle = live && isSame ? bundlesFrom(live, needs).bundles.get(name) : undefined;
      return success(new Map(bundle ? [[name, bundle]] : []));
    },
    onChange: (listener) => void listeners.push(listener),
    isLeftOver({ name, labels, annotations }) {
      if (!store.isSynced() || isMissing() || current().resources.has(name)) return false;
      const own = trustDomainLabel(needs.trustDomain);
      return (
        annotations[sourceAnnotation] !== undefined &&
        labels[managedBy.key] === managedBy.value &&
        labels['k8s.spiffe.io/workload-trust-domain'] === own &&
        // Never the bundles of our own pool.
        (labels['k8s.spiffe.io/peer-trust-domain'] !== own || name.startsWith(selfPrefix))
      );
    },
    async isStillLeftOver({ name, annotations }, signal) {
      const source = annotations[sourceAnnotation] ?? '';
      // It goes into a path.
      if (!dnsSubdomain.test(source)) return false;
      const live = await readLive(source, signal);
      return !live || !namesOf(live).includes(name);
    },
  };
}

const noRoots: ReadonlyMap<string, string> = new Map();
