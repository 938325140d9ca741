import type { Metrics } from '../observe/metrics.ts';
import type { WaitReason } from '../observe/reasons.ts';
import type { Answer, Answers, Confirmation } from './answers.ts';
import type { RequestAddress } from './request.ts';
import type { StatusWriter } from './status.ts';

/** What is left to do after an answer was sent. */
export type Delivered =
  /** The answer stands as the server has it: `answer` is the one of our tries that it took. */
  | { readonly kind: 'confirmed'; readonly answer: Confirmation }
  /** Another replica answered. */
  | { readonly kind: 'elsewhere' }
  /** The request is no longer there. */
  | { readonly kind: 'gone' }
  /** It was refused and is too old to be sent again. */
  | { readonly kind: 'sign-anew' }
  | {
      readonly kind: 'again';
      readonly reason: WaitReason;
      readonly detail: string;
      readonly retryAfterMs: number | undefined;
    };

/** Sends an answer to where its request is read now, and finds out what became of it. */
export function createDelivery(needs: {
  readonly status: StatusWriter;
  readonly answers: Answers;
  readonly metrics: Metrics;
  /** A version is not served any more: look again. */
  readonly rediscover: () => void;
}) {
  const { answers } = needs;
  const again = (reason: WaitReason, detail: string, retryAfterMs?: number): Delivered => ({
    kind: 'again',
    reason,
    detail,
    retryAfterMs,
  });

  return async function deliver(
    answer: Answer,
    address: RequestAddress,
    signal: AbortSignal,
  ): Promise<Delivered> {
    const outcome = await needs.status.write(address, answer.prepared, signal);
    switch (outcome.kind) {
      case 'written':
        // Something in front of the API server may have said so.
        answers.sent(answer, 'unclear');
        return { kind: 'confirmed', answer };
      case 'answered': {
        const ours = answers.find(answer.request.uid, outcome.certificateChain);
        if (ours) return { kind: 'confirmed', answer: ours };
        needs.metrics.answeredElsewhere.inc();
        return { kind: 'elsewhere' };
      }
      case 'gone':
        return { kind: 'gone' };
      case 'not-served':
        answers.sent(answer, 'refused');
        needs.rediscover();
        return again('ApiUnavailable', 'PodCertificateRequests are not served any more in this version');
      case 'forbidden':
        answers.sent(answer, 'forbidden');
        return again('SignerForbidden', outcome.detail);
      case 'rejected':
        answers.sent(answer, 'refused');
        if (answers.isOld(answer)) return { kind: 'sign-anew' };
        return again('StatusRejected', outcome.detail);
      case 'unavailable':
        answers.sent(answer, outcome.isRefusal ? 'refused' : 'unclear');
        return again('ApiUnavailable', outcome.detail, outcome.retryAfterMs);
    }
  };
}
