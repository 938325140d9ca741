import { createAddressRule } from '../../client/address-rule.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { failure, success } from '../../spiffe/pki/result.ts';
import type { Pool } from '../authority/pool.ts';
import type { Config } from '../config/config.ts';
import { conditionIn } from '../kube/conditions.ts';
import type { EventRecorder } from '../kube/events.ts';
import { createInformer, type Informer, type InformerNeeds } from '../kube/informer.ts';
import type { Membership } from '../kube/membership.ts';
import { ownRank } from '../kube/ranking.ts';
import { clusterTrustBundles, resourcePath } from '../kube/resources.ts';
import type { CertificatesVersion, ClusterTrustBundle } from '../kube/types.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { ObservedBundle } from '../trust/bundle.ts';
import type { createFederationView } from '../trust/siblings.ts';
import { createTrustBundlePublisher } from '../trust/trust-bundle-publisher.ts';
import type { AttemptNeeds } from './attempt.ts';
import { type FederatedTrustDomain, followedTrustDomains } from './federated-trust-domain.ts';
import { secondsOf } from './federation-status.ts';
import { createPeerBundles } from './peer-bundles.ts';
import { createRefresher } from './refresher.ts';
import { createRemover } from './remover.ts';

export interface FederationNeeds extends InformerNeeds {
  readonly config: Pick<Config, 'trustDomain' | 'takeoverDelayMs' | 'federationAllowedAddresses'>;
  /** The signer whose pods verify other trust domains. */
  readonly signerName: string;
  /** The ClusterTrustBundles of this signer. */
  readonly bundles: Informer<ObservedBundle, CertificatesVersion>;
  /** Our own authorities. */
  readonly pool: () => Pool | undefined;
  /** Learns of other clusters and other trust domains. */
  readonly federated: ReturnType<typeof createFederationView>;
  readonly membership: Membership;
  readonly events: EventRecorder;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export interface Federation {
  /** JSON of the bundles that are held, by trust domain; undefined while they are not known. The map is replaced when one changes. */
  readonly documents: () => ReadonlyMap<string, string> | undefined;
  /** Run as long as the replica does. */
  readonly parts: readonly { run(signal: AbortSignal): Promise<unknown> }[];
}

/** Other trust domains: their bundles are fetched and checked by one replica each, and published by all. */
export function createFederation(needs: FederationNeeds): Federation {
  const { config, bundles, membership, transport, metrics, signerName, time } = needs;
  const { trustDomain, takeoverDelayMs } = config;
  const resources: Informer<FederatedTrustDomain> = createInformer(
    needs,
    followedTrustDomains((name) => resources.store.get(name)),
  );
  const peers = createPeerBundles({ resources, signerName, trustDomain, transport, time });
  const common = {
    ...needs,
    takeoverDelayMs,
    rankFor: ownRank(membership),
    observed: bundles.store,
    servedVersion: () => bundles.versions()?.[0],
  };
  needs.federated.set({ siblings: peers.siblings, peers: peers.roots });
  peers.onChange(needs.federated.changed);
  void resources.synced.then(needs.federated.changed);
  metrics.beforeRender(() => setGauges(metrics, resources.store.values(), Math.floor(time.now() / 1000)));
  return {
    documents: peers.documents,
    parts: [
      resources,
      createTrustBundlePublisher({ ...common, source: peers }),
      createRemover({ ...common, peers, synced: resources.synced }),
      createRefresher({
        ...needs,
        resources,
        ownTrustDomain: trustDomain,
        bundleNameOf: peers.nameOf,
        addresses: createAddressRule(config.federationAllowedAddresses),
        readTrustBundle: trustBundleReader(transport, common.servedVersion),
      }),
    ],
  };
}

function trustBundleReader(
  transport: FederationNeeds['transport'],
  servedVersion: () => CertificatesVersion | undefined,
): AttemptNeeds['readTrustBundle'] {
  return async (name, signal) => {
    const version = servedVersion();
    if (!version) return failure('the API server serves no ClusterTrustBundles');
    const path = `${resourcePath(clusterTrustBundles, version)}/${name}`;
    try {
      const { body } = await transport.request<ClusterTrustBundle>({
        ...{ method: 'GET', path, resource: 'clustertrustbundles', signal },
      });
      return success(body.spec.trustBundle);
    } catch (error) {
      return failure(messageOf(error));
    }
  };
}

type Gauges = Pick<Metrics, 'federationBundleAge' | 'federationKeys' | 'federationProblem'>;

/** Several resources may have one peer, such as the other clusters of our own trust domain. */
export function setGauges(
  { federationBundleAge, federationKeys, federationProblem }: Gauges,
  resources: Iterable<Pick<FederatedTrustDomain, 'trustDomain' | 'name' | 'createdAt' | 'status'>>,
  now: number,
): void {
  for (const gauge of [federationBundleAge, federationKeys, federationProblem]) gauge.reset();
  for (const { trustDomain: peer, name: resource, createdAt, status } of resources) {
    const since = secondsOf(status.lastSuccessTime) ?? secondsOf(createdAt);
    if (since !== undefined) federationBundleAge.set({ peer, resource }, now - since);
    for (const condition of ['BundleInvalid', 'Unreachable']) {
      const isTrue = conditionIn(status, condition)?.status === 'True';
      if (isTrue) federationProblem.set({ peer, resource, condition }, 1);
    }
    for (const [use, count] of [
      ['x509-svid', status.x509Keys],
      ['jwt-svid', status.jwtKeys],
    ] as const) {
      if (typeof count === 'number') federationKeys.set({ peer, resource, use }, count);
    }
  }
}
