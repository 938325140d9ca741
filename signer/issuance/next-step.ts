import type { Membership } from '../kube/membership.ts';
import type { Store } from '../kube/store.ts';
import type { Time } from '../kube/time.ts';
import type { Metrics } from '../observe/metrics.ts';
import { type Cannot, outcomes, type Reason, type WaitReason } from '../observe/reasons.ts';
import { type Answer, type Attempt, type Attempts, answerWith } from './attempt.ts';
import type { Decision } from './decide.ts';
import type { Ownership } from './ownership.ts';
import type { Reporter } from './report.ts';
import type { CertificateRequest } from './request.ts';
import type { RequestState, RequestStates, WaitsFor } from './request-state.ts';
import type { WriteOutcome } from './status.ts';

/** A confirmed answer shows in our watch within this time, in milliseconds, or was not taken after all. */
export const shownWithinMs = 10_000;

export interface NextStepNeeds {
  readonly requests: Store<CertificateRequest>;
  readonly states: RequestStates;
  readonly ownership: Ownership;
  readonly membership: Pick<Membership, 'self'>;
  readonly report: Reporter;
  readonly metrics: Metrics;
  /** Whose requests these are. */
  readonly signerName: string;
  /** A version of the API is not served any more: look again. */
  readonly rediscover: () => void;
  readonly time: Time;
}

/** What the queue does next with the key of a request. */
export type Next =
  /** Nothing, until something changes. */
  | { readonly kind: 'done' }
  | { readonly kind: 'at-once' }
  | { readonly kind: 'after'; readonly ms: number }
  | { readonly kind: 'back-off'; readonly retryAfterMs: number | undefined };

/** The outcomes of a write that show that the API server takes answers. */
const isOver = new Set<WriteOutcome['kind']>(['written', 'answered', 'gone']);

export const done: Next = { kind: 'done' };
export const after = (ms: number): Next => ({ kind: 'after', ms });

/**
 * What follows from each result of `reconcile`: the new state of the request, what is reported, and what the queue does
 * next.
 *
 * @param onTaken called with the keys of requests that need not wait for their back-off any longer.
 */
export function createNextStep(
  needs: NextStepNeeds,
  attempts: Pick<Attempts, 'isOld'>,
  onTaken: (keys: readonly string[]) => void,
) {
  const { requests, states, ownership, metrics } = needs;
  const { monotonic } = needs.time;
  // Made once, not for each request.
  const labels = { signer: needs.signerName };
  const latencyLabels = {
    issue: { outcome: 'issue', ...labels },
    deny: { outcome: 'deny', ...labels },
  };
  for (const counted of [metrics.takeovers, metrics.answeredElsewhere]) counted.inc(labels, 0);

  function afterWrite(state: RequestState, attempt: Attempt, outcome: WriteOutcome): Next {
    attempt.isForbidden = outcome.kind === 'forbidden';
    const isUnclear = outcome.kind === 'written' || (outcome.kind === 'unavailable' && !outcome.isRefusal);
    if (isUnclear) attempt.mayStand = true;
    if (isOver.has(outcome.kind)) onTaken(states.taken().map(({ key: taken }) => taken));
    switch (outcome.kind) {
      case 'written':
        return confirm(state, attempt.answer);
      case 'answered': {
        const isOurs = outcome.by === needs.membership.self;
        const ours = isOurs ? answerWith(state, outcome.certificateChain) : undefined;
        if (ours) reportAnswer(state, ours);
        else metrics.answeredElsewhere.inc(labels);
        return close(state);
      }
      case 'gone':
        return close(state);
      case 'rejected':
        // Its notBefore is too old: sign again.
        if (attempts.isOld(attempt)) return { kind: 'at-once' };
        return wait(state, 'server', { reason: 'StatusRejected', detail: outcome.detail });
      case 'forbidden':
        return wait(state, 'server', { reason: 'SignerForbidden', detail: outcome.detail });
      case 'not-served': {
        needs.rediscover();
        const detail = 'PodCertificateRequests are not served any more in this version';
        return wait(state, 'server', { reason: 'ApiUnavailable', detail });
      }
      case 'unavailable': {
        const { detail, retryAfterMs } = outcome;
        return wait(state, 'server', { reason: 'ApiUnavailable', detail }, retryAfterMs);
      }
    }
  }

  function confirm(state: RequestState, answer: Answer): Next {
    reportAnswer(state, answer);
    if (!isShownOpen(state)) return settleIfShown(state);
    // What said yes may have been something in front of the API server.
    states.confirm(state);
    return after(shownWithinMs);
  }

  /** The API server has an answer or has the request no more. Only the watch may be behind. */
  function close(state: RequestState): Next {
    if (!isShownOpen(state)) return settleIfShown(state);
    states.close(state);
    return done;
  }

  function settleIfShown(state: RequestState): Next {
    if (states.isKnown(state) && !isShownOpen(state)) states.settle(state);
    return done;
  }

  function isShownOpen({ key, request }: RequestState): boolean {
    const shown = requests.get(key);
    return shown?.uid === request.uid && shown.answered === undefined;
  }

  function drop(state: RequestState, { reason, detail }: Extract<Decision, { kind: 'drop' }>): Next {
    report(state, reason, detail);
    states.drop(state);
    return done;
  }

  function tooMany(state: RequestState): Next {
    return wait(state, 'place', { reason: 'TooManyOpenRequests', detail: `${states.maxOpenOfPod} others` });
  }

  /** It keeps no place among the open requests of its pod: an attacker could take all of them with such requests. */
  function unguarded(state: RequestState, refusal: Cannot<WaitReason>): Next {
    states.uncount(state);
    return wait(state, 'signer', refusal);
  }

  function wait(
    state: RequestState,
    what: WaitsFor,
    { reason, detail }: { readonly reason: WaitReason; readonly detail: string },
    retryAfterMs?: number,
  ): Next {
    if (!states.isKnown(state)) return done;
    report(state, reason, detail);
    states.wait(state, what, reason === 'ApiUnavailable');
    return { kind: 'back-off', retryAfterMs };
  }

  function reportAnswer(state: RequestState, answer: Answer): void {
    if (state.answer === answer) return;
    state.answer = answer;
    if (ownership.turnOf(state).rank > 0) metrics.takeovers.inc(labels);
    const seconds = (monotonic() - state.firstSeen) / 1000;
    metrics.issuanceLatency.observe(latencyLabels[outcomes[answer.reason].verdict], seconds);
    report(state, answer.reason, answer.detail, answer);
  }

  function report(state: RequestState, reason: Reason, detail: string, answer?: Answer): void {
    const isOwner = ownership.turnOf(state).rank === 0;
    const elapsedMs = monotonic() - state.firstSeen;
    const { request, span } = state;
    const outcome = { request, reason, detail, isOwner, elapsedMs, certificate: answer?.certificate, span };
    state.reported = needs.report(outcome, state.reported);
  }

  return { afterWrite, close, settleIfShown, drop, tooMany, unguarded, wait, isShownOpen };
}
