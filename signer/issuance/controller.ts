import type { Membership } from '../kube/membership.ts';
import { createQueue } from '../kube/queue.ts';
import type { Store } from '../kube/store.ts';
import type { SetTimer } from '../kube/timer.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Reason, WaitReason } from '../observe/reasons.ts';
import { type Answer, type Confirmation, createAnswers } from './answers.ts';
import { type ConsiderNeeds, consider } from './consider.ts';
import { createDelivery } from './delivery.ts';
import type { Guard } from './guard.ts';
import { createPodLimit, maxOpenOfPod } from './pod-limit.ts';
import { decidesAlike } from './pods.ts';
import { createRecovery } from './recovery.ts';
import type { Reporter } from './report.ts';
import {
  type CertificateRequest,
  flowOf,
  type OpenRequest,
  type RequestAddress,
  requestKey,
} from './request.ts';
import type { Signing } from './signing.ts';
import type { StatusWriter } from './status.ts';
import { createTurns } from './turns.ts';

/** An answer that was confirmed shows in our watch within this time, in milliseconds, or was not taken after all. */
const shownWithinMs = 10_000;

export interface ControllerNeeds extends ConsiderNeeds {
  /** Indexed by `pod` (namespace/name of the pod of an open request). */
  readonly requests: Store<CertificateRequest>;
  readonly rediscover: () => void;
  readonly membership: Membership;
  readonly guard: Pick<Guard, 'refusal'>;
  readonly signing: Signing;
  readonly status: StatusWriter;
  readonly reporter: Reporter;
  readonly metrics: Metrics;
  readonly takeoverDelayMs: number;
  /** Requests answered at the same time. */
  readonly concurrency: number;
  /** A worker threw, which is a fault of ours; its request is tried again with back-off. */
  readonly onError: (error: unknown, key: string) => void;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly jitter: () => number;
  readonly timer?: SetTimer;
}

