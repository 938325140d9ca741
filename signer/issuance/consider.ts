import { messageOf } from '../../spiffe/errors.ts';
import type { Identify } from '../identity/identify.ts';
import { isNotFoundOfObject } from '../kube/api-error.ts';
import { lookUpPod, type PodFacts, type PodReader } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion } from '../kube/types.ts';
import { type Decision, decideOnPod, decideOnRequest, wait } from './decide.ts';
import { keyInSpec, type OpenRequest, readRequestKey, requestFields, terminalCondition } from './request.ts';
import { readLive } from './status.ts';

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
  const read = hidesItsKey(request) ? await readThroughBeta(request, needs, signal) : request;
  if (!read) return undefined;
  if ('kind' in read) return { decision: read, request };
  const key = decideOnRequest(read, readRequestKey(read.key));
  if (key.kind !== 'supported') return { decision: key, request: read };
  const { pods: cache, transport, podReader: reader } = needs;
  const lookup = await lookUpPod(read, { cache, transport, ...(reader && { reader }) }, { signal });
  return { decision: decideOnPod(read, key, lookup, needs.identify), request: read };
}

/** Whether a request looks like one that only v1beta1 shows whole. */
export function hidesItsKey(request: OpenRequest): boolean {
  return request.version === 'v1' && request.key.form === 'none';
}

/**
 * A kubelet of 1.35 sends its key in a field that v1 does not have: read through v1 its request shows no key.
 * Where v1beta1 is served as well, such a request is read once more through it (KEP-4317, version skew). Only the key is
 * taken: v1 shows everything else, and the informer has read that with what the signer knows.
 *
 * @returns the request with its key, or what to do without it; undefined if it is gone or answered.
 */
async function readThroughBeta(
  request: OpenRequest,
  { transport, servedVersions }: ConsiderNeeds,
  signal: AbortSignal,
): Promise<OpenRequest | Decision | undefined> {
  const version = 'v1beta1';
  if (!servedVersions().includes(version)) return wait('KeyNotVisible', 'v1');
  try {
    const { metadata, spec, status } = await readLive(
      transport,
      { ...request, version },
      requestFields,
      signal,
    );
    if (metadata.uid !== request.uid || terminalCondition(status?.conditions)) return undefined;
    return { ...request, version, key: keyInSpec(spec) };
  } catch (error) {
    if (isNotFoundOfObject(error)) return undefined;
    return wait('KeyNotVisible', `v1, and reading it through v1beta1 failed (${messageOf(error)})`);
  }
}
