import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { Informer } from '../kube/informer.ts';
import { resourcePath } from '../kube/resources.ts';
import type { Transport } from '../kube/transport.ts';
import { bundleName, type DesiredBundle, type ObservedBundle, trustBundleOf } from '../trust/bundle.ts';
import { bundleLabels, managedBy, trustDomainLabel } from '../trust/labels.ts';
import type { BundleSource, DesiredBundles } from '../trust/trust-bundle-publisher.ts';
import { heldBundle } from './attempt.ts';
import {
  countingOnes,
  type FederatedTrustDomain,
  readFederatedTrustDomain,
} from './federated-trust-domain.ts';
import { printForeignBundle } from './foreign-bundle.ts';

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

/** The ClusterTrustBundles of the trust domains that are federated. */
export interface PeerBundles extends BundleSource {
  readonly nameOf: (trustDomain: string) => string;
  /** JSON of the bundles that are held, by trust domain. The map is replaced when one changes. */
  documents(): ReadonlyMap<string, string>;
  /** Whether a bundle is of a trust domain that is federated no more. */
  isLeftOver(observed: ObservedBundle): boolean;
  /** The same, read live. Throws what the transport throws. */
  isStillLeftOver(observed: ObservedBundle, signal: AbortSignal): Promise<boolean>;
}

const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** The last part of the name of a ClusterTrustBundle, which has to be a DNS name. */
function suffixOf(trustDomain: string): string {
  const label = trustDomainLabel(trustDomain);
  return `peer.${dnsSubdomain.test(label) ? label : trustDomainLabel(`.${trustDomain}`)}`;
}

/** What is made from the bundle of a resource. */
interface Made {
  /** Undefined where no bundle is held. */
  readonly document: string | undefined;
  /** Undefined where no root is held. */
  readonly bundle: Result<DesiredBundle> | undefined;
}

interface Current {
  /** By trust domain. */
  readonly documents: ReadonlyMap<string, string>;
  /** These two by name of the ClusterTrustBundle. */
  readonly desired: DesiredBundles;
  readonly resources: ReadonlyMap<string, FederatedTrustDomain>;
}

/** Made from the bundle in the status of each resource: the last one that was good. */
export function createPeerBundles(needs: PeerBundlesNeeds): PeerBundles {
  const { store, spec, isMissing } = needs.resources;
  const listeners: ((name: string) => void)[] = [];
  const nameOf = (trustDomain: string) => bundleName(needs.signerName, suffixOf(trustDomain));
  /** By name of the resource; made again only when the text has changed. */
  const known = new Map<string, { readonly text: unknown; readonly uid: string; readonly made: Made }>();
  let all: Current | undefined;

  store.subscribe(({ type, key, object, previous }) => {
    const isSame =
      type === 'set' && previous?.uid === object.uid && previous.status.bundle === object.status.bundle;
    if (isSame) return;
    if (type === 'delete') known.delete(key);
    all = undefined;
    for (const listener of listeners) listener(nameOf(object.trustDomain));
  });

  function madeFrom(resource: FederatedTrustDomain): Made {
    const { name, uid, status } = resource;
    const last = known.get(name);
    if (last && last.uid === uid && last.text === status.bundle) return last.made;
    const made = makeFrom(resource);
    known.set(name, { text: status.bundle, uid, made });
    return made;
  }

  function makeFrom(resource: FederatedTrustDomain): Made {
    const { name, trustDomain } = resource;
    const held = heldBundle(resource, needs.now());
    if (!held) return { document: undefined, bundle: undefined };
    const document = printForeignBundle(held);
    if (held.roots.length === 0) return { document, bundle: undefined };
    const pem = trustBundleOf(held.roots);
    if (!pem.ok) return { document, bundle: pem };
    const bundle = success({
      name: nameOf(trustDomain),
      signerName: needs.signerName,
      labels: bundleLabels(needs.trustDomain, 'live', trustDomain),
      annotations: { [sourceAnnotation]: name },
      ...pem.value,
    });
    return { document, bundle };
  }

  function current(): Current {
    if (all) return all;
    const documents = new Map<string, string>();
    const desired = new Map<string, Result<DesiredBundle>>();
    const resources = new Map<string, FederatedTrustDomain>();
    for (const [trustDomain, resource] of countingOnes(store.values())) {
      if (trustDomain === needs.trustDomain) continue;
      const { document, bundle } = madeFrom(resource);
      resources.set(nameOf(trustDomain), resource);
      if (document !== undefined) documents.set(trustDomain, document);
      if (bundle) desired.set(nameOf(trustDomain), bundle);
    }
    all = { documents, desired, resources };
    return all;
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
    desired: () =>
      store.isSynced() ? success(current().desired) : failure('the FederatedTrustDomains are not read yet'),
    async readDesired(signal, name) {
      const resource = current().resources.get(name);
      const live = resource && (await readLive(resource.name, signal));
      const isSame = live?.uid === resource?.uid && live?.trustDomain === resource?.trustDomain;
      const bundle = live && isSame ? makeFrom(live).bundle : undefined;
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
        labels['k8s.spiffe.io/peer-trust-domain'] !== own
      );
    },
    async isStillLeftOver({ name, annotations }, signal) {
      const source = annotations[sourceAnnotation] ?? '';
      // It goes into a path.
      if (!dnsSubdomain.test(source)) return false;
      const live = await readLive(source, signal);
      return !live || nameOf(live.trustDomain) !== name;
    },
  };
}