export interface Controller {
  /** Says that the pool, the trust bundle or the clock changed: every open request gets a new chance. */
  reconsiderAll(): void;
  /** Open requests, for the metrics. */
  pending(): { readonly count: number; readonly oldestMs: number; readonly queued: number };
  /** Works until the signal; then finishes what is in flight and returns. */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * The control loop: watch → queue of keys → decide → sign → write. A worker always reads the store again, so an
 * event is only ever a hint, and doing a key twice is harmless.
 */
export function createController(needs: ControllerNeeds): Controller {
  const { requests, pods, membership, metrics, monotonic } = needs;
  const queue = createQueue({
    monotonic,
    jitter: needs.jitter,
    ...(needs.timer && { timer: needs.timer }),
    flowOf: (key) => flowOf(key, requests.get(key)),
  });
  const turns = createTurns({
    self: membership.self,
    members: () => membership.members(),
    takeoverDelayMs: needs.takeoverDelayMs,
    monotonic,
  });
  // Answered by us, but our watch does not show it yet: to decide again would only waste a signature. By UID: since
  // when. What never shows is sent again: whoever said 200 may have been something in front of the API server.
  const confirmed = new Map<string, number>();
  const recovery = createRecovery({ monotonic });
  const answers = createAnswers({ signing: needs.signing, monotonic, now: needs.now });
  const podLimit = createPodLimit();
  const deliver = createDelivery({ ...needs, answers });

  function enqueue(request: OpenRequest): void {
    const { rank, waitMs } = turns.turnOf(request.uid);
    if (waitMs > 0) queue.addAfter(requestKey(request), waitMs, 'low');
    else queue.add(requestKey(request), rank === 0 ? 'high' : 'low');
  }

  function reconsiderAll(): void {
    turns.changed();
    enqueueAll();
  }

  function enqueueAll(): void {
    for (const request of requests.values()) {
      if (request.answered === undefined) enqueue(request);
    }
  }

  /** Nobody works on the request of this key any more. */
  function finish(key: string): void {
    queue.forget(key);
    recovery.forget(key);
  }

  /** Nothing more is to be done or told about the answer to a request. */
  function settled(uid: string): void {
    answers.forget(uid);
    needs.reporter.forget(uid);
  }

  function forget(uid: string): void {
    turns.forget(uid);
    confirmed.delete(uid);
    podLimit.forget(uid);
    settled(uid);
  }

  requests.subscribe(({ type, key, object, previous }) => {
    if (previous && previous.uid !== object.uid) forget(previous.uid);
    if (type === 'delete') {
      forget(object.uid);
      finish(key);
    } else if (object.answered !== undefined) {
      if (previous?.answered === undefined) turns.sawAnswer(object);
      podLimit.forget(object.uid);
      // A write whose confirmation was lost is settled by its worker.
      if (!confirmed.delete(object.uid) && answers.has(object.uid)) return queue.add(key, 'low');
      settled(object.uid);
      finish(key);
    } else {
      if (turns.sawOpen(object.uid)) {
        const ageMs = needs.now() - object.createdAtMs;
        if (!Number.isNaN(ageMs)) metrics.requestAgeAtFirstSight.observe(Math.max(0, ageMs / 1000));
      }
      enqueue(object);
    }
  });

  pods.subscribe(({ type, key, object, previous }) => {
    if (type === 'set' && previous && decidesAlike(object, previous)) return;
    for (const request of requests.by('pod', key)) {
      if (request.answered !== undefined) continue;
      turns.changed(request.uid);
      enqueue(request);
    }
  });

  membership.onChange(enqueueAll);

  async function work(key: string, signal: AbortSignal): Promise<void> {
    const request = requests.get(key);
    if (!request) return finish(key);
    if (request.answered !== undefined) {
      const unconfirmed = request.answeredBy === membership.self ? answers.last(request.uid) : undefined;
      if (unconfirmed) return send(unconfirmed, request, signal);
      settled(request.uid);
      return finish(key);
    }
    const confirmedAt = confirmed.get(request.uid);
    if (confirmedAt !== undefined) {
      const leftMs = confirmedAt + shownWithinMs - monotonic();
      if (leftMs > 0) return queue.addAfter(key, leftMs, 'low');
      confirmed.delete(request.uid);
    }
    const { waitMs } = turns.turnOf(request.uid);
    if (waitMs > 0) return queue.addAfter(key, waitMs, 'low');

    if (podLimit.isReached(request)) return tooMany(request);
    const considered = await consider(request, needs, signal);
    if (!considered) return finish(key);
    const { decision, request: read } = considered;
    if (decision.kind === 'drop') {
      tell(read, decision.reason, decision.detail);
      turns.drop(read.uid);
      return finish(key);
    }
    if (decision.kind === 'wait') return keepWaiting(read, decision.reason, decision.detail);
    if (decision.kind === 'issue') {
      const shown = requests.get(key);
      // What is gone by now must not count for ever; the watch has told of it.
      if (shown?.uid !== read.uid || shown.answered !== undefined) return;
      if (!podLimit.count(read)) return tooMany(read);
    }
    const unguarded = decision.kind === 'issue' ? needs.guard.refusal(read) : undefined;
    if (unguarded) return keepWaiting(read, unguarded.reason, unguarded.detail);
    const prepared = await answers.prepare(read, decision, monotonic() - turns.ageMs(read.uid));
    if (!prepared.ok) return keepWaiting(read, prepared.reason, prepared.detail);
    await send(prepared.answer, read, signal);
  }

  async function send(answer: Answer, address: RequestAddress, signal: AbortSignal): Promise<void> {
    const { request } = answer;
    const delivered = await deliver(answer, address, signal);
    if (delivered.kind === 'sign-anew') {
      queue.forget(requestKey(request));
      return queue.add(requestKey(request), 'low');
    }
    if (delivered.kind === 'again') {
      if (delivered.reason === 'ApiUnavailable') recovery.failed(requestKey(request));
      return keepWaiting(request, delivered.reason, delivered.detail, delivered.retryAfterMs);
    }
    for (const key of recovery.taken(requestKey(request))) {
      queue.forget(key);
      queue.add(key, 'low');
    }
    finish(requestKey(request));
    if (delivered.kind === 'confirmed') confirm(delivered.answer);
    if (!confirmed.has(request.uid)) settled(request.uid);
  }

  function confirm(answer: Confirmation): void {
    const { request, kind, reason, detail } = answer;
    if (turns.turnOf(request.uid).rank > 0) metrics.takeovers.inc();
    metrics.issuanceLatency.observe({ outcome: kind }, (monotonic() - answer.firstSeen) / 1000);
    tell(request, reason, detail, answer);
    const key = requestKey(request);
    const shown = requests.get(key);
    if (shown?.uid !== request.uid || shown.answered !== undefined) return;
    confirmed.set(request.uid, monotonic());
    queue.addAfter(key, shownWithinMs, 'low');
  }

  const tooMany = (request: OpenRequest) =>
    keepWaiting(request, 'TooManyOpenRequests', `${maxOpenOfPod} others`);

  function keepWaiting(
    request: OpenRequest,
    reason: WaitReason,
    detail: string,
    retryAfterMs?: number,
  ): void {
    tell(request, reason, detail);
    queue.addRateLimited(requestKey(request), retryAfterMs);
  }

  function tell(request: OpenRequest, reason: Reason, detail: string, answer?: Confirmation): void {
    needs.reporter.tell({
      request,
      reason,
      detail,
      owner: turns.turnOf(request.uid).rank === 0,
      elapsedMs: answer ? monotonic() - answer.firstSeen : turns.ageMs(request.uid),
      ...(answer?.certificate && { certificate: answer.certificate }),
    });
  }

  return {
    reconsiderAll,
    pending: () => ({ ...turns.pending(), queued: queue.depth() }),
    run: (signal) => queue.run(work, { concurrency: needs.concurrency, onError: needs.onError }, signal),
  };
}
