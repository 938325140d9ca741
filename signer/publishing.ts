import type { PoolView, PoolViewNeeds } from './authority/view.ts';
import type { Caches } from './caches.ts';
import type { Config } from './config/load.ts';
import { type Discovery, isMissing } from './kube/discovery.ts';
import type { EventRecorder } from './kube/events.ts';
import type { Membership } from './kube/membership.ts';
import { ranking } from './kube/ranking.ts';
import type { Transport } from './kube/transport.ts';
import type { Logger } from './observe/log.ts';
import { markIn, rootEndsIn } from './trust/bundle.ts';
import { type ConfigMapPublisher, createConfigMapPublisher } from './trust/configmap-publisher.ts';
import { decisivePublication, type Publication } from './trust/publication.ts';
import { createPublisher, type Publisher } from './trust/publisher.ts';
import { shownRoots } from './trust/shown.ts';

interface Watched {
  readonly config: Config;
  readonly discovery: Discovery;
  readonly caches: Caches;
  readonly bundleName: string;
}

/** What publishes the roots in the cluster, and what says whether they are published. */
export interface Publishing {
  readonly bundle: Publisher;
  /** Undefined where none are configured. */
  readonly configMaps: ConfigMapPublisher | undefined;
  /** The way that counts before anything is signed, by what the API server serves at this moment. */
  publication(): Publication;
}

/** What our own watches show of the pool that was published: the pool that is there now has to follow it. */
export function publishedIn({ config, discovery, caches, bundleName }: Watched): PoolViewNeeds['published'] {
  const { bundles, namespaces, configMaps } = caches;
  return {
    known: caches.bundlesKnown,
    roots: () =>
      shownRoots({
        bundles,
        bundleName,
        lacksBundles: isMissing(discovery.served(), 'clustertrustbundles'),
        configMaps: config.rootsConfigMap === undefined ? undefined : { namespaces, published: configMaps },
      }),
    mark: () => markIn(bundles.get(bundleName), config.trustDomain),
    rootEnds: () => rootEndsIn(bundles.get(bundleName), config.trustDomain),
  };
}

/** Makes what publishes the roots of the pool, in each way that is configured. */
export function joinPublishing(
  needs: Watched & {
    readonly pool: PoolView;
    readonly membership: Membership;
    readonly transport: Transport;
    readonly events: EventRecorder;
    readonly signerName: string;
    readonly hasTokenEndpoint: boolean;
    readonly log: Logger;
    readonly monotonic: () => number;
    readonly jitter: () => number;
  },
): Publishing {
  const { config, discovery, caches, membership, hasTokenEndpoint } = needs;
  const { trustDomain, takeoverDelayMs, bundleSuffix: suffix, rootsConfigMap } = config;
  const rankFor = (name: string) => ranking(name, membership.members()).indexOf(membership.self);
  const common = { ...needs, trustDomain, takeoverDelayMs, rankFor };

  const bundle = createPublisher({
    ...common,
    published: caches.bundles,
    servedVersion: () => discovery.served()?.clustertrustbundles[0],
    suffix,
  });
  const configMaps =
    rootsConfigMap === undefined
      ? undefined
      : createConfigMapPublisher({
          ...common,
          namespaces: caches.namespaces,
          published: caches.configMaps,
          name: rootsConfigMap,
        });
  return {
    bundle,
    configMaps,
    publication: () =>
      decisivePublication({
        bundle,
        configMaps,
        endpointAlone: hasTokenEndpoint && isMissing(discovery.served(), 'podcertificaterequests'),
        lacksBundles: isMissing(discovery.served(), 'clustertrustbundles'),
      }),
  };
}
