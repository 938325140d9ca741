import { once } from 'node:events';
import type { AddressRule } from '../../client/address-rule.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Informer } from '../kube/informer.ts';
import type { Membership } from '../kube/membership.ts';
import { ranking } from '../kube/ranking.ts';
import { resourcePath } from '../kube/resources.ts';
import { pauseWith, type Time } from '../kube/time.ts';
import type { Transport } from '../kube/transport.ts';
import { explainFederation } from '../observe/federation-outcomes.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { createKeeper } from '../trust/keeper.ts';
import { heldBundle, tryToGet } from './attempt.ts';
import { countingOnes, type FederatedTrustDomain } from './federated-trust-domain.ts';
import { type AttemptOutcome, type FederationStatus, federationStatus } from './federation-status.ts';
import { type Attempted, attemptedIn, idleOf, intervalSeconds, isDue, waitMs } from './schedule.ts';

export interface RefresherNeeds {
  readonly resources: Pick<Informer<FederatedTrustDomain>, 'spec' | 'store' | 'synced'>;
  readonly ownTrustDomain: string;
  /** The ClusterTrustBundle of a trust domain. */
  readonly bundleNameOf: (trustDomain: string) => string;
  readonly addresses: AddressRule;
  readonly membership: Membership;
  readonly transport: Pick<Transport, 'request'>;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly metrics: Pick<Metrics, 'federationAttempts'>;
  readonly time: Time;
  readonly log: Pick<Logger, 'info' | 'warn'>;
}

const lookEveryMs = 1_000;
/** So many bundles are fetched at once: some that hang for 30 s do not delay the others. */
const concurrency = 64;
/** Others never step in: a replica that is gone is no member for long, and two would fetch twice. */
const never = 2 ** 40;

/** What this replica remembers of a resource beside its status. */
interface Memory {
  readonly attempted: Attempted;
  readonly failures: number;
  readonly etag: string | undefined;
  /** What could not be written yet. */
  unwritten: FederationStatus | undefined;
}

/**
 * Gets the bundles of other trust domains, and writes what came of it into the status of their resources. The bundle in the
 * status is what all replicas publish. One replica works for a resource, the first by rendezvous hashing. When it is
 * gone, the next one continues at the time in the status.
 */
