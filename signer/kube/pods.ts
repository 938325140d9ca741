import { isNotFoundOfObject } from './api-error.ts';
import type { InformerSpec } from './informer.ts';
import { createJsonReader } from './json-reader.ts';
import type { Store } from './store.ts';
import type { ApiRequest, Transport } from './transport.ts';
import { metadataFields, type Pod } from './types.ts';

/** What we keep of a pod: what a claim to be it is held against. */
export interface PodFacts {
  readonly uid: string;
  readonly nodeName: string;
  readonly serviceAccountName: string;
  /** Succeeded or Failed; undefined while the pod may still run. */
  readonly finished: 'Succeeded' | 'Failed' | undefined;
  /** When its time to terminate is over, seconds since the epoch; absent unless it is being deleted. */
  readonly deletesAt?: number;
}

/** A pod as a request or a credential names it. */
export interface PodReference {
  readonly namespace: string;
  readonly podName: string;
  readonly podUID: string;
  readonly serviceAccountName: string;
  /** Absent where the node is not named, as in most credentials. */
  readonly nodeName?: string;
}

/** The outcome of looking a pod up. */
export type PodLookup =
  | { readonly kind: 'found'; readonly pod: PodFacts }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unavailable'; readonly error: unknown };

/** What is read of a pod. Its author decides how large the rest is. */
export const podFields = {
  metadata: { ...metadataFields, deletionTimestamp: true },
  spec: { nodeName: true, serviceAccountName: true },
  status: { phase: true },
} as const;

/** Projects a pod of the API server to what we keep of it. */
export function toPodFacts(wire: Pod): PodFacts {
  const phase = wire.status?.phase;
  const { deletionTimestamp } = wire.metadata;
  return {
    uid: wire.metadata.uid ?? '',
    nodeName: wire.spec?.nodeName ?? '',
    serviceAccountName: wire.spec?.serviceAccountName ?? 'default',
    finished: phase === 'Succeeded' || phase === 'Failed' ? phase : undefined,
    // A time that cannot be read counts as past.
    ...(deletionTimestamp !== undefined && { deletesAt: Date.parse(deletionTimestamp) / 1000 || 0 }),
  };
}

export const allPods: InformerSpec<Pod, PodFacts> = {
  resource: { group: '', versions: ['v1'], name: 'pods' },
  fields: podFields,
  project: toPodFacts,
};

/**
 * The pod that a request or a credential names. The cache answers when it agrees with every name in it. Watches are not
 * ordered among each other, so after a miss or any mismatch the pod is read live, once per call.
 *
 * @param cache undefined: do not use it.
 */
export async function lookUpPod(
  named: PodReference,
  needs: { readonly cache: Pick<Store<PodFacts>, 'get'> | undefined; readonly transport: Transport },
  limits: Pick<ApiRequest, 'signal' | 'timeoutMs'>,
): Promise<PodLookup> {
  const { namespace, podName: name } = named;
  const cached = needs.cache?.get(`${namespace}/${name}`);
  if (cached && agrees(named, cached)) return { kind: 'found', pod: cached };
  return readPod(needs.transport, { namespace, name }, limits);
}

function agrees(named: PodReference, pod: PodFacts): boolean {
  return (
    pod.uid === named.podUID &&
    pod.serviceAccountName === named.serviceAccountName &&
    (named.nodeName === undefined || pod.nodeName === named.nodeName)
  );
}

async function readPod(
  transport: Transport,
  pod: { readonly namespace: string; readonly name: string },
  limits: Pick<ApiRequest, 'signal' | 'timeoutMs'>,
): Promise<PodLookup> {
  try {
    const answer = await transport.request<Pod>({
      method: 'GET',
      path: `/api/v1/namespaces/${encodeURIComponent(pod.namespace)}/pods/${encodeURIComponent(pod.name)}`,
      resource: 'pods',
      reader: () => createJsonReader(podFields),
      ...limits,
    });
    return { kind: 'found', pod: toPodFacts(answer.body) };
  } catch (error) {
    return isNotFoundOfObject(error) ? { kind: 'gone' } : { kind: 'unavailable', error };
  }
}
