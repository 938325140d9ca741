import { type PodFacts, type PodLookup, readPod } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { OpenRequest } from './request.ts';

/** Whether a pod is the one that a request speaks of, in every claim. */
export function matches(request: OpenRequest, pod: PodFacts): boolean {
  return (
    pod.uid === request.podUID &&
    pod.serviceAccountName === request.serviceAccountName &&
    pod.nodeName === request.nodeName
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
  const { namespace, podName: name } = request;
  return readPod(needs.transport, { namespace, name }, { signal: needs.signal });
}
