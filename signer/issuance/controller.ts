import type { Facts } from '../identity/facts.ts';
import type { Membership } from '../kube/membership.ts';
import { createQueue } from '../kube/queue.ts';
import type { Time } from '../kube/time.ts';
import { createOwnership } from './ownership.ts';
import { createReconcile, type ReconcileNeeds } from './reconcile.ts';
import { flowOf } from './request.ts';
import { createRequestStates, type RequestState } from './request-state.ts';

export interface ControllerNeeds extends Omit<ReconcileNeeds, 'states' | 'ownership' | 'membership'> {
  readonly membership: Membership;
  /** Wakes the requests of a pod. */
  readonly facts: Facts;
  readonly takeoverDelayMs: number;
  readonly maxOpenOfPod?: number;
  /** Requests answered at the same time. */
  readonly concurrency: number;
  /** Requests of one namespace answered at the same time, asked again and again. */
  readonly concurrencyOfNamespace: (isAlone: boolean) => number;
  /** A worker threw, which is a bug; its request is tried again with back-off. */
  readonly onError: (error: unknown, key: string) => void;
  readonly time: Time;
}

/**
 * The control loop: watch → queue of keys → reconcile. A worker always reads the store again, so an event is only ever
 * a hint, and doing a key twice is harmless.
 */
export function createController(needs: ControllerNeeds) {
  const { requests, membership, metrics, takeoverDelayMs, time } = needs;
  const labels = { signer: needs.signerName };
  const { monotonic } = time;
  const { self, members } = membership;
  const queue = createQueue({
    time,
    flowOf: (key) => flowOf(key, requests.get(key)),
  });
  const states = createRequestStates({ ...needs, onPlace: enqueue });
  const ownership = createOwnership({ self, members, takeoverDelayMs, time });
  const reconcile = createReconcile({ ...needs, states, ownership }, (keys) => {
    for (const key of keys) {
      queue.endBackoff(key);
      queue.add(key, 'low');
    }
  });

  function enqueue(state: RequestState): void {
    const { rank, waitMs } = ownership.turnOf(state);
    const { key } = state;
    if (waitMs > 0) queue.addAfter(key, waitMs, 'low');
    else queue.add(key, rank === 0 ? 'high' : 'low');
  }

  /** Something changed that the request may have waited for. Its owner has the first chance, or all replicas would answer. */
  function wake(state: RequestState): void {
    state.changedAt = monotonic();
    enqueue(state);
  }

  function openStates(): RequestState[] {
    return [...states.values()].filter(states.isOpen);
  }

  requests.subscribe(({ type, key, object, previous }) => {
    if (previous && previous.uid !== object.uid) {
      states.forget(previous.uid);
      queue.forget(key);
    }
    if (type === 'delete') {
      states.forget(object.uid);
      queue.forget(key);
    } else if (object.answered !== undefined) {
      const isNews = previous?.answered === undefined;
      if (isNews && object.answered === 'Issued' && object.answeredBy) ownership.sawIssued(object.answeredBy);
      if (states.sawAnswer(object.uid)) queue.add(key, 'low');
      else queue.forget(key);
    } else {
      const { state, isNew } = states.see(object);
      const ageMs = time.now() - object.createdAtMs;
      if (isNew && !Number.isNaN(ageMs))
        metrics.requestAgeAtFirstSight.observe(labels, Math.max(0, ageMs / 1000));
      enqueue(state);
    }
  });

  needs.facts.onChange((podKey) => {
    for (const { uid } of requests.by('pod', podKey)) {
      const state = states.get(uid);
      if (state && states.isOpen(state)) wake(state);
    }
  });

  membership.onChange(() => openStates().forEach(enqueue));

  async function work(key: string, signal: AbortSignal): Promise<void> {
    const next = await reconcile(key, signal);
    switch (next.kind) {
      case 'done':
        return queue.endBackoff(key);
      case 'after':
        return queue.addAfter(key, next.ms, 'low');
      case 'at-once':
        queue.endBackoff(key);
        return queue.add(key, 'low');
      case 'back-off':
        return queue.addRateLimited(key, next.retryAfterMs);
    }
  }

  return {
    /** The signer can issue again: retries the requests that wait for it. */
    wake: () => openStates().filter(states.isForSigner).forEach(wake),
    /** Open requests, for the metrics. */
    pending: () => ({ ...states.pending(), queued: queue.depth() }),
    /** What is remembered of requests: 0 when all are answered or gone. */
    size: states.size,
    /** Works until the signal; then finishes what is in flight and returns. */
    run: (signal: AbortSignal) => queue.run(work, needs, signal),
  };
}
