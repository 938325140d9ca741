import type { SignerEvent } from '../cluster/events.ts';
import type { World } from '../cluster/world.ts';
import { explainPod } from './pod.ts';
import type { RequestExplanation } from './requests.ts';
import type { Verdict } from './steps.ts';

/** A request that was denied for a pod. Kubelet does not repeat it as long as the pod exists. */
export interface Denial {
  /** `namespace/name` */
  readonly pod: string;
  readonly podExists: boolean;
  /** Null where only an Event is left, which does not name it. */
  readonly signer: string | null;
  /** The request; null where it was deleted already, some 15 min after it was made. */
  readonly request: string | null;
  /** RFC 3339 */
  readonly at: string;
  readonly reason: string;
  readonly message: string;
  /** What the signer decides now about the same pod; null where the pod is gone, or asks another signer. */
  readonly now: Verdict | null;
}

/** The denials that requests and Events show, the newest last. Pure. */
export function denialsIn(
  world: World,
  requests: readonly RequestExplanation[],
  events: readonly SignerEvent[],
): Denial[] {
  const denied = requests.filter(({ state }) => state === 'Denied' || state === 'Failed');
  const ofRequests = denied.map(({ pod, signer, request, createdAt, reason, message }): Denial => {
    const facts = world.pods.store.get(pod);
    return {
      ...{ pod, podExists: facts !== undefined, signer, request, at: createdAt, reason, message },
      now: verdictNow(world, pod, signer, reason),
    };
  });
  const known = new Set(ofRequests.map(({ pod, reason }) => `${pod} ${reason}`));
  const ofEvents = events
    .filter(({ isDenial, pod, reason }) => isDenial && !known.has(`${pod} ${reason}`))
    .map(({ pod, uid, reason, message, at }): Denial => {
      const podExists = world.pods.store.get(pod)?.uid === uid;
      const now = podExists ? verdictNow(world, pod, undefined, reason) : null;
      return { ...{ pod, podExists, signer: null, request: null, at, reason, message }, now };
    });
  return [...ofRequests, ...ofEvents].sort((one, other) => one.at.localeCompare(other.at));
}

/** If a pod has several volumes, the one that is still denied for the same reason says most. */
function verdictNow(world: World, pod: string, signer: string | undefined, reason: string): Verdict | null {
  const facts = world.pods.store.get(pod);
  if (!facts) return null;
  const explained = explainPod(world, pod, facts, signer).filter(({ volume }) => volume !== null);
  return (explained.find(({ verdict }) => verdict.reason === reason) ?? explained[0])?.verdict ?? null;
}
