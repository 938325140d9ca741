import { timingOf } from '../config/rotation.ts';
import { ownRank } from '../kube/ranking.ts';
import { childOf } from '../observe/log.ts';
import { keysIn, shownSince } from '../trust/added-at.ts';
import { bundleName } from '../trust/bundle.ts';
import type { Signer } from './create-signer.ts';
import { settingsOf } from './profile.ts';
import { createRotation, type PublishedRoots, type Rotation } from './rotation.ts';
import { createRotationCondition } from './rotation-condition.ts';
import type { Shared } from './shared.ts';

/** The rotations of all pools, each by the settings of the first signer that signs from it. */
export function createRotations(shared: Shared, signers: readonly Signer[]): Rotation {
  const { config, membership } = shared;
  const { namespace, replica, takeoverDelayMs } = config;
  const self = { namespace, replica, takeoverDelayMs, pods: shared.pods.store };
  const condition = createRotationCondition({ ...shared, ...self });
  const rotations = [...Map.groupBy(signers, ({ pool }) => pool)].flatMap(([view, ofPool]) => {
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
        ...{ ...self, condition, rankFor: ownRank(membership) },
      }),
    ];
  });
  return {
    look() {
      for (const each of rotations) each.look();
    },
    refreshMetrics() {
      for (const each of rotations) each.refreshMetrics();
    },
    run: (signal) => Promise.all([condition, ...rotations].map((each) => each.run(signal))),
  };
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
    keysInAll: (now) =>
      bundles()
        .map((bundle) => keysIn(bundle, now))
        .reduce((all, each) => all.intersection(each)),
    inAll: () => live()?.reduce((all, each) => all.intersection(each)),
    inAny: () => live()?.reduce((any, each) => any.union(each)),
    isVisible: (root) => signers.every((signer) => signer.visibility().isVisible(root)),
  };
}
