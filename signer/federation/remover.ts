import { once } from 'node:events';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import { clusterTrustBundles, resourcePath } from '../kube/resources.ts';
import type { Store } from '../kube/store.ts';
import { pauseWith } from '../kube/time.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import type { ObservedBundle } from '../trust/bundle.ts';
import { createKeeper, type KeeperNeeds } from '../trust/keeper.ts';
import type { PeerBundles } from './peer-bundles.ts';

export interface RemoverNeeds extends KeeperNeeds {
  readonly peers: Pick<PeerBundles, 'isLeftOver' | 'isStillLeftOver' | 'onChange'>;
  /** Resolves when the FederatedTrustDomains are read. */
  readonly synced: Promise<void>;
  readonly observed: Store<ObservedBundle>;
  readonly transport: Pick<Transport, 'request'>;
  readonly servedVersion: () => CertificatesVersion | undefined;
}

/**
 * Interval, in milliseconds, at which all bundles are checked. A resource that was deleted while no replica ran, or while
 * the API server did not serve the resource, causes no event. A check of 1,000 bundles takes less than a millisecond.
 */
const lookAgainMs = 5_000;

/** Deletes the ClusterTrustBundles whose FederatedTrustDomain was deleted. */
export function createRemover(needs: RemoverNeeds) {
  const { peers, observed, log } = needs;
  const keeper = createKeeper(needs, {
    difference,
    repair,
    describe: (name) => ({ bundle: name }),
    concurrency: 4,
  });

  function difference(name: string): string | undefined {
    const bundle = observed.get(name);
    return bundle && peers.isLeftOver(bundle) ? 'its FederatedTrustDomain was deleted' : undefined;
  }

  /** Throws what the transport throws. */
  async function repair(name: string, found: string, signal: AbortSignal): Promise<string | undefined> {
    const bundle = observed.get(name);
    const version = needs.servedVersion();
    if (!bundle || !version) return undefined;
    if (!(await peers.isStillLeftOver(bundle, signal))) return 'a FederatedTrustDomain has this bundle';
    try {
      await needs.transport.request({
        method: 'DELETE',
        path: `${resourcePath(clusterTrustBundles, version)}/${name}`,
        body: { preconditions: { resourceVersion: bundle.resourceVersion } },
        resource: 'clustertrustbundles',
        discardBody: true,
        signal,
      });
    } catch (error) {
      if (!isNotFoundOfObject(error)) throw error;
    }
    log.info({ bundle: name, difference: found }, 'trust bundle deleted');
    return undefined;
  }

  observed.subscribe(({ key }) => keeper.look(key));
  peers.onChange((name) => {
    if (name !== undefined) keeper.look(name);
  });
  return {
    async run(signal: AbortSignal): Promise<void> {
      const pause = pauseWith(needs.time.timer);
      const working = keeper.run(signal);
      await Promise.race([needs.synced, once(signal, 'abort')]);
      while (!signal.aborted) {
        for (const name of observed.keys()) if (difference(name) !== undefined) keeper.look(name);
        await pause(lookAgainMs, signal);
      }
      await working;
    },
  };
}