export function createRefresher(needs: RefresherNeeds) {
  const { resources, ownTrustDomain, membership, time, log } = needs;
  const { store } = resources;
  /** By UID. */
  const memories = new Map<string, Memory>();
  let counting: ReadonlyMap<string, FederatedTrustDomain> = new Map();
  const attemptNeeds = {
    ...{ ownTrustDomain, addresses: needs.addresses },
    resourceOf: (trustDomain: string) => counting.get(trustDomain),
    now: () => seconds(time.now()),
  };
  const keeper = createKeeper(
    {
      membership,
      rankFor: (name) => ranking(name, membership.members()).indexOf(membership.self),
      takeoverDelayMs: never,
      time,
      log,
    },
    { drift, repair, describe: (name) => ({ federatedTrustDomain: name }), concurrency },
  );

  const idle = (resource: FederatedTrustDomain) =>
    idleOf(resource, counting.get(resource.trustDomain), ownTrustDomain);

  /** The last attempt of this replica, or that of another one by the status. */
  function attempted(resource: FederatedTrustDomain): Attempted | undefined {
    const inStatus = attemptedIn(resource);
    const own = memories.get(resource.uid)?.attempted;
    return own && own.nextAt >= (inStatus?.nextAt ?? 0) ? own : inStatus;
  }

  function drift(name: string): string | undefined {
    const resource = store.get(name);
    if (!resource) return undefined;
    if (memories.get(resource.uid)?.unwritten) return 'its status is not written yet';
    return isDue(resource, idle(resource), attempted(resource), time.now()) ? 'an attempt is due' : undefined;
  }

  /** Throws what the transport throws. */
  async function repair(name: string, _drift: string, signal: AbortSignal): Promise<string | undefined> {
    const resource = store.get(name);
    if (!resource) return undefined;
    const before = memories.get(resource.uid);
    const isCurrent = before?.attempted.generation === resource.generation;
    const memory = before?.unwritten && isCurrent ? before : await attempt(resource, before, signal);
    const now = store.get(name);
    // What was got by another spec is not used.
    if (now?.uid !== resource.uid || now.generation !== resource.generation) return undefined;
    memories.set(resource.uid, memory);
    if (!memory.unwritten) return undefined;
    await write(now, memory.unwritten, signal);
    memory.unwritten = undefined;
    return undefined;
  }

  async function attempt(
    resource: FederatedTrustDomain,
    before: Memory | undefined,
    signal: AbortSignal,
  ): Promise<Memory> {
    const { generation, refreshRequest, refresh, origin } = resource;
    const reason = idle(resource);
    const isSameSpec = before?.attempted.generation === generation;
    const { outcome, etag } =
      reason || !origin.ok
        ? { outcome: { kind: 'idle', ...(reason ?? unreadable) } as const, etag: undefined }
        : await tryToGet(resource, origin.value, isSameSpec ? before.etag : undefined, attemptNeeds, signal);
    const bundle = outcome.kind === 'taken' ? outcome.bundle : heldBundle(resource, seconds(time.now()));
    const interval = intervalSeconds(resource, bundle?.refreshHintSeconds);
    const failures = outcome.kind === 'failed' ? (before?.failures ?? 0) + 1 : 0;
    const nowMs = time.now();
    const nextAt = nowMs + waitMs(interval, refresh.minSeconds, failures, time.jitter);
    report(resource, outcome);
    return {
      attempted: { generation, refreshRequest, nextAt, idle: reason?.reason },
      failures,
      etag,
      unwritten: federationStatus(resource, outcome, {
        now: seconds(nowMs),
        next: outcome.kind === 'idle' ? undefined : seconds(nextAt),
        intervalSeconds: interval,
        clusterTrustBundle: needs.bundleNameOf(resource.trustDomain),
      }),
    };
  }

  function report({ name, uid, trustDomain }: FederatedTrustDomain, outcome: AttemptOutcome): void {
    const reason = outcome.kind === 'taken' ? 'BundleTaken' : outcome.reason;
    if (outcome.kind !== 'idle') needs.metrics.federationAttempts.inc({ peer: trustDomain, reason });
    if (outcome.kind === 'taken' && !outcome.isChanged) return;
    const detail =
      outcome.kind === 'taken'
        ? `new. X.509 roots: ${outcome.bundle.roots.length}, JWT keys: ${outcome.bundle.jwtKeys.size}`
        : outcome.detail;
    const note = explainFederation(reason, detail);
    const isWell = outcome.kind === 'taken' || reason === 'Paused';
    log[isWell ? 'info' : 'warn']({ federatedTrustDomain: name, trustDomain, reason }, note);
    needs.events.record({
      key: `${uid}/${reason}`,
      regarding: {
        apiVersion: 'kubespiffe.io/v1alpha1',
        kind: 'FederatedTrustDomain',
        namespace: '',
        name,
        uid,
      },
      type: isWell ? 'Normal' : 'Warning',
      reason,
      action: 'Refresh',
      note,
    });
  }

  async function write(
    { name, uid, resourceVersion }: FederatedTrustDomain,
    status: FederationStatus,
    signal: AbortSignal,
  ): Promise<void> {
    const { resource } = resources.spec;
    try {
      await needs.transport.request({
        method: 'PATCH',
        path: `${resourcePath(resource, resource.versions[0])}/${name}/status`,
        contentType: 'application/merge-patch+json',
        // Neither to another object that has taken the name, nor to one whose spec has changed.
        body: { metadata: { uid, resourceVersion }, status },
        resource: `${resource.name}/status`,
        discardBody: true,
        signal,
      });
    } catch (error) {
      // It was deleted meanwhile, and our watch will show it.
      if (!isNotFoundOfObject(error)) throw error;
    }
  }

  function lookAtAll(): void {
    counting = countingOnes(store.values());
    const uids = new Set<string>();
    for (const { name, uid } of store.values()) {
      uids.add(uid);
      if (drift(name) !== undefined) keeper.look(name);
    }
    for (const uid of memories.keys()) if (!uids.has(uid)) memories.delete(uid);
  }

  return {
    async run(signal: AbortSignal): Promise<void> {
      const pause = pauseWith(time.timer);
      await Promise.race([Promise.all([resources.synced, membership.synced]), once(signal, 'abort')]);
      const working = keeper.run(signal);
      while (!signal.aborted) {
        lookAtAll();
        await pause(lookEveryMs, signal);
      }
      await working;
    },
  };
}

const unreadable = { reason: 'FederationSpecInvalid', detail: 'it cannot be read' } as const;
const seconds = (ms: number) => Math.floor(ms / 1000);
