import { isNotFoundOfObject } from '../kube/api-error.ts';
import { clusterTrustBundles, resourcePath } from '../kube/resources.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import type { ObservedBundle } from '../trust/bundle.ts';
import { createKeeper, type KeeperNeeds } from '../trust/keeper.ts';
import type { PeerBundles } from './peer-bundles.ts';

export interface RemoverNeeds extends KeeperNeeds {
  readonly peers: Pick<PeerBundles, 'isLeftOver' | 'isStillLeftOver' | 'onChange'>;
  readonly observed: Store<ObservedBundle>;
  readonly transport: Pick<Transport, 'request'>;
  readonly servedVersion: () => CertificatesVersion | undefined;
}

/** Deletes the ClusterTrustBundles of trust domains whose FederatedTrustDomain was deleted: nobody trusts them any more. */
export function createRemover(needs: RemoverNeeds) {
  const { peers, observed, log } = needs;
  const keeper = createKeeper(needs, {
    drift(name) {
      const bundle = observed.get(name);
      return bundle && peers.isLeftOver(bundle) ? 'its FederatedTrustDomain was deleted' : undefined;
    },
    repair,
    describe: (name) => ({ bundle: name }),
    concurrency: 4,
  });

  /** Throws what the transport throws. */
  async function repair(name: string, drift: string, signal: AbortSignal): Promise<string | undefined> {
    const bundle = observed.get(name);
    const version = needs.servedVersion();
    if (!bundle || !version) return undefined;
    if (!(await peers.isStillLeftOver(bundle, signal))) return 'its FederatedTrustDomain exists';
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
    log.info({ bundle: name, drift }, 'trust bundle deleted');
    return undefined;
  }

  observed.subscribe(({ key }) => keeper.look(key));
  peers.onChange((name) => {
    if (name !== undefined) keeper.look(name);
  });
  return { run: (signal: AbortSignal) => keeper.run(signal) };
}
