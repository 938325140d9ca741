import type { Pool } from '../authority/pool.ts';
import { markOf } from '../authority/sequence.ts';
import type { PoolView } from '../authority/view.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import { type DesiredBundle, desiredBundle, driftOf, type PublishedBundle } from './bundle.ts';
import { createKeeper, type KeeperNeeds } from './keeper.ts';
import type { Publication } from './publication.ts';

export interface PublisherNeeds extends KeeperNeeds {
  readonly pool: PoolView;
  /** What our own watch shows, keyed by name. */
  readonly published: Store<PublishedBundle>;
  readonly transport: Transport;
  readonly servedVersion: () => CertificatesVersion | undefined;
  readonly signerName: string;
  readonly bundleName: string;
  readonly suffix: string;
  readonly trustDomain: string;
}

export interface Publisher extends Publication {
  onChange(listener: () => void): void;
  /** Keeps the bundle right until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** The field manager under which we own the content and the labels of what we publish. */
export const fieldManager = 'kubespiffe';

/**
 * Keeps the ClusterTrustBundle equal to the roots of the pool. The writer reads the Secret live first, so that an old
 * view cannot take a root away; a pool that is empty or cannot be read changes nothing.
 */
export function createPublisher(needs: PublisherNeeds): Publisher {
  const { pool, published, bundleName, log } = needs;
  const listeners: (() => void)[] = [];
  const keeper = createKeeper(needs, {
    drift: () => (pool.current() ? drift() : undefined),
    repair: (_name, found, signal) => repair(found, signal),
    describe: (name) => ({ bundle: name }),
    concurrency: 1,
  });

  const desiredFrom = (source: Pool) =>
    desiredBundle({ ...needs, roots: source.roots, mark: markOf(source) });

  function drift(): string | undefined {
    const current = pool.current();
    if (!current) return 'there is no usable pool to publish';
    const desired = desiredFrom(current);
    return desired.ok ? driftOf(desired.value, published.get(bundleName)) : desired.reason;
  }

  function changed(): void {
    keeper.look(bundleName);
    for (const listener of listeners) listener();
  }
  published.subscribe(changed);
  pool.onChange(changed);

  /** @returns why nothing was written, or undefined. Throws what the transport throws. */
  async function repair(found: string, signal: AbortSignal): Promise<string | undefined> {
    const known = published.get(bundleName);
    const live = await pool.readLive(signal);
    if (!live.ok) return live.problem.message;
    const desired = desiredFrom(live.pool);
    if (!desired.ok) return desired.reason;
    if (driftOf(desired.value, published.get(bundleName)) === undefined) return undefined;
    const version = needs.servedVersion();
    if (!version) return 'the API server serves no ClusterTrustBundles';
    await apply(desired.value, known, version, signal);
    log.info({ bundle: bundleName, drift: found, roots: desired.value.roots.size }, 'trust bundle published');
    return undefined;
  }

  /** @param known as it was before the pool was read: what another replica has published since is not overwritten. */
  async function apply(
    desired: DesiredBundle,
    known: PublishedBundle | undefined,
    version: CertificatesVersion,
    signal: AbortSignal,
  ): Promise<void> {
    const apiVersion = `certificates.k8s.io/${version}`;
    const { name, labels, annotations, signerName, trustBundle } = desired;
    await needs.transport.request({
      method: 'PATCH',
      path: `/apis/${apiVersion}/clustertrustbundles/${name}`,
      query: { fieldManager, force: 'true' },
      contentType: 'application/apply-patch+yaml',
      body: {
        apiVersion,
        kind: 'ClusterTrustBundle',
        metadata: { name, labels, annotations, ...(known && { resourceVersion: known.resourceVersion }) },
        spec: { signerName, trustBundle },
      },
      resource: 'clustertrustbundles',
      discardBody: true,
      signal,
    });
  }

  return {
    place: `ClusterTrustBundle ${bundleName}`,
    whenShown: `ClusterTrustBundle ${bundleName} shows the root of the active authority`,
    isPublished: (root) => published.get(bundleName)?.roots.has(root.sha256Hex) ?? false,
    problem() {
      const found = drift();
      const fault = keeper.fault(bundleName);
      return found && (fault === undefined ? found : `${found}: ${fault}`);
    },
    onChange: (listener) => void listeners.push(listener),
    run(signal) {
      keeper.look(bundleName);
      return keeper.run(signal);
    },
  };
}
