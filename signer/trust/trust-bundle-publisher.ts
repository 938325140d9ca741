import type { Result } from '../../spiffe/pki/result.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import { type DesiredBundle, differenceOf, type ObservedBundle } from './bundle.ts';
import { createKeeper, type KeeperNeeds } from './keeper.ts';

/** The ClusterTrustBundles that should exist, by name. A failure says why a bundle cannot be made. */
export type DesiredBundles = ReadonlyMap<string, Result<DesiredBundle>>;

/** Where the desired bundles come from, such as a pool (pool-bundles.ts). */
export interface BundleSource {
  /** From what this replica has seen. A failure is the reason why nothing is known; then nothing is written. */
  desired(): Result<DesiredBundles>;
  /** The same, read live from the API server, at least for the bundle of this name. Throws what the transport throws. */
  readDesired(signal: AbortSignal, name: string): Promise<Result<DesiredBundles>>;
  /** Reports the name of the bundle that may have changed; undefined for all. */
  onChange(listener: (name?: string) => void): void;
}

export interface TrustBundlePublisherNeeds extends KeeperNeeds {
  readonly source: BundleSource;
  /** What our own watch shows, by name. Bundles that are not desired are left alone. */
  readonly observed: Store<ObservedBundle>;
  readonly transport: Pick<Transport, 'request'>;
  /** The served version of ClusterTrustBundles. */
  readonly servedVersion: () => CertificatesVersion | undefined;
}

export type TrustBundlePublisher = ReturnType<typeof createTrustBundlePublisher>;

/** The field manager under which we own the content and the labels of what we publish. */
export const fieldManager = 'kubespiffe';

/**
 * The resourceVersion of an apply that may only create: no object has it, because the first write in etcd gets 2. If the
 * object exists by then, the API server refuses the apply with 409. Without a resourceVersion it would change what another replica
 * has just created, because all replicas are the same field manager. A POST would need a right that RBAC cannot limit to names.
 */
export const createOnly = '1';

/**
 * Keeps ClusterTrustBundles in their desired state. Before each write the source is read live, so that an old view cannot
 * remove a root. A bundle is never deleted, and never written while the source is unknown or yields no bundle.
 */
export function createTrustBundlePublisher(needs: TrustBundlePublisherNeeds) {
  const { source, observed, log } = needs;
  const listeners: (() => void)[] = [];
  const keeper = createKeeper(needs, {
    difference: (name) =>
      source.desired().ok && observed.isSynced() ? difference(name, source.desired()) : undefined,
    repair,
    describe: (name) => ({ bundle: name }),
    concurrency: 4,
  });

  function difference(name: string, desired: Result<DesiredBundles>): string | undefined {
    if (!desired.ok) return desired.reason;
    const bundle = desired.value.get(name);
    if (!bundle) return undefined;
    return bundle.ok ? differenceOf(bundle.value, observed.get(name)) : bundle.reason;
  }

  function lookAtDesired(): void {
    const desired = source.desired();
    if (desired.ok) for (const name of desired.value.keys()) keeper.look(name);
  }

  function onChange(look: () => void): void {
    look();
    for (const listener of listeners) listener();
  }
  observed.subscribe(({ key }) => onChange(() => keeper.look(key)));
  source.onChange((name) => onChange(name === undefined ? lookAtDesired : () => keeper.look(name)));

  /** @returns why nothing was written, or undefined. Throws what the transport throws. */
  async function repair(name: string, found: string, signal: AbortSignal): Promise<string | undefined> {
    const known = observed.get(name);
    const desired = await source.readDesired(signal, name);
    if (!desired.ok) return desired.reason;
    const bundle = desired.value.get(name);
    if (!bundle) return undefined;
    if (!bundle.ok) return bundle.reason;
    if (differenceOf(bundle.value, observed.get(name)) === undefined) return undefined;
    const version = needs.servedVersion();
    if (!version) return 'the API server serves no ClusterTrustBundles';
    await apply(bundle.value, known, version, signal);
    log.info({ bundle: name, difference: found, roots: bundle.value.roots.size }, 'trust bundle published');
    return undefined;
  }

  /**
   * @param known the bundle before the source was read, or undefined for none. What another replica published since then is
   * not overwritten.
   */
  async function apply(
    { name, labels, annotations, annotationsAfter, signerName, trustBundle }: DesiredBundle,
    known: ObservedBundle | undefined,
    version: CertificatesVersion,
    signal: AbortSignal,
  ): Promise<void> {
    const apiVersion = `certificates.k8s.io/${version}`;
    await needs.transport.request({
      method: 'PATCH',
      path: `/apis/${apiVersion}/clustertrustbundles/${name}`,
      query: { fieldManager, force: 'true' },
      contentType: 'application/apply-patch+yaml',
      body: {
        apiVersion,
        kind: 'ClusterTrustBundle',
        metadata: {
          ...{ name, labels, annotations: { ...annotations, ...annotationsAfter?.(known) } },
          resourceVersion: known?.resourceVersion ?? createOnly,
        },
        spec: { signerName, trustBundle },
      },
      resource: 'clustertrustbundles',
      discardBody: true,
      signal,
    });
  }

  return {
    /** What is wrong with the bundle of this name; undefined when nothing is. */
    problem(name: string): string | undefined {
      if (!observed.isSynced()) return 'the ClusterTrustBundles are not read yet';
      const found = difference(name, source.desired());
      const failure = keeper.problem(name);
      return found && (failure === undefined ? found : `${found}: ${failure}`);
    },
    /** Calls the listener when what is desired or observed may have changed. */
    onChange: (listener: () => void) => void listeners.push(listener),
    /** Keeps the bundles up to date until the signal is aborted. */
    run(signal: AbortSignal): Promise<void> {
      // A bundle is known to be missing only when those of the cluster are read.
      void observed.synced.then(lookAtDesired);
      return keeper.run(signal);
    },
  };
}
