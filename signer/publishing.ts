import type { PoolView, PoolViewNeeds } from './authority/view.ts';
import type { Caches } from './caches.ts';
import type { Config } from './config/load.ts';
import { type Discovery, isMissing } from './kube/discovery.ts';
import type { EventRecorder } from './kube/events.ts';
import type { Membership } from './kube/membership.ts';
import { ranking } from './kube/ranking.ts';
import type { Transport } from './kube/transport.ts';
import type { Logger } from './observe/log.ts';
import { type ConfigMapPublisher, createConfigMapPublisher } from './trust/configmap-publisher.ts';
import { bundleVisibility, lastPublished, poolBundles } from './trust/pool-bundles.ts';
import { decisiveVisibility, type RootVisibility } from './trust/root-visibility.ts';
import { createTrustBundlePublisher, type TrustBundlePublisher } from './trust/trust-bundle-publisher.ts';

interface Watched {
  readonly config: Config;
  readonly discovery: Discovery;
  readonly caches: Caches;
  readonly bundleName: string;
}

/** What publishes the roots in the cluster, and what says whether they are published. */
export interface Publishing {
  readonly bundles: TrustBundlePublisher;
  /** Undefined where none are configured. */
  readonly configMaps: ConfigMapPublisher | undefined;
  /** Where a root must be visible before anything is signed, by what the API server serves at this moment. */
  visibility(): RootVisibility;
}

const lacksBundles = (discovery: Discovery) => isMissing(discovery.served(), 'clustertrustbundles');

/** What was published last, as our own watch shows it: the pool that is there now has to follow it. */
export function publishedIn({ config, discovery, caches, bundleName }: Watched): PoolViewNeeds['published'] {
  const { trustDomain } = config;
  const cluster = { trustDomain, lacksBundles: () => lacksBundles(discovery) };
  return { known: caches.bundlesKnown, ...lastPublished(bundleName, caches.bundles, cluster) };
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
  const { config, discovery, caches, membership, bundleName, signerName, hasTokenEndpoint } = needs;
  const { trustDomain, takeoverDelayMs, bundleSuffix: suffix, rootsConfigMap } = config;
  const rankFor = (name: string) => ranking(name, membership.members()).indexOf(membership.self);
  const common = { ...needs, takeoverDelayMs, rankFor };

  const bundles = createTrustBundlePublisher({
    ...common,
    source: poolBundles(needs.pool, { signerName, suffix, trustDomain }),
    observed: caches.bundles,
    servedVersion: () => discovery.served()?.clustertrustbundles[0],
  });
  const bundle = bundleVisibility(bundleName, caches.bundles, bundles);
  const configMaps =
    rootsConfigMap === undefined
      ? undefined
      : createConfigMapPublisher({
          ...common,
          namespaces: caches.namespaces,
          observed: caches.configMaps,
          name: rootsConfigMap,
        });
  return {
    bundles,
    configMaps,
    visibility: () =>
      decisiveVisibility({
        bundle,
        configMaps,
        endpointAlone: hasTokenEndpoint && isMissing(discovery.served(), 'podcertificaterequests'),
        lacksBundles: lacksBundles(discovery),
      }),
  };
}
