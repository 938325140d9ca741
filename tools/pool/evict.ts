import { setTimeout as sleep } from 'node:timers/promises';
import { ApiStatusError, isNotFoundOfObject } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';

/** A pod that is to be evicted. The UID keeps the pod in its place from being evicted too. */
export interface EvictedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** `blocked`: a PodDisruptionBudget, or something else, does not allow it yet. `gone`: it was deleted, or replaced. */
type Eviction = 'evicted' | 'gone' | 'blocked';

/**
 * Evicts pods, so many a second, by the eviction API (policy/v1), which respects PodDisruptionBudgets. A pod whose eviction
 * is refused stops no other one, since its tenant may have caused that: two budgets for one pod are a 500, and a namespace
 * that is being deleted is a 403. It is tried again in each round until the deadline.
 *
 * @param options perSecond: pods a second. deadlineMs: on the clock of `now`. onResult: called for each pod that is
 *   evicted or gone, and for each that is blocked for the first time.
 * @returns the pods that are still blocked.
 * @throws ApiStatusError where the credentials are not good (401)
 * @throws ApiConnectionError
 */
export async function evictPods(
  api: Pick<Transport, 'request'>,
  pods: readonly EvictedPod[],
  options: {
    readonly perSecond: number;
    readonly isDryRun: boolean;
    readonly deadlineMs: number;
    readonly onResult: (pod: EvictedPod, result: Eviction, why: string) => void;
    readonly now?: () => number;
    readonly pause?: (ms: number) => Promise<unknown>;
  },
): Promise<readonly EvictedPod[]> {
  const { perSecond, onResult, isDryRun, now = Date.now, pause = sleep } = options;
  let open = pods;
  for (let round = 1; ; round += 1) {
    const blocked: EvictedPod[] = [];
    for (const pod of open) {
      // Each pod is tried at least once.
      if (round > 1 && now() >= options.deadlineMs) {
        blocked.push(pod);
        continue;
      }
      const { result, why } = await evict(api, pod, isDryRun);
      if (result === 'blocked') blocked.push(pod);
      if (result !== 'blocked' || round === 1) onResult(pod, result, why);
      await pause(1_000 / perSecond);
    }
    if (blocked.length === 0 || isDryRun || now() >= options.deadlineMs) return blocked;
    open = blocked;
  }
}

async function evict(
  api: Pick<Transport, 'request'>,
  { namespace, name, uid }: EvictedPod,
  isDryRun: boolean,
): Promise<{ result: Eviction; why: string }> {
  const dryRun = isDryRun ? { dryRun: ['All'] } : {};
  try {
    await api.request({
      method: 'POST',
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/eviction`,
      body: {
        apiVersion: 'policy/v1',
        kind: 'Eviction',
        metadata: { namespace, name },
        deleteOptions: { preconditions: { uid }, ...dryRun },
      },
      resource: 'pods/eviction',
      retry: 'none',
      discardBody: true,
    });
    return { result: 'evicted', why: '' };
  } catch (error) {
    if (isNotFoundOfObject(error)) return { result: 'gone', why: '' };
    if (!(error instanceof ApiStatusError)) throw error;
    if (error.status === 409) return { result: 'gone', why: '' };
    if (error.status === 401) throw error;
    return { result: 'blocked', why: error.message };
  }
}
