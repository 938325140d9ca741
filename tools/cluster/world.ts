import type { Identify } from '../../signer/identity/identify.ts';
import type { InformerSpec } from '../../signer/kube/informer.ts';
import { podReaderOf } from '../../signer/kube/pods.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { type SignerProfile, type SignerSettings, settingsOf } from '../../signer/signers/profile.ts';
import { allProfiles } from '../../signer/signers/profiles.ts';
import { createListed, type Listed } from './lists.ts';
import { type KnownPod, podsWithSources } from './pods.ts';
import type { SignerSettings as ClusterSettings } from './signer-settings.ts';

/** What grants the rights to read all of this. */
export const identityViewer = 'ClusterRole kubespiffe-identity-viewer and Role kubespiffe-settings-viewer';

/** A signer as it decides in the cluster. */
export interface KnownSigner {
  readonly profile: SignerProfile;
  readonly settings: SignerSettings;
  readonly identify: Identify;
  /** What its decisions depend on besides the pod. */
  readonly followed: readonly Listed<unknown>[];
}

/** What the signers of a cluster decide by, read once. */
export interface World {
  readonly settings: ClusterSettings;
  readonly pods: Listed<KnownPod>;
  readonly signers: readonly KnownSigner[];
  /** What the signers follow, by the name of the resource, such as `services`. */
  readonly followed: ReadonlyMap<string, Listed<unknown>>;
  /** Reads everything. With a namespace only what is in it, and what is in none. */
  fill(api: Transport, namespace?: string): Promise<void>;
}

/** Makes the decisions of each enabled signer as a replica makes them: by its profile, over stores filled from lists. */
export function createWorld(settings: ClusterSettings): World {
  const { config } = settings;
  const pods = createListed(podsWithSources(podReaderOf(config.podAnnotations)));
  const bySpec = new Map<object, Listed<unknown>>();
  const listedOf = <Wire, T>(spec: InformerSpec<Wire, T>): Listed<T> => {
    const known = bySpec.get(spec) as Listed<T> | undefined;
    if (known) return known;
    const listed = createListed(spec);
    bySpec.set(spec, listed);
    return listed;
  };
  const enabled = allProfiles.filter((profile) => settingsOf(config, profile).enabled);
  const signers = enabled.map((profile): KnownSigner => {
    const followed: Listed<unknown>[] = [];
    const own = settingsOf(config, profile);
    const identify = profile.identifier(own, {
      follow(spec) {
        const listed = listedOf(spec);
        followed.push(listed);
        return listed;
      },
      run: () => undefined,
      config,
      pods,
    });
    return { profile, settings: own, identify, followed };
  });
  const followed = new Map([...bySpec.values()].map((listed) => [listed.spec.resource.name, listed]));

  return {
    settings,
    pods,
    signers,
    followed,
    async fill(api, namespace) {
      await Promise.all([pods, ...bySpec.values()].map((listed) => listed.fill(api, namespace)));
    },
  };
}
