import type { Store } from '../kube/store.ts';
import type { PublishedBundle } from './bundle.ts';
import type { PublishedRoots } from './roots-configmap.ts';

/**
 * What our own watches show of the roots, where it is decisive: in the ClusterTrustBundle, or in the ConfigMaps where
 * the API server serves no bundles. Where there are none of these either, nothing is shown.
 *
 * @returns SHA-256 of all roots that are seen there, the pool's or not; undefined while it is not known.
 */
export function shownRoots(watched: {
  readonly bundles: Store<PublishedBundle>;
  readonly bundleName: string;
  /** Whether it is known that no ClusterTrustBundles are served. */
  readonly lacksBundles: boolean;
  /** Undefined: no ConfigMaps are published. */
  readonly configMaps:
    | { readonly namespaces: Store<unknown>; readonly published: Store<PublishedRoots> }
    | undefined;
}): ReadonlySet<string> | undefined {
  const { bundles, bundleName, lacksBundles, configMaps } = watched;
  if (!lacksBundles) return bundles.isSynced() ? (bundles.get(bundleName)?.roots ?? new Set()) : undefined;
  if (!configMaps) return new Set();
  const { namespaces, published } = configMaps;
  if (!namespaces.isSynced() || !published.isSynced()) return undefined;
  return new Set([...published.values()].flatMap(({ roots }) => [...roots]));
}
