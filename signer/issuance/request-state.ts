import type { Time } from '../kube/time.ts';
import type { Span } from '../observe/span.ts';
import { type Answer, type Attempt, type EarlierAttempt, withoutBytes } from './attempt.ts';
import type { Reported } from './report.ts';
import { type OpenRequest, requestKey } from './request.ts';

/**
 * Where a request is in its life in this replica. Only the functions of `createRequestStates` assign it.
 *
 *   see ──► seen ──send──► sent ──confirm──► confirmed ──► forgotten
 *            │              │ ▲                  │
 *           wait          wait send            10 s: send or wait
 *            ▼              ▼ │                  │
 *          waiting ◄──────────┴──────────────────┘
 *
 *   see        none → seen. The watch shows the request open for the first time.
 *   wait       any open phase → waiting. It cannot be answered yet, or the API server did not take the answer.
 *   drop       any open phase → dropped. Its pod is gone; it is looked at again when something changes.
 *   send       any open phase → sent. An answer is written, for the first time or again.
 *   confirm    sent → confirmed. The API server said yes, and the watch does not show it yet. What said yes may have been
 *              a proxy: if the watch still shows the request open 10 s later, the answer is sent again.
 *   close      any → closed. The API server was seen to hold an answer, or to hold the request no more. Only the watch is
 *              behind.
 *   sawAnswer  the watch shows an answer. Settled, so forgotten; but → answered if a write of ours has an unknown outcome,
 *              and the worker then finds out whose answer it is.
 *   forget     any → none. Settled, deleted or replaced.
 */
export type Phase =
  | { readonly kind: 'seen' | 'dropped' | 'sent' | 'answered' | 'closed' }
  | { readonly kind: 'waiting'; readonly for: WaitsFor }
  | { readonly kind: 'confirmed'; readonly since: number };

/**
 * Facts about its pod, a place among the open requests of its pod, the signer to be able to sign, or the API server to
 * take its answer.
 */
export type WaitsFor = 'facts' | 'place' | 'signer' | 'server';

/**
 * What this replica knows about one request. Times in milliseconds on the monotonic clock. This file writes `request`, `phase`,
 * `isCounted`, `attempt`, `earlier` and `releasedAfter`. Others write the rest: `controller.ts` changedAt, `ownership.ts` ranked,
 * `reconcile.ts` span, and `next-step.ts` reported, answer and the two flags of the attempt.
 */
export interface RequestState {
  /** As the watch last showed it open. */
  request: OpenRequest;
  /** In the store and the queue. */
  readonly key: string;
  phase: Phase;
  readonly firstSeen: number;
  /** When something last changed that may let it be answered. Its owner then has the first chance again. */
  changedAt: number;
  /** The replicas in the order in which they may answer, and the members that this order was made from. */
  ranked: { readonly members: readonly string[]; readonly order: readonly string[] } | undefined;
  /** Whether it counts towards the limit of its pod. */
  isCounted: boolean;
  /** The last outcome that was reported. */
  reported: Reported | undefined;
  /** The answer that was reported as taken. If the watch does not show it, it is sent again, but not reported again. */
  answer: Answer | undefined;
  /** The newest attempt, while its bytes are kept. */
  attempt: Attempt | undefined;
  /** The span of the attempt under way, if its trace is recorded. */
  span: Span | undefined;
  /** Attempts before it that may stand, the oldest first. */
  earlier: readonly EarlierAttempt[];
  /** The outage after which its answer was last sent ahead of its back-off. */
  releasedAfter: number;
}

/** kubelet has one open request for each source of a volume. */
export const defaultMaxOpenOfPod = 64;
/** Attempts of one request that are kept besides the newest. */
const maxEarlier = 3;
/** Requests whose newest attempt is kept with its bytes. Beyond it, the one not sent for the longest time loses them. */
export const maxWithBytes = 10_000;
/** A yes after so long without one, in milliseconds, ends another outage: the longest back-off. */
const outageMs = 30_000;

