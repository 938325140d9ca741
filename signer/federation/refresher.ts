import { once } from 'node:events';
import type { SecureContext } from 'node:tls';
import type { AddressRule } from '../../client/address-rule.ts';
import { webContext } from '../../client/bundle-endpoint.ts';
import type { Informer } from '../kube/informer.ts';
import type { Membership } from '../kube/membership.ts';
import { ownRank } from '../kube/ranking.ts';
import { pauseWith, type Time } from '../kube/time.ts';
import { createKeeper } from '../trust/keeper.ts';
import { type Attempt, type AttemptNeeds, type Known, type OwnAuthorities, tryToGet } from './attempt.ts';
import { countingOne, type FederatedTrustDomain } from './federated-trust-domain.ts';
import { type FederationStatus, federationStatus } from './federation-status.ts';
import { haveRootsExpired, heldBundle } from './foreign-bundle.ts';
import { type ReportNeeds, reportAttempt, type WriteNeeds, writeStatus } from './report.ts';
import {
  type Attempted,
  attemptedIn,
  countChange,
  earliestAt,
  idleOf,
  intervalSeconds,
  isDue,
  pauseMs,
  waitMs,
} from './schedule.ts';

export interface RefresherNeeds extends ReportNeeds, WriteNeeds {
  readonly resources: Pick<Informer<FederatedTrustDomain>, 'spec' | 'store' | 'synced'>;
  readonly ownTrustDomain: string;
  /** The ClusterTrustBundle of a resource. */
  readonly bundleNameOf: (resource: FederatedTrustDomain) => string;
  readonly addresses: AddressRule;
  readonly readTrustBundle: AttemptNeeds['readTrustBundle'];
  /** Our own authorities; nothing is fetched while they are not known. */
  readonly pool: () => OwnAuthorities | undefined;
  readonly membership: Membership;
  readonly time: Time;
}

const lookEveryMs = 1_000;
/** Longest time, in milliseconds, for which a resource that is not due is not looked at, unless it changes. */
const restMs = 60_000;
/** How many bundles are fetched at once. Some that hang for 30 s do not delay the others. */
const concurrency = 64;
/** Other replicas never step in: a dead one soon leaves the members, and two at work would fetch twice. */
const never = 2 ** 40;

/** State of a resource in this replica, beside its status. */
interface Memory {
  readonly attempted: Attempted;
  readonly failures: number;
  /** As countChange returns it. */
  readonly allowedAgainAt: number;
  readonly known: Known | undefined;
  /** A status that is not written yet, and the bundle in the status that it was compared with. */
  unwritten: { readonly status: FederationStatus; readonly comparedWith: unknown } | undefined;
}

/**
 * Gets the bundles of other trust domains, and writes the result into the status of their resources. The bundle in the
 * status is what all replicas publish. One replica works for a resource, the first by rendezvous hashing. When it is
 * gone, the next one continues at the time in the status.
 */
