import type { PoolView, PoolViewNeeds } from './authority/view.ts';
import type { Config, SignerConfig } from './config/config.ts';
import type { EventRecorder } from './kube/events.ts';
import type { Informer } from './kube/informer.ts';
import type { Membership } from './kube/membership.ts';
import { ranking } from './kube/ranking.ts';
import type { Transport } from './kube/transport.ts';
import type { CertificatesVersion } from './kube/types.ts';
import type { Logger } from './observe/log.ts';
import type { ObservedBundle } from './trust/bundle.ts';
import { type ConfigMapPublisher, createConfigMapPublisher } from './trust/configmap-publisher.ts';
import { bundleVisibility, lastPublished, poolBundles } from './trust/pool-bundles.ts';
import { decisiveVisibility, type RootVisibility } from './trust/root-visibility.ts';
import type { ObservedConfigMap, OptedIn } from './trust/roots-configmap.ts';
import { createTrustBundlePublisher, type TrustBundlePublisher } from './trust/trust-bundle-publisher.ts';

interface Watched {
  readonly config: Config;
  readonly signer: SignerConfig;
  readonly bundles: Informer<ObservedBundle, CertificatesVersion>;
  /** Undefined where no ConfigMaps are published. */
  readonly roots:
    | { readonly namespaces: Informer<OptedIn>; readonly configMaps: Informer<ObservedConfigMap> }
    | undefined;
  readonly bundleName: string;
}

/** What publishes the roots in the cluster, and what says whether they are published. */
export interface Publishing {
  readonly publisher: TrustBundlePublisher;
  /** Undefined where none are configured. */
  readonly configMaps: ConfigMapPublisher | undefined;
  /** Where a root must be visible before anything is signed, by what the API server serves at this moment. */
  visibility(): RootVisibility;
}

/** What was published last, as our own watch shows it: the pool that is there now has to follow it. */
export function publishedIn({ config, bundles, bundleName }: Watched): PoolViewNeeds['published'] {
  const { trustDomain } = config;
  const cluster = { trustDomain, lacksBundles: bundles.isMissing };
  return { known: bundles.synced, ...lastPublished(bundleName, bundles.store, cluster) };
}

/** Makes what publishes the roots of the pool, in each way that is configured. */
export function joinPublishing(
  needs: Watched & {
    readonly requests: Pick<Informer<unknown>, 'isMissing'>;
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
  const { config, signer, bundles, roots, membership, bundleName, signerName, hasTokenEndpoint } = needs;
  const { trustDomain, takeoverDelayMs } = config;
  const { bundleSuffix: suffix, rootsConfigMap } = signer;
  const rankFor = (name: string) => ranking(name, membership.members()).indexOf(membership.self);
  const common = { ...needs, takeoverDelayMs, rankFor };

  const publisher = createTrustBundlePublisher({
    ...common,
    source: poolBundles(needs.pool, { signerName, suffix, trustDomain }),
    observed: bundles.store,
    servedVersion: () => bundles.versions()?.[0],
  });
  const bundle = bundleVisibility(bundleName, bundles.store, publisher);
  const configMaps =
    roots === undefined || rootsConfigMap === undefined
      ? undefined
      : createConfigMapPublisher({
          ...common,
          namespaces: roots.namespaces.store,
          observed: roots.configMaps.store,
          name: rootsConfigMap,
        });
  return {
    publisher,
    configMaps,
    visibility: () =>
      decisiveVisibility({
        bundle,
        configMaps,
        endpointAlone: hasTokenEndpoint && needs.requests.isMissing(),
        lacksBundles: bundles.isMissing(),
      }),
  };
}