/**
 * The one place that remembers anything about requests. Everything is gone with `forget`, and what a worker that is
 * still busy with a forgotten request does to its state has no effect.
 */
export function createRequestStates(needs: {
  readonly time: Time;
  /** Open requests of one pod that a replica answers: 64 unless given. */
  readonly maxOpenOfPod?: number;
  /** A request that waited for a place among the open requests of its pod may have one now. */
  readonly onPlace?: (state: RequestState) => void;
}) {
  const { maxOpenOfPod = defaultMaxOpenOfPod, onPlace } = needs;
  const { monotonic } = needs.time;
  // By UID, in the order of first sight.
  const states = new Map<string, RequestState>();
  // Indexes of `states`, so that no request costs a walk over all of them.
  const openOfPod = new Map<string, number>();
  const waitingForPlace = new Map<string, Set<RequestState>>();
  const withBytes = new Set<RequestState>();
  const notTaken = new Set<RequestState>();
  let outage = 0;
  let lastTakenAt = monotonic();

  const isKnown = (state: RequestState) => states.get(state.request.uid) === state;
  /** Whether the request may still need an answer. */
  const isOpen = ({ phase }: RequestState) => phase.kind !== 'answered' && phase.kind !== 'closed';

  /** Takes the place of a request from it, and offers it. */
  function uncount(state: RequestState): void {
    if (!state.isCounted) return;
    state.isCounted = false;
    const { podUID } = state.request;
    const left = (openOfPod.get(podUID) ?? 0) - 1;
    if (left > 0) openOfPod.set(podUID, left);
    else openOfPod.delete(podUID);
    offerPlace(podUID);
  }

  /** Wakes the request that waits longest for a place of this pod, if the pod has one. */
  function offerPlace(podUID: string): void {
    const [next] = waitingForPlace.get(podUID) ?? [];
    if (!next || isPodFull(next)) return;
    leaveLine(next);
    onPlace?.(next);
  }

  function leaveLine(state: RequestState): void {
    const { podUID } = state.request;
    const line = waitingForPlace.get(podUID);
    line?.delete(state);
    if (line?.size === 0) waitingForPlace.delete(podUID);
  }

  function forget(uid: string): void {
    const state = states.get(uid);
    if (!state) return;
    states.delete(uid);
    withBytes.delete(state);
    notTaken.delete(state);
    leaveLine(state);
    if (state.isCounted) uncount(state);
    else offerPlace(state.request.podUID);
  }

  /**
   * Forgets a request that has its answer, and whose outcome no one waits for. V8 may keep its state until it next collects
   * old objects, so the bytes go at once.
   */
  function settle(state: RequestState): void {
    forget(state.request.uid);
    state.attempt = undefined;
  }

  /** Keeps of the newest attempt what recognises it, if it may stand. */
  function dropBytes(state: RequestState): void {
    const { attempt } = state;
    withBytes.delete(state);
    state.attempt = undefined;
    if (attempt?.mayStand) state.earlier = [...state.earlier, withoutBytes(attempt)].slice(-maxEarlier);
  }

  function move(state: RequestState, phase: Phase): void {
    notTaken.delete(state);
    leaveLine(state);
    state.phase = phase;
    // It may have been offered a place that it does not take, because its facts or its creator are not believed.
    if (!state.isCounted) offerPlace(state.request.podUID);
  }

  const isPodFull = (state: RequestState) =>
    !state.isCounted && (openOfPod.get(state.request.podUID) ?? 0) >= maxOpenOfPod;

  return {
    get: (uid: string) => states.get(uid),
    values: () => states.values(),
    /** What is remembered: 0 when all requests are answered or gone. */
    size: () => states.size + openOfPod.size + waitingForPlace.size + withBytes.size + notTaken.size,
    isKnown,
    isOpen,
    /** Whether it may get an answer once the signer can issue again. */
    isForSigner: ({ phase }: RequestState) =>
      phase.kind === 'seen' || (phase.kind === 'waiting' && phase.for !== 'facts'),
    forget,
    settle,

    /** @returns the state, and whether the request is seen for the first time. */
    see(request: OpenRequest): { state: RequestState; isNew: boolean } {
      const known = states.get(request.uid);
      if (known) {
        known.request = request;
        return { state: known, isNew: false };
      }
      const now = monotonic();
      const state: RequestState = {
        request,
        key: requestKey(request),
        phase: { kind: 'seen' },
        firstSeen: now,
        changedAt: now,
        ranked: undefined,
        isCounted: false,
        reported: undefined,
        answer: undefined,
        attempt: undefined,
        span: undefined,
        earlier: [],
        releasedAfter: -1,
      };
      states.set(request.uid, state);
      return { state, isNew: true };
    },

    /** @param isOutage whether it may be sent ahead of its back-off once the API server takes another answer. */
    wait(state: RequestState, what: WaitsFor, isOutage = false): void {
      if (isOpen(state)) move(state, { kind: 'waiting', for: what });
      if (what === 'place' && isKnown(state)) {
        const { podUID } = state.request;
        waitingForPlace.set(podUID, (waitingForPlace.get(podUID) ?? new Set()).add(state));
      }
      if (isOutage && state.releasedAfter !== outage && isKnown(state)) notTaken.add(state);
    },

    drop(state: RequestState): void {
      move(state, { kind: 'dropped' });
    },

    send(state: RequestState, attempt: Attempt): void {
      if (isOpen(state)) move(state, { kind: 'sent' });
      if (state.attempt !== attempt) dropBytes(state);
      state.attempt = attempt;
      if (!isKnown(state)) return;
      withBytes.delete(state);
      withBytes.add(state);
      const [longestUnsent] = withBytes;
      if (withBytes.size > maxWithBytes && longestUnsent) dropBytes(longestUnsent);
    },

    confirm(state: RequestState): void {
      move(state, { kind: 'confirmed', since: monotonic() });
    },

    close(state: RequestState): void {
      move(state, { kind: 'closed' });
      uncount(state);
    },

    /** @returns whether a worker has to find out whose answer it is. */
    sawAnswer(uid: string): boolean {
      const state = states.get(uid);
      if (!state) return false;
      if (state.phase.kind === 'answered') return true;
      const isUnclear = state.attempt !== undefined && isOpen(state) && state.phase.kind !== 'confirmed';
      if (!isUnclear) {
        settle(state);
        return false;
      }
      move(state, { kind: 'answered' });
      uncount(state);
      return true;
    },

    /**
     * The API server took an answer.
     *
     * @returns the requests whose answers it did not take before: they need not wait any longer. Each once in an outage:
     * one that is refused again although others are taken has a problem of its own, such as a webhook for its namespace,
     * and would otherwise come back with every answer that is taken.
     */
    taken(): readonly RequestState[] {
      if (monotonic() - lastTakenAt > outageMs) outage += 1;
      lastTakenAt = monotonic();
      const released = [...notTaken];
      notTaken.clear();
      for (const state of released) state.releasedAfter = outage;
      return released;
    },

    maxOpenOfPod,
    /** Whether the pod has its number of open requests without this one. */
    isPodFull,
    /** Counts a request that is believed, with the facts of its pod. @returns false if the pod has its number without it. */
    count(state: RequestState): boolean {
      if (isPodFull(state)) return false;
      if (state.isCounted || !isKnown(state)) return true;
      state.isCounted = true;
      openOfPod.set(state.request.podUID, (openOfPod.get(state.request.podUID) ?? 0) + 1);
      return true;
    },
    uncount,

    /** How many requests wait for an answer, and for how long the oldest has, in milliseconds. */
    pending(): { readonly count: number; readonly oldestMs: number } {
      const open = [...states.values()].filter((state) => isOpen(state) && state.phase.kind !== 'dropped');
      return { count: open.length, oldestMs: open[0] ? monotonic() - open[0].firstSeen : 0 };
    },
  };
}

export type RequestStates = ReturnType<typeof createRequestStates>;
