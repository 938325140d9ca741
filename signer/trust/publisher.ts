import type { PoolView } from '../authority/view.ts';
import { messageOf } from '../errors.ts';
import type { Membership } from '../kube/membership.ts';
import { createQueue } from '../kube/queue.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import type { Logger } from '../observe/log.ts';
import type { CertificateFacts } from '../pki/certificate.ts';
import { type DesiredBundle, desiredBundle, driftOf, type PublishedBundle } from './bundle.ts';

export interface PublisherNeeds {
  readonly pool: PoolView;
  /** What our own watch shows, keyed by name. */
  readonly published: Store<PublishedBundle>;
  readonly transport: Transport;
  readonly servedVersion: () => CertificatesVersion | undefined;
  readonly membership: Membership;
  /** The rank of this replica as writer of a bundle: 0 writes at once. */
  readonly rankFor: (name: string) => number;
  readonly signerName: string;
  readonly bundleName: string;
  readonly suffix: string;
  readonly trustDomain: string;
  readonly takeoverDelayMs: number;
  readonly monotonic: () => number;
  readonly jitter: () => number;
  readonly log: Logger;
}

export interface Publisher {
  /** Whether this replica's own watch shows a root in the bundle: only then may it be signed under. */
  isPublished(root: CertificateFacts): boolean;
  /** Why the bundle is not as it should be; undefined when it is. */
  problem(): string | undefined;
  onChange(listener: () => void): void;
  run(signal: AbortSignal): Promise<void>;
}

/** The field manager under which we own the bundle's content and labels. */
const fieldManager = 'kubespiffe';
/** A look at the state without a hint from a watch, in milliseconds: it costs nothing when nothing is wrong. */
const recheckMs = 30_000;

/**
 * Keeps the ClusterTrustBundle equal to the roots of the pool. Every replica watches; one writes, and the next one
 * steps in when the drift stays. The writer reads the Secret live first, so that an old view cannot take a root
 * away; a pool that is empty or cannot be read changes nothing.
 */
export function createPublisher(needs: PublisherNeeds): Publisher {
  const { pool, published, bundleName, monotonic, log } = needs;
  const queue = createQueue({ monotonic, jitter: needs.jitter });
  const listeners: (() => void)[] = [];
  let driftSince: number | undefined;
  let lastFault: string | undefined;

  function drift(): string | undefined {
    const current = pool.current();
    if (!current) return 'there is no usable pool to publish';
    const desired = desiredBundle({ ...needs, roots: current.roots });
    return desired.ok ? driftOf(desired.value, published.get(bundleName)) : desired.reason;
  }

  function changed(): void {
    queue.add(bundleName);
    for (const listener of listeners) listener();
  }
  published.subscribe(changed);
  pool.onChange(changed);
  needs.membership.onChange(() => queue.add(bundleName));

  async function work(_key: string, signal: AbortSignal): Promise<void> {
    const found = drift();
    if (found === undefined || !pool.current()) {
      driftSince = undefined;
      queue.forget(bundleName);
      queue.addAfter(bundleName, recheckMs);
      return;
    }
    driftSince ??= monotonic();
    const turnAt = driftSince + needs.rankFor(bundleName) * needs.takeoverDelayMs;
    if (turnAt > monotonic()) return queue.addAfter(bundleName, turnAt - monotonic());
    try {
      lastFault = await repair(found, signal);
    } catch (error) {
      lastFault = messageOf(error);
    }
    if (lastFault !== undefined) log.warn({ bundle: bundleName, drift: found }, lastFault);
    // The watch brings the good news; this is for the case that it does not.
    queue.addRateLimited(bundleName);
  }

  /** @returns why nothing was written, or undefined. Throws what the transport throws. */
  async function repair(found: string, signal: AbortSignal): Promise<string | undefined> {
    const live = await pool.readLive(signal);
    if (!live.ok) return live.problem.message;
    const desired = desiredBundle({ ...needs, roots: live.pool.roots });
    if (!desired.ok) return desired.reason;
    if (driftOf(desired.value, published.get(bundleName)) === undefined) return undefined;
    const version = needs.servedVersion();
    if (!version) return 'the API server serves no ClusterTrustBundles';
    await apply(desired.value, version, signal);
    log.info({ bundle: bundleName, drift: found, roots: desired.value.roots.size }, 'trust bundle published');
    return undefined;
  }

  async function apply(
    desired: DesiredBundle,
    version: CertificatesVersion,
    signal: AbortSignal,
  ): Promise<void> {
    const apiVersion = `certificates.k8s.io/${version}`;
    const { name, labels, signerName, trustBundle } = desired;
    await needs.transport.request({
      method: 'PATCH',
      path: `/apis/${apiVersion}/clustertrustbundles/${name}`,
      query: { fieldManager, force: 'true' },
      contentType: 'application/apply-patch+yaml',
      body: {
        apiVersion,
        kind: 'ClusterTrustBundle',
        metadata: { name, labels },
        spec: { signerName, trustBundle },
      },
      resource: 'clustertrustbundles',
      discardBody: true,
      signal,
    });
  }

  return {
    isPublished: (root) => published.get(bundleName)?.roots.has(root.sha256Hex) ?? false,
    problem() {
      const found = drift();
      return found && (lastFault === undefined ? found : `${found}: ${lastFault}`);
    },
    onChange: (listener) => void listeners.push(listener),
    async run(signal) {
      queue.add(bundleName);
      await queue.run(work, { concurrency: 1 }, signal);
    },
  };
}
