import { failure, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import type { LastPublished } from '../authority/holder.ts';
import type { Pool } from '../authority/pool.ts';
import { publishedJwtKeys } from '../authority/published-content.ts';
import { markOf, type PoolMark } from '../authority/sequence.ts';
import type { PoolView } from '../authority/view.ts';
import type { Store } from '../kube/store.ts';
import { addedAtAnnotation } from './added-at.ts';
import {
  bundleName,
  type DesiredBundle,
  desiredBundle,
  markIn,
  type ObservedBundle,
  rootEndsIn,
} from './bundle.ts';
import { bundleMark, nextBundleMark } from './publication.ts';
import type { RootVisibility } from './root-visibility.ts';
import { type FederationView, withoutFederation } from './siblings.ts';
import type { BundleSource, DesiredBundles, TrustBundlePublisher } from './trust-bundle-publisher.ts';

/** The signer of the bundles. */
export interface BundleOwner {
  readonly signerName: string;
  /** Last part of the bundle's name: the setting bundleSuffix. */
  readonly suffix: string;
  readonly trustDomain: string | undefined;
}

/**
 * The desired ClusterTrustBundles of a pool. The live one also records the sequence of the SPIFFE bundle where other
 * clusters have a part in it (publication.ts); their roots are in bundles of their own.
 *
 * @param now whole seconds since the epoch, by the clock of the API server.
 */
export function poolBundles(
  pool: Pick<PoolView, 'current' | 'readLive' | 'onChange'>,
  owner: BundleOwner,
  now: () => Seconds,
  federated: FederationView = withoutFederation,
  recordedMark: () => PoolMark | undefined = () => undefined,
): BundleSource {
  let made: { readonly from: Pool; readonly text: string; readonly bundles: DesiredBundles } | undefined;
  const liveName = bundleName(owner.signerName, owner.suffix);

  function markFor(current: Pool): PoolMark | undefined {
    const recorded = recordedMark();
    const others = federated.siblings();
    return others ? nextBundleMark(current, others, recorded) : recorded;
  }

  /** A pool is replaced as a whole, never changed, so its bundles are made once. */
  function bundlesOf(current: Pool): DesiredBundles {
    const mark = markFor(current);
    const text = JSON.stringify(mark) ?? '';
    if (made?.from !== current || made.text !== text)
      made = { from: current, text, bundles: desiredBundles(current, owner, now, mark) };
    return made.bundles;
  }

  return {
    desired() {
      const current = pool.current();
      return current ? success(bundlesOf(current)) : failure('there is no usable pool to publish');
    },
    async readDesired(signal) {
      const live = await pool.readLive(signal);
      return live.ok ? success(bundlesOf(live.pool)) : failure(live.problem.message);
    },
    onChange(listener) {
      pool.onChange(() => listener());
      federated.onChange(() => listener(liveName));
    },
  };
}

/** The preview bundle always exists: a pod that selects it would not start without it. It has the live roots too. */
function desiredBundles(
  pool: Pool,
  owner: BundleOwner,
  now: () => Seconds,
  recorded: PoolMark | undefined,
): DesiredBundles {
  const mark = markOf(pool);
  const kids = publishedJwtKeys(pool).map(({ kid }) => kid);
  const live = desiredBundle({
    ...{ ...owner, canarying: 'live', roots: pool.roots, mark },
    more: recorded ? bundleMark.annotationsOf(recorded) : {},
  });
  return new Map([
    [bundleName(owner.signerName, owner.suffix), live.ok ? success(dated(live.value, kids, now)) : live],
    [
      bundleName(owner.signerName, owner.suffix, 'preview'),
      desiredBundle({ ...owner, canarying: 'preview', roots: pool.previewRoots, mark }),
    ],
  ]);
}

function dated(bundle: DesiredBundle, kids: readonly string[], now: () => Seconds): DesiredBundle {
  return { ...bundle, annotationsAfter: (before) => addedAtAnnotation(bundle.roots, kids, before, now()) };
}

/** The live bundle as the place where a root must be visible. */
export function bundleVisibility(
  name: string,
  observed: Pick<Store<ObservedBundle>, 'get'>,
  publisher: Pick<TrustBundlePublisher, 'problem'>,
): RootVisibility {
  const place = `ClusterTrustBundle ${name}`;
  return {
    place,
    whenVisible: `${place} shows the root of the active authority`,
    isVisible: (root) => observed.get(name)?.roots.has(root.sha256Hex) ?? false,
    problem: () => publisher.problem(name),
  };
}

/** The last published pool, as the live bundle records it. */
export function lastPublished(
  name: string,
  observed: Pick<Store<ObservedBundle>, 'get' | 'isSynced'>,
  cluster: {
    readonly trustDomain: string | undefined;
    /** Whether it is known that no ClusterTrustBundles are served. */
    readonly lacksBundles: () => boolean;
  },
): LastPublished {
  return {
    mark: () => markIn(observed.get(name), cluster.trustDomain),
    rootEnds: () =>
      observed.isSynced() || cluster.lacksBundles()
        ? rootEndsIn(observed.get(name), cluster.trustDomain)
        : undefined,
  };
}
