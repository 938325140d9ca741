import type { LastPublished } from '../authority/holder.ts';
import type { PoolView } from '../authority/view.ts';
import { createInformer } from '../kube/informer.ts';
import { ownRank } from '../kube/ranking.ts';
import { bundleName, bundlesOf } from '../trust/bundle.ts';
import { type ConfigMapPublisherNeeds, createConfigMapPublisher } from '../trust/configmap-publisher.ts';
import { bundleVisibility, lastPublished, poolBundles } from '../trust/pool-bundles.ts';
import { followBundleMark } from '../trust/publication.ts';
import { decisiveVisibility } from '../trust/root-visibility.ts';
import { configMapsNamed, optedInNamespaces } from '../trust/roots-configmap.ts';
import { withoutFederation } from '../trust/siblings.ts';
import { createTrustBundlePublisher } from '../trust/trust-bundle-publisher.ts';
import type { SignerProfile, SignerSettings } from './profile.ts';
import type { RootsConfigMaps, Shared } from './shared.ts';

/** Follows the bundles of a signer; they say as well what was published last. */
export function followBundles(signerName: string, settings: SignerSettings, shared: Shared) {
  const informer = createInformer(shared, bundlesOf(signerName));
  const cluster = { trustDomain: settings.trustDomain, lacksBundles: informer.isMissing };
  const name = bundleName(signerName, settings.bundleSuffix);
  const published: LastPublished & { readonly known: Promise<unknown> } = {
    known: informer.synced,
    ...lastPublished(name, informer.store, cluster),
  };
  return { informer, name, published, mark: followBundleMark(informer.store, name) };
}

/** Makes what publishes the roots of the pool in the cluster, in each way that is configured. */
export function createPublishing(
  profile: SignerProfile,
  settings: SignerSettings,
  shared: Shared,
  parts: {
    readonly pool: PoolView;
    readonly bundles: ReturnType<typeof followBundles>;
    /** Whether the token endpoint is the only way to get a certificate. */
    readonly endpointAlone: () => boolean;
  },
) {
  const { signerName } = profile;
  const { pool, bundles } = parts;
  const { membership, config, clock, time } = shared;
  const federated = profile.hasTokenEndpoint ? shared.federated : withoutFederation;
  const { bundleSuffix: suffix, trustDomain, rootsConfigMap } = settings;
  const now = () => Math.ceil((clock.serverMs() ?? time.now()) / 1000);
  const common = {
    ...shared,
    ...{ pool, federated },
    takeoverDelayMs: config.takeoverDelayMs,
    rankFor: ownRank(membership),
  };
  const publisher = createTrustBundlePublisher({
    ...common,
    source: poolBundles(pool, { signerName, suffix, trustDomain }, now, federated, bundles.mark),
    observed: bundles.informer.store,
    servedVersion: () => bundles.informer.versions()?.[0],
  });
  const bundle = bundleVisibility(bundles.name, bundles.informer.store, publisher);
  const ofOther = shared.rootsConfigMaps.get(pool);
  const own = ofOther ? undefined : rootsConfigMapsNamed(rootsConfigMap, common);
  if (own) shared.rootsConfigMaps.set(pool, own);
  return {
    publisher,
    /** Undefined where none are configured, and where another signer of the pool keeps them. */
    configMaps: own?.publisher,
    informers: own?.informers ?? [],
    /** Where a root must be visible before anything is signed, by what the API server serves at this moment. */
    visibility: () =>
      decisiveVisibility({
        bundle,
        configMaps: (own ?? ofOther)?.publisher,
        endpointAlone: parts.endpointAlone(),
        lacksBundles: bundles.informer.isMissing(),
      }),
  };
}

function rootsConfigMapsNamed(
  name: string | undefined,
  needs: Shared & Omit<ConfigMapPublisherNeeds, 'namespaces' | 'observed' | 'name'>,
): RootsConfigMaps | undefined {
  if (name === undefined) return undefined;
  const namespaces = createInformer(needs, optedInNamespaces);
  const configMaps = createInformer(needs, configMapsNamed(name));
  const stores = { namespaces: namespaces.store, observed: configMaps.store };
  return {
    publisher: createConfigMapPublisher({ ...needs, ...stores, name }),
    informers: [namespaces, configMaps],
  };
}
