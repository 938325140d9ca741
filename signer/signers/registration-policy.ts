import type { RegistrationPolicy } from '../identity/guard-rails.ts';
import { policyName } from '../identity/registration-specs.ts';
import type { Informer } from '../kube/informer.ts';
import { ownRank } from '../kube/ranking.ts';
import { resourcePath } from '../kube/resources.ts';
import { pauseWith } from '../kube/time.ts';
import { createKeeper } from '../trust/keeper.ts';
import { fieldManager } from '../trust/trust-bundle-publisher.ts';
import type { Part } from './profile.ts';
import type { Shared } from './shared.ts';

/** How often it is looked for, in milliseconds: the CRD may be installed at any time. */
const lookEveryMs = 5_000;

/**
 * Creates the ClusterRegistrationPolicy where it is missing, without grants. The admission policy for registrations
 * refuses everything without it, and `kubectl apply` cannot create it together with its CRD.
 */
export function createRegistrationPolicy(
  { store, isMissing, spec: { resource } }: Informer<RegistrationPolicy>,
  {
    transport,
    membership,
    config,
    log,
    time,
  }: Pick<Shared, 'transport' | 'membership' | 'config' | 'log' | 'time'>,
): Part {
  const [version] = resource.versions;
  const keeper = createKeeper(
    {
      membership,
      rankFor: ownRank(membership),
      takeoverDelayMs: config.takeoverDelayMs,
      time,
      log,
    },
    {
      drift: (name) => (store.isSynced() && !isMissing() && !store.get(name) ? 'it is missing' : undefined),
      async repair(name, _drift, signal) {
        await transport.request({
          method: 'PATCH',
          path: `${resourcePath(resource, version)}/${name}`,
          query: { fieldManager },
          contentType: 'application/apply-patch+yaml',
          // Where somebody else has created it meanwhile, this changes nothing.
          body: {
            apiVersion: `${resource.group}/${version}`,
            kind: 'ClusterRegistrationPolicy',
            metadata: { name },
            spec: {},
          },
          resource: resource.name,
          discardBody: true,
          signal,
        });
        log.info({ policy: name }, 'ClusterRegistrationPolicy created, without grants');
        return undefined;
      },
      describe: (policy) => ({ policy }),
      concurrency: 1,
    },
  );
  return {
    async run(signal) {
      const keeping = keeper.run(signal);
      const pause = pauseWith(time.timer);
      while (!signal.aborted) {
        keeper.look(policyName);
        await pause(lookEveryMs, signal);
      }
      await keeping;
    },
  };
}
