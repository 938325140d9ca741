import { publicJwkOf } from '../../spiffe/jwk.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { Informer } from '../kube/informer.ts';
import { resourcePath } from '../kube/resources.ts';
import type { Transport } from '../kube/transport.ts';
import { bundleName, type DesiredBundle, type ObservedBundle, trustBundleOf } from '../trust/bundle.ts';
import { bundleLabels, managedBy, trustDomainLabel } from '../trust/labels.ts';
import { joinSiblings, noSiblings, type Siblings } from '../trust/siblings.ts';
import type { BundleSource, DesiredBundles } from '../trust/trust-bundle-publisher.ts';
import { heldBundle } from './attempt.ts';
import {
  countingOnes,
  type FederatedTrustDomain,
  readFederatedTrustDomain,
} from './federated-trust-domain.ts';
import { type ForeignBundle, printForeignBundle } from './foreign-bundle.ts';

/** Names the resource that a ClusterTrustBundle was made from. */
export const sourceAnnotation = 'kubespiffe.io/federated-trust-domain';

export interface PeerBundlesNeeds {
  readonly resources: Pick<Informer<FederatedTrustDomain>, 'spec' | 'store' | 'isMissing'>;
  /** Whose pods are to verify the other trust domains. */
  readonly signerName: string;
  readonly trustDomain: string;
  readonly transport: Pick<Transport, 'request'>;
  readonly now: () => Seconds;
}

type Named = Pick<FederatedTrustDomain, 'name' | 'trustDomain' | 'isSelf'>;

/** The ClusterTrustBundles of the trust domains that are federated. */
export interface PeerBundles extends BundleSource {
  /** The ClusterTrustBundle of a resource. */
  readonly nameOf: (resource: Named) => string;
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

const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** The last part of the name of a ClusterTrustBundle, which has to be a DNS name. */
function suffixOf(kind: 'peer' | 'self', name: string): string {
  const label = trustDomainLabel(name);
  return `${kind}.${dnsSubdomain.test(label) ? label : trustDomainLabel(`.${name}`)}`;
}

/** What is made from the bundle of a resource. */
interface Made {
  /** What another cluster of this trust domain has; kept for these alone. */
  readonly sibling: ReturnType<typeof toSibling> | undefined;
  /** Undefined where no bundle is held. */
  readonly document: string | undefined;
  /** By name; empty where no root is held. */
  readonly bundles: DesiredBundles;
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
  const namesOf = ({ name, trustDomain, isSelf }: Named) =>
    isSelf
      ? // Pods that select the preview of their own trust domain need the roots of the other clusters too.
        (['live', 'preview'] as const).map((each) =>
          bundleName(needs.signerName, suffixOf('self', name), each),
        )
      : [bundleName(needs.signerName, suffixOf('peer', trustDomain))];
  const nameOf: PeerBundles['nameOf'] = (resource) => namesOf(resource)[0] ?? '';
  /** By name of the resource; made again only when the text has changed. */
  const known = new Map<
    string,
    { readonly text: unknown; readonly uid: string; readonly isSelf: boolean; readonly made: Made }
  >();
  const selfPrefix = bundleName(needs.signerName, 'self.');
  let all: Current | undefined;
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

  function madeFrom(resource: FederatedTrustDomain): Made {
    const { name, uid, status, isSelf } = resource;
    const last = known.get(name);
    if (last && last.uid === uid && last.text === status.bundle && last.isSelf === isSelf) return last.made;
    const made = makeFrom(resource);
    known.set(name, { text: status.bundle, uid, isSelf, made });
    return made;
  }

  function makeFrom(resource: FederatedTrustDomain): Made {
    const { name, trustDomain, status } = resource;
    const held = heldBundle(resource, needs.now());
    if (!held) return { sibling: undefined, document: undefined, bundles: new Map() };
    const sibling = resource.isSelf ? toSibling(held) : undefined;
    const printed = printForeignBundle(held);
    // One text in memory where it can be, for there may be many.
    const document = printed === status.bundle ? status.bundle : printed;
    if (held.roots.length === 0) return { sibling, document, bundles: new Map() };
    const pem = trustBundleOf(held.roots);
    const bundles = namesOf(resource).map((bundle, index): [string, Result<DesiredBundle>] => {
      if (!pem.ok) return [bundle, pem];
      const labels = bundleLabels(needs.trustDomain, index === 0 ? 'live' : 'preview', trustDomain);
      const { signerName } = needs;
      return [
        bundle,
        success({
          ...{ name: bundle, signerName, labels, annotations: { [sourceAnnotation]: name } },
          ...pem.value,
        }),
      ];
    });
    return { sibling, document, bundles: new Map(bundles) };
  }

  function current(): Current {
    if (all) return all;
    const documents = new Map<string, string>();
    const desired = new Map<string, Result<DesiredBundle>>();
    const resources = new Map<string, FederatedTrustDomain>();
    const siblings: ReturnType<typeof toSibling>[] = [];
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
    all = { documents, desired, resources, siblings: joinSiblings(siblings), roots };
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
      const bundle = live && isSame ? makeFrom(live).bundles.get(name) : undefined;
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

const toSibling = ({ roots, jwtKeys }: ForeignBundle) => ({
  roots,
  jwtKeys: [...jwtKeys].map(([kid, key]) => ({ kid, jwk: publicJwkOf(key) })),
});
