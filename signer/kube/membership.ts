import { messageOf } from '../../spiffe/errors.ts';
import { createNews } from '../observe/news.ts';
import { ApiStatusError, isNotFoundOfObject } from './api-error.ts';
import type { ApiRequest } from './api-request.ts';
import { createInformer, type InformerNeeds, type InformerSpec } from './informer.ts';
import { microTime } from './micro-time.ts';
import { createReplicas, type LeaseFacts } from './replicas.ts';
import { resourcePath } from './resources.ts';
import { withHash } from './short-name.ts';
import { pauseWith, type Time } from './time.ts';
import { type Lease, metadataFields } from './types.ts';

/** Interval between renewals of a Lease, in milliseconds. */
const renewEveryMs = 3_000;
const renewTimeoutMs = 2_500;
const leaveTimeoutMs = 1_500;
const maxNameLength = 253;
/** RFC 1123, as the API server checks names of objects. */
const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const namePrefix = 'kubespiffe-signer-';
const leaseResource = { group: 'coordination.k8s.io', versions: ['v1'], name: 'leases' } as const;
const labels = { 'app.kubernetes.io/name': 'kubespiffe', 'kubespiffe.io/component': 'signer' };

export interface MembershipNeeds extends InformerNeeds {
  /** The signer's own namespace: nothing is read or written elsewhere. */
  readonly namespace: string;
  /** The name of the pod, or of the process outside a cluster. Unique among the replicas. */
  readonly self: string;
  /** UID of the pod of this replica; undefined outside of a cluster, and until the pod is known. */
  readonly podUid?: () => string | undefined;
  readonly time: Time;
}

/** The name of a replica's Lease. Where the replica's name does not fit, a hash keeps the Lease's name unique. */
export function leaseName(self: string): string {
  const name = `${namePrefix}${self}`;
  if (name.length <= maxNameLength && dnsSubdomain.test(name)) return name;
  return withHash(name.toLowerCase().replace(/[^a-z0-9]/g, '-'), maxNameLength, self);
}

/**
 * The live replicas of the signer, by one Lease per replica. There is no leader election. A replica counts itself as a
 * member at once; the others count it when they see its Lease. A wrong view costs a second signature or one takeover
 * delay, never a wrong certificate: the API server keeps only the first answer to a request.
 */
export function createMembership(needs: MembershipNeeds) {
  const { transport, self, log, time } = needs;
  const { now, monotonic, timer, jitter } = time;
  const pause = pauseWith(timer);
  const leases = resourcePath(leaseResource, leaseResource.versions[0], needs.namespace);
  const own = leaseName(self);
  const informer = createInformer(needs, replicaLeases(needs.namespace));
  const replicas = createReplicas({ self, time });
  informer.store.subscribe(({ type, object }) => {
    if (type === 'set') replicas.saw(object);
    else replicas.left(object.holder);
  });
  let isOurs = false;

  function spec(): Lease['spec'] {
    return { holderIdentity: self, leaseDurationSeconds: 10, renewTime: microTime(now()) };
  }

  /** A replica that was killed leaves its Lease behind. Kubernetes deletes it with the pod. */
  function owners(): Pick<Lease['metadata'], 'ownerReferences'> {
    const uid = needs.podUid?.();
    return uid === undefined ? {} : { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: self, uid }] };
  }

  async function call(
    method: 'POST' | 'PATCH' | 'DELETE',
    options: Pick<ApiRequest, 'body' | 'timeoutMs' | 'signal'>,
  ): Promise<void> {
    await transport.request({
      method,
      path: method === 'POST' ? leases : `${leases}/${own}`,
      resource: 'leases',
      retry: 'none',
      discardBody: true,
      timeoutMs: renewTimeoutMs,
      ...options,
    });
  }

  async function renew(signal: AbortSignal): Promise<void> {
    const change = () => call('PATCH', { body: { metadata: owners(), spec: spec() }, signal });
    if (isOurs) {
      try {
        return await change();
      } catch (error) {
        if (!isNotFoundOfObject(error)) throw error;
      }
    }
    try {
      const metadata = { name: own, namespace: needs.namespace, labels, ...owners() };
      const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec: spec() };
      await call('POST', { body, signal });
    } catch (error) {
      // It exists already: the container was restarted within its pod.
      if (!(error instanceof ApiStatusError && error.status === 409)) throw error;
      await change();
    }
    isOurs = true;
  }

  async function keepRenewing(signal: AbortSignal): Promise<void> {
    const isNews = createNews(time);
    while (!signal.aborted) {
      const startedAt = monotonic();
      try {
        await renew(signal);
      } catch (error) {
        const problem = messageOf(error);
        const level = isNews(problem) ? 'warn' : 'debug';
        if (!signal.aborted)
          log[level]({ lease: own, error: problem }, 'the Lease of this replica could not be renewed');
      }
      const tookMs = monotonic() - startedAt;
      await pause(Math.max(200, renewEveryMs * (0.9 + 0.2 * jitter()) - tookMs), signal);
    }
  }

  async function leave(): Promise<void> {
    await call('DELETE', { timeoutMs: leaveTimeoutMs }).catch((error: unknown) => {
      if (!isNotFoundOfObject(error)) {
        log.warn({ lease: own, error: messageOf(error) }, 'the Lease of this replica could not be deleted');
      }
    });
  }

  return {
    self,
    /** Sorted, always with self. Others are those whose Lease was seen renewed, on our own monotonic clock. */
    members: replicas.members,
    onChange: replicas.onChange,
    /** Resolves when the Leases were read once. Until then a replica knows only itself. */
    synced: informer.synced,
    /** Renews our own Lease and watches the others'; deletes our own when the signal is aborted, and returns. */
    async run(signal: AbortSignal): Promise<void> {
      await Promise.all([informer.run(signal), keepRenewing(signal)]);
      replicas.stop();
      await leave();
    },
  };
}

export type Membership = ReturnType<typeof createMembership>;

/** The Leases of all replicas. */
function replicaLeases(namespace: string): InformerSpec<Lease, LeaseFacts> {
  return {
    resource: leaseResource,
    namespace,
    labelSelector: Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(','),
    fields: { metadata: metadataFields, spec: { holderIdentity: true, renewTime: true } },
    project: toLeaseFacts,
    // Each replica renews its own Lease every three seconds.
    silentAfterMs: 4 * renewEveryMs,
  };
}

function toLeaseFacts(lease: Lease): LeaseFacts | undefined {
  const holder = lease.spec?.holderIdentity;
  if (!holder) return undefined;
  return { holder, renewTime: lease.spec?.renewTime ?? '' };
}
