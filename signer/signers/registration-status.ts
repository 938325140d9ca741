import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { isJsonObject } from '../../spiffe/json.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { Facts } from '../identity/facts.ts';
import { nameOfRegistration, type Registration } from '../identity/registration.ts';
import type { FollowedRegistration } from '../identity/registration-specs.ts';
import { type RegistrationStatus, registrationStatus } from '../identity/registration-status.ts';
import { createTallies, type PodOutcome } from '../identity/registration-tally.ts';
import { conditionIn } from '../kube/conditions.ts';
import type { Informer } from '../kube/informer.ts';
import { patchStatus } from '../kube/patch-status.ts';
import { ownRank } from '../kube/ranking.ts';
import { pauseWith } from '../kube/time.ts';
import { createKeeper } from '../trust/keeper.ts';
import type { Part } from './profile.ts';
import type { Shared } from './shared.ts';

/** Changes of pods are collected for this time, in milliseconds. */
const gatherMs = 1_000;
/** Between two writes of one status, in milliseconds. */
const restMs = 5_000;
/** So many pods are counted before anything else has its turn. */
const podsInTurn = 100;
/** Others never step in: a replica that is gone is no member for long, and a second writer would write twice. */
const never = 2 ** 40;

export interface RegistrationStatusNeeds {
  readonly shared: Pick<Shared, 'transport' | 'membership' | 'log' | 'time' | 'metrics'>;
  readonly followed: readonly Informer<FollowedRegistration>[];
  /** What has to be known before anything is counted. */
  readonly known: Promise<unknown>;
  /** Pods whose name may have changed. */
  readonly facts: Facts;
  /** What registrations do for a pod, by its key; undefined for a pod that is gone or finished. */
  readonly outcomeOf: (podKey: string) => PodOutcome | undefined;
  /** Whether a registration is of the class of this signer. Others are left alone. */
  readonly isOurs: (registration: Registration) => boolean;
}

/** The condition Ready of a status, which any writer may have set. */
function readyIn({ status }: FollowedRegistration): 'true' | 'false' | 'unknown' {
  const ready = conditionIn(status, 'Ready');
  if (!ready) return 'unknown';
  return ready.status === 'True' ? 'true' : 'false';
}

/** Writes what registrations do into their status: one replica for each, when it has changed. */
export function createRegistrationStatus(needs: RegistrationStatusNeeds): Part {
  const { followed, outcomeOf } = needs;
  const { transport, membership, time, metrics } = needs.shared;
  const tallies = createTallies();
  /** Pods to be counted, and registrations to be looked at after that: else one change would be written twice. */
  const changed = new Set<string>();
  const awaited = new Set<string>();
  let isKnown = false;
  const keeper = createKeeper(
    { ...needs.shared, rankFor: ownRank(membership), takeoverDelayMs: never },
    { difference, repair, describe: (registration) => ({ registration }), concurrency: 4, restMs },
  );

  function find(name: string) {
    for (const { store, spec } of followed) {
      const registration = store.get(name);
      if (registration) return { registration, resource: spec.resource };
    }
    return undefined;
  }

  function desired(registration: FollowedRegistration): RegistrationStatus {
    const now = rfc3339(Math.floor(time.now() / 1000));
    const { status: observed } = registration;
    return registrationStatus(registration, tallies.of(nameOfRegistration(registration)), {
      observed,
      outcomeOf,
      now,
    });
  }

  function difference(name: string): string | undefined {
    const registration = find(name)?.registration;
    if (!registration || !needs.isOurs(registration)) return undefined;
    const { status } = registration;
    const observed = isJsonObject(status) ? status : {};
    // Only our members: a signer of another version may know more of them, and the two must not write in turns.
    const isCurrent = Object.entries(desired(registration)).every(([member, value]) =>
      isDeepStrictEqual(value, observed[member]),
    );
    return isCurrent ? undefined : 'its status is out of date';
  }

  /** Throws what the transport throws. */
  async function repair(name: string, _drift: string, signal: AbortSignal): Promise<undefined> {
    const found = find(name);
    if (!found) return;
    const { registration, resource } = found;
    const { namespace, name: named, uid } = registration;
    await patchStatus(transport, resource, { namespace, name: named, uid }, desired(registration), signal);
  }

  function lookAtAll(): void {
    for (const { store } of followed) for (const name of store.keys()) keeper.look(name);
  }

  /** Counts the pods that have changed, a few at a time. */
  async function count(signal: AbortSignal): Promise<void> {
    let left = podsInTurn;
    for (const podKey of changed) {
      if (signal.aborted) return;
      changed.delete(podKey);
      for (const name of tallies.count(podKey, outcomeOf(podKey))) awaited.add(name);
      left -= 1;
      if (left > 0) continue;
      left = podsInTurn;
      await nextTurn();
    }
  }

  metrics.beforeRender(() => {
    metrics.registrations.reset();
    for (const { store, spec } of followed) {
      for (const registration of store.values()) {
        const { resource } = spec;
        if (needs.isOurs(registration))
          metrics.registrations.inc({ resource: resource.name, ready: readyIn(registration) });
      }
    }
  });

  return {
    async run(signal) {
      needs.facts.onChange((podKey) => changed.add(podKey));
      for (const { store } of followed) store.subscribe(({ key }) => isKnown && awaited.add(key));
      const pause = pauseWith(time.timer);
      await Promise.race([Promise.all([needs.known, membership.synced]), once(signal, 'abort')]);
      await count(signal);
      isKnown = true;
      lookAtAll();
      const writing = keeper.run(signal);
      while (!signal.aborted) {
        await pause(gatherMs, signal);
        await count(signal);
        for (const name of awaited) keeper.look(name);
        awaited.clear();
      }
      await writing;
    },
  };
}
