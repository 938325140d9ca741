import { messageOf } from '../../spiffe/errors.ts';
import type { Identify } from '../identity/identify.ts';
import { lookUpPod, type PodFacts, type PodReader } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import { type Decision, decideOnPod, decideOnRequest, wait } from './decide.ts';
import { hidesItsKey, readThroughBeta } from './read-v1beta1.ts';
import { type OpenRequest, readRequestKey } from './request.ts';

export interface ConsiderNeeds {
  readonly pods: Store<PodFacts>;
  /** How pods are read live. */
  readonly podReader?: PodReader;
  readonly transport: Transport;
  readonly servedVersions: () => readonly CertificatesVersion[];
  readonly identify: Identify;
}

/**
 * Gathers the facts about a request and decides. In the steady state it reads nothing but caches.
 *
 * @returns the decision, and the request as it was read: through v1beta1 where v1 hides the key. Undefined when that
 * shows that the request is not there or not open any more, as the watch will show as well.
 */
export async function consider(
  request: OpenRequest,
  needs: ConsiderNeeds,
  signal: AbortSignal,
): Promise<{ decision: Decision; request: OpenRequest } | undefined> {
  let read = request;
  if (hidesItsKey(request)) {
    try {
      const again = await readThroughBeta(request, { ...needs, signal });
      if (again === 'beta-not-served') return { decision: wait('KeyNotVisible', 'v1'), request };
      if (again === 'gone') return undefined;
      read = again;
    } catch (error) {
      const detail = `v1, and reading it through v1beta1 failed (${messageOf(error)})`;
      return { decision: wait('KeyNotVisible', detail), request };
    }
  }
  const key = decideOnRequest(read, readRequestKey(read.key));
  if (key.kind !== 'supported') return { decision: key, request: read };
  const { pods: cache, transport, podReader: reader } = needs;
  const lookup = await lookUpPod(read, { cache, transport, ...(reader && { reader }) }, { signal });
  return { decision: decideOnPod(read, key, lookup, needs.identify), request: read };
}