export function createRefresher(needs: RefresherNeeds) {
  const { resources, ownTrustDomain, membership, time, log } = needs;
  const { store } = resources;
  /** By UID. */
  const memories = new Map<string, Memory>();
  /** Until when nothing is due by name, in monotonic milliseconds, so that a look at many costs little. */
  const resting = new Map<string, number>();
  /** By name: what is attempted now because others are due. */
  const early = new Set<string>();
  store.subscribe(({ type, key, object }) => {
    resting.delete(key);
    if (type === 'set') return;
    memories.delete(object.uid);
    // Another resource may count now for the trust domain.
    for (const name of store.keysBy('trustDomain', object.trustDomain)) resting.delete(name);
  });
  const firstOf = (trustDomain: string) => countingOne(store, trustDomain);
  const attemptNeeds = {
    ...{ ownTrustDomain, addresses: needs.addresses, readTrustBundle: needs.readTrustBundle },
    webContext: createWebContexts(),
    resourceOf: firstOf,
    time,
  };
  const keeper = createKeeper(
    {
      membership,
      rankFor: ownRank(membership),
      takeoverDelayMs: never,
      time,
      log,
    },
    { difference, repair, describe: (name) => ({ federatedTrustDomain: name }), concurrency },
  );

  const idle = (resource: FederatedTrustDomain) =>
    idleOf(resource, firstOf(resource.trustDomain), ownTrustDomain);

  /** The last attempt of this replica, or that of another one by the status. */
  function attempted(resource: FederatedTrustDomain): Attempted | undefined {
    const inStatus = attemptedIn(resource);
    const own = memories.get(resource.uid)?.attempted;
    return own && own.nextAt >= (inStatus?.nextAt ?? 0) ? own : inStatus;
  }

  function difference(name: string): string | undefined {
    const resource = store.get(name);
    if (!resource) return undefined;
    if (memories.get(resource.uid)?.unwritten) return 'its status is not written yet';
    if (early.has(name)) return 'an attempt is due soon';
    return isDue(resource, idle(resource), attempted(resource), time.now()) ? 'an attempt is due' : undefined;
  }

  /** Throws what the transport throws. */
  async function repair(name: string, _drift: string, signal: AbortSignal): Promise<string | undefined> {
    const resource = store.get(name);
    early.delete(name);
    if (!resource) return undefined;
    const pool = needs.pool();
    if (!pool) return 'the pool of this cluster, which no bundle may contain, is not known';
    const before = memories.get(resource.uid);
    const isCurrent = before?.unwritten && !isDue(resource, idle(resource), before.attempted, time.now());
    const memory = isCurrent ? before : await attempt(resource, before, pool, signal);
    const now = store.get(name);
    // A bundle that was fetched for another spec is not used.
    if (now?.uid !== resource.uid || now.generation !== resource.generation) return undefined;
    if (memory.unwritten && now.status.bundle !== memory.unwritten.comparedWith) {
      // Another replica has written meanwhile, perhaps a newer bundle.
      memories.delete(resource.uid);
      return undefined;
    }
    memories.set(resource.uid, memory);
    if (!memory.unwritten) return undefined;
    await writeStatus(needs, now, memory.unwritten.status, signal);
    memory.unwritten = undefined;
    return undefined;
  }

  async function attempt(
    resource: FederatedTrustDomain,
    before: Memory | undefined,
    pool: OwnAuthorities,
    signal: AbortSignal,
  ): Promise<Memory> {
    const { generation, refreshRequest, refresh, origin } = resource;
    const reason = idle(resource);
    const remembered = before?.attempted.generation === generation ? before.known : undefined;
    const { outcome, known }: Attempt =
      reason || !origin.ok
        ? { outcome: { kind: 'idle', ...(reason ?? unreadable) } }
        : await tryToGet(resource, origin.value, remembered, { ...attemptNeeds, pool }, signal);
    const isSuccess = outcome.kind === 'taken' || outcome.kind === 'confirmed';
    const held = isSuccess ? undefined : heldBundle(resource, seconds(time.now()));
    const { refreshHintSeconds } =
      outcome.kind === 'confirmed' ? outcome : outcome.kind === 'taken' ? outcome.bundle : (held ?? noHint);
    const interval = intervalSeconds(resource, refreshHintSeconds);
    const failures = outcome.kind === 'failed' ? (before?.failures ?? 0) + 1 : 0;
    const nowMs = time.now();
    const steadyNow = seconds(time.monotonic());
    const changed = before?.allowedAgainAt ?? 0;
    const isChange = outcome.kind === 'taken' && outcome.hasOtherKeys;
    const allowedAgainAt = isChange ? countChange(changed, steadyNow) : changed;
    const pausingMs = pauseMs(allowedAgainAt, steadyNow);
    const waitsMs = Math.max(waitMs(interval, refresh.minSeconds, failures, time.jitter), pausingMs);
    const nextAt = nowMs + waitsMs;
    const mayBeEarly = isSuccess && pausingMs === 0;
    const notBefore = mayBeEarly ? nowMs + refresh.minSeconds * 1000 : nextAt;
    reportAttempt(needs, resource, outcome);
    return {
      attempted: {
        ...{ generation, refreshRequest, nextAt, idle: reason?.reason },
        earliestAt: earliestAt(nextAt, notBefore),
      },
      failures,
      allowedAgainAt,
      known,
      unwritten: {
        comparedWith: resource.status.bundle,
        status: federationStatus(resource, outcome, {
          now: seconds(nowMs),
          next: outcome.kind === 'idle' ? undefined : seconds(nextAt),
          intervalSeconds: interval,
          clusterTrustBundle: needs.bundleNameOf(resource),
          haveHeldExpired: held && haveRootsExpired(held),
          isPausing: pausingMs > 0,
        }),
      },
    };
  }

  function lookAtAll(): void {
    const now = time.monotonic();
    const due: string[] = [];
    const soon: string[] = [];
    early.clear();
    for (const name of store.keys()) {
      if ((resting.get(name) ?? 0) > now) continue;
      const restsMs = difference(name) === undefined ? restFor(name) : undefined;
      if (restsMs === undefined) due.push(name);
      else if (restsMs <= 0) soon.push(name);
      else resting.set(name, now + restsMs);
    }
    if (due.length > 0) for (const name of soon) early.add(name);
    for (const name of [...due, ...early]) keeper.look(name);
  }

  /** How long a resource rests, in milliseconds; 0 or less if it may be attempted together with others. */
  function restFor(name: string): number {
    const resource = store.get(name);
    const from = resource && !idle(resource) ? attempted(resource)?.earliestAt : undefined;
    return Math.min(restMs, from === undefined ? restMs : from - time.now());
  }

  return {
    async run(signal: AbortSignal): Promise<void> {
      const pause = pauseWith(time.timer);
      await Promise.race([Promise.all([resources.synced, membership.synced]), once(signal, 'abort')]);
      const working = keeper.run(signal);
      while (!signal.aborted) {
        // Without a pool, readiness reports the problem once, instead of each resource.
        if (needs.pool()) lookAtAll();
        await pause(lookEveryMs, signal);
      }
      await working;
    },
  };
}

/** TLS contexts take much memory outside of the heap, and many endpoints have the same CA. */
function createWebContexts(): AttemptNeeds['webContext'] {
  const contexts = new Map<string | undefined, SecureContext>();
  return (rootsPem) => {
    const known = contexts.get(rootsPem);
    if (known) return known;
    if (contexts.size >= mostContexts) contexts.clear();
    const made = webContext(rootsPem);
    contexts.set(rootsPem, made);
    return made;
  };
}

const mostContexts = 16;
const noHint = { refreshHintSeconds: undefined };
const unreadable = { reason: 'FederationSpecInvalid', detail: 'it cannot be read' } as const;
const seconds = (ms: number) => Math.floor(ms / 1000);
