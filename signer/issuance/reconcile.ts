import { inSpan, type StartSpan } from '../observe/span.ts';
import { type Attempt, createAttempts } from './attempt.ts';
import { attemptSpan } from './attempt-span.ts';
import { type ConsiderNeeds, consider } from './consider.ts';
import type { Guard } from './guard.ts';
import { after, createNextStep, done, type Next, type NextStepNeeds, shownWithinMs } from './next-step.ts';
import type { OpenRequest, RequestAddress } from './request.ts';
import type { RequestState } from './request-state.ts';
import type { Signing } from './signing.ts';
import type { StatusWriter } from './status.ts';

export interface ReconcileNeeds extends ConsiderNeeds, NextStepNeeds {
  readonly guard: Pick<Guard, 'refusal'>;
  readonly signing: Signing;
  readonly status: StatusWriter;
  /** Undefined where traces are off. */
  readonly startSpan?: StartSpan | undefined;
}

/**
 * Brings one request forward: look up, identify, sign, write, report. In the steady state it reads nothing but caches,
 * and writes once. It may be called for any key at any time: it reads the store and the state of the request again.
 *
 * @param onTaken called with the keys of requests that need not wait for their back-off any longer.
 */
export function createReconcile(needs: ReconcileNeeds, onTaken: (keys: readonly string[]) => void) {
  const { requests, states, ownership } = needs;
  const { monotonic } = needs.time;
  const attempts = createAttempts(needs);
  const next = createNextStep(needs, attempts, onTaken);

  async function reconcile(key: string, signal: AbortSignal): Promise<Next> {
    const shown = requests.get(key);
    const state = shown && states.get(shown.uid);
    if (!shown || !state) return done;
    if (shown.answered !== undefined) {
      // A write of ours with an unknown outcome may be this answer. To find out, it is written again: an equal write is accepted,
      // another one is refused, and the answer is then read and compared with ours.
      const mayBeOurs = shown.answeredBy === needs.membership.self ? state.attempt : undefined;
      return mayBeOurs ? write(state, mayBeOurs, shown, signal) : next.settleIfShown(state);
    }
    if (state.phase.kind === 'closed') return done;
    if (state.phase.kind === 'confirmed') {
      const leftMs = state.phase.since + shownWithinMs - monotonic();
      if (leftMs > 0) return after(leftMs);
    }
    const { waitMs } = ownership.turnOf(state);
    if (waitMs > 0) return after(waitMs);
    if (!needs.startSpan) return answer(state, shown, signal);
    state.span = attemptSpan(needs.startSpan, state, monotonic());
    try {
      return await answer(state, shown, signal);
    } finally {
      state.span?.end();
      state.span = undefined;
    }
  }

  /** Decides on an open request, signs or denies, and writes. */
  async function answer(state: RequestState, shown: OpenRequest, signal: AbortSignal): Promise<Next> {
    if (states.isPodFull(state)) return next.tooMany(state);

    const considered = await inSpan(state.span, 'decide', () => consider(shown, needs, signal));
    if (!considered) return next.close(state);
    const { decision, request } = considered;
    if (!next.isShownOpen(state)) return done;
    if (decision.kind === 'drop') return next.drop(state, decision);
    if (decision.kind === 'wait') return next.wait(state, 'facts', decision);
    if (decision.kind === 'issue') {
      const unguarded = needs.guard.refusal(request);
      if (unguarded) return next.unguarded(state, unguarded);
      if (!states.count(state)) return next.tooMany(state);
    }

    const kept = attempts.toResend(state.attempt, decision);
    if (kept) return write(state, kept, request, signal);
    const made = await inSpan(state.span, 'sign', () => attempts.make(request, decision));
    if (!made.ok) return next.wait(state, 'signer', made);
    return write(state, made.attempt, request, signal);
  }

  /** Writes an answer to where the request is read now, and finds out what became of it. */
  async function write(
    state: RequestState,
    attempt: Attempt,
    address: RequestAddress,
    signal: AbortSignal,
  ): Promise<Next> {
    states.send(state, attempt);
    const outcome = await inSpan(state.span, 'write', () => needs.status.write(address, attempt, signal));
    return next.afterWrite(state, attempt, outcome);
  }

  return reconcile;
}
