import { type BundleKey, identityOf } from './bundle-keys.ts';

/** Where a key is. */
export interface KeyPlaces {
  readonly key: BundleKey;
  /** The endpoint serves it now. */
  readonly served: boolean;
  /** The signer took it, and serves it at `/bundles`. */
  readonly stored: boolean;
  /** It is in the ClusterTrustBundle; null for JWT keys, which are in none. */
  readonly published: boolean | null;
}

/** Each key of any place, in the order of the lists. Pure. */
export function placesOf(
  served: readonly BundleKey[],
  stored: readonly BundleKey[],
  published: readonly BundleKey[],
): KeyPlaces[] {
  const idsOf = (keys: readonly BundleKey[]) => new Set(keys.map(identityOf));
  const [isServed, isStored, isPublished] = [idsOf(served), idsOf(stored), idsOf(published)];
  const all = new Map([...published, ...stored, ...served].map((key) => [identityOf(key), key]));
  return [...all].map(([id, key]) => ({
    key,
    served: isServed.has(id),
    stored: isStored.has(id),
    published: key.use === 'x509-svid' ? isPublished.has(id) : null,
  }));
}

/** Whether a key is in every place that it can be in. */
export function isEverywhere({ served, stored, published }: KeyPlaces): boolean {
  return served && stored && published !== false;
}
