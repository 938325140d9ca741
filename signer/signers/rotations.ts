import { timingOf } from '../config/rotation.ts';
import { ownRank } from '../kube/ranking.ts';
import { childOf } from '../observe/log.ts';
import { shownSince } from '../trust/added-at.ts';
import { bundleName } from '../trust/bundle.ts';
import type { Signer } from './create-signer.ts';
import { settingsOf } from './profile.ts';
import { createRotation, type PublishedRoots, type Rotation } from './rotation.ts';
import type { Shared } from './shared.ts';

/** A rotation for each pool, by the settings of the first signer that signs from it. */
export function createRotations(shared: Shared, signers: readonly Signer[]): readonly Rotation[] {
  const { config, membership } = shared;
  return [...Map.groupBy(signers, ({ pool }) => pool)].flatMap(([view, ofPool]) => {
    const [first] = ofPool;
    const settings = first && settingsOf(config, first.profile);
    if (!first || !settings?.rotation) return [];
    const { signerName } = first.profile;
    const { pool, rotation } = settings;
    return [
      createRotation({
        ...shared,
        ...{ signerName, pool, rotation, view },
        log: childOf(shared.log, { signer: signerName }),
        timing: timingOf(settings, config.endpoints?.token),
        published: publishedRoots(shared, ofPool),
        pods: shared.pods.store,
        namespace: config.namespace,
        replica: config.replica,
        rankFor: ownRank(membership),
        takeoverDelayMs: config.takeoverDelayMs,
      }),
    ];
  });
}

function publishedRoots({ config }: Shared, signers: readonly Signer[]): PublishedRoots {
  const bundles = () =>
    signers.map(({ profile, bundles: { store } }) =>
      store.get(bundleName(profile.signerName, settingsOf(config, profile).bundleSuffix)),
    );
  /** The roots in the live bundle of each signer. */
  const live = (): readonly ReadonlySet<string>[] | undefined =>
    signers.some((signer) => signer.bundles.isMissing())
      ? undefined
      : bundles().map((bundle) => bundle?.roots ?? new Set());
  return {
    since: (now) => shownSince(bundles(), now),
    inAll: () => live()?.reduce((all, each) => all.intersection(each)),
    inAny: () => live()?.reduce((any, each) => any.union(each)),
    isVisible: (root) => signers.every((signer) => signer.visibility().isVisible(root)),
  };
}
