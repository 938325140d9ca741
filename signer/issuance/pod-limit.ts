import type { OpenRequest } from './request.ts';

/** Open requests of one pod that a replica answers, at most. kubelet has one for each source of a volume. */
export const maxOpenOfPod = 64;

/**
 * Counts the open requests of each pod. A request counts once its facts were found to be those of the pod: otherwise
 * false requests could use up what a pod may have.
 */
export function createPodLimit() {
  const podOf = new Map<string, string>();
  const openOf = new Map<string, number>();

  function isReached({ uid, podUID }: OpenRequest): boolean {
    return !podOf.has(uid) && (openOf.get(podUID) ?? 0) >= maxOpenOfPod;
  }

  return {
    /** Whether the pod has its number of open requests without this one. */
    isReached,
    /** Counts a request that is one of its pod. @returns false if the pod has its number without it. */
    count(request: OpenRequest): boolean {
      if (isReached(request)) return false;
      if (podOf.has(request.uid)) return true;
      podOf.set(request.uid, request.podUID);
      openOf.set(request.podUID, (openOf.get(request.podUID) ?? 0) + 1);
      return true;
    },
    /** Notes that a request is answered or gone. */
    forget(uid: string): void {
      const podUID = podOf.get(uid);
      if (podUID === undefined) return;
      podOf.delete(uid);
      const left = (openOf.get(podUID) ?? 0) - 1;
      if (left > 0) openOf.set(podUID, left);
      else openOf.delete(podUID);
    },
  };
}
