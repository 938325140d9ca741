import { isNotFoundOfObject } from '../kube/api-error.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { Pod } from '../kube/types.ts';
import type { OpenRequest } from './request.ts';

/** What we keep of a pod: what a request's claims are held against. */
export interface PodFacts {
  readonly uid: string;
  readonly nodeName: string;
  readonly serviceAccountName: string;
  /** Succeeded or Failed; undefined while the pod may still run. */
  readonly finished: 'Succeeded' | 'Failed' | undefined;
  /** When its time to terminate is over, seconds since the epoch; absent unless it is being deleted. */
  readonly deletesAt?: number;
}

/** The outcome of looking a pod up. */
export type PodLookup =
  | { readonly kind: 'found'; readonly pod: PodFacts }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unavailable'; readonly error: unknown };

/** Projects a pod of the API server to what we keep of it. */
export function toPodFacts(wire: Pod): PodFacts {
  const phase = wire.status?.phase;
  const { deletionTimestamp } = wire.metadata;
  return {
    uid: wire.metadata.uid ?? '',
    nodeName: wire.spec?.nodeName ?? '',
    serviceAccountName: wire.spec?.serviceAccountName ?? 'default',
    finished: phase === 'Succeeded' || phase === 'Failed' ? phase : undefined,
    ...(deletionTimestamp !== undefined && { deletesAt: Date.parse(deletionTimestamp) / 1000 }),
  };
}

/** Whether a pod is the one that a request speaks of, in every claim. */
export function matches(request: OpenRequest, pod: PodFacts): boolean {
  return (
    pod.uid === request.podUID &&
    pod.serviceAccountName === request.serviceAccountName &&
    pod.nodeName === request.nodeName
  );
}

/** Whether two states of a pod lead to the same decision. Most changes of a pod are none for us, and some never end. */
export function decidesAlike(one: PodFacts, other: PodFacts): boolean {
  return (
    one.uid === other.uid &&
    one.serviceAccountName === other.serviceAccountName &&
    one.nodeName === other.nodeName &&
    one.finished === other.finished
  );
}

/**
 * The pod of a request. The cache answers when it agrees with the request in everything. Watches are not ordered
 * among each other, so a miss or any mismatch is looked up live, once per call.
 */
export async function lookUpPod(
  request: OpenRequest,
  needs: { readonly pods: Store<PodFacts>; readonly transport: Transport; readonly signal: AbortSignal },
): Promise<PodLookup> {
  const cached = needs.pods.get(`${request.namespace}/${request.podName}`);
  if (cached && matches(request, cached)) return { kind: 'found', pod: cached };
  try {
    const answer = await needs.transport.request<Pod>({
      method: 'GET',
      path: `/api/v1/namespaces/${request.namespace}/pods/${request.podName}`,
      resource: 'pods',
      signal: needs.signal,
    });
    return { kind: 'found', pod: toPodFacts(answer.body) };
  } catch (error) {
    return isNotFoundOfObject(error) ? { kind: 'gone' } : { kind: 'unavailable', error };
  }
}
