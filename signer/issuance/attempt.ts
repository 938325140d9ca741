import { hash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Authority } from '../authority/pool.ts';
import type { Time } from '../kube/time.ts';
import type { IssuedCertificate } from '../observe/audit.ts';
import { type DenyReason, explain } from '../observe/reasons.ts';
import type { Decision } from './decide.ts';
import type { OpenRequest } from './request.ts';
import type { CannotSign, Signing } from './signing.ts';
import { prepareAnswer } from './status.ts';

/**
 * How long the same bytes are sent again, in milliseconds. The API server refuses a notBefore that is 5 min away
 * from its clock; ours lies 2 min back and our clock may be 2 min 30 s slow, which leaves 30 s.
 */
const reuseMs = 25_000;

/** What is answered to a request, in the form in which it is reported. No byte arrays: a small one can keep 8 KiB alive. */
export interface Answer {
  readonly reason: 'Issued' | DenyReason;
  readonly detail: string;
  /** Undefined for a denial. */
  readonly certificate: IssuedCertificate | undefined;
}

/** An answer with its bytes: a retry sends the same ones. */
export interface Attempt {
  readonly answer: Answer;
  readonly body: string;
  readonly certificateChain: string | undefined;
  /** What signed it; undefined for a denial. */
  readonly authority: Authority | undefined;
  /** Whom it names, and on which terms; undefined for a denial. */
  readonly identity: Pick<Issue, 'subject' | 'terms'> | undefined;
  readonly preparedAt: number;
  /** The API server may have taken it: some write of it had an unclear outcome. */
  mayStand: boolean;
  /** The newest write of it was forbidden. */
  isForbidden: boolean;
}

type Issue = Extract<Decision, { kind: 'issue' }>;

/** What recognises an attempt whose bytes are not kept. */
export interface EarlierAttempt {
  readonly answer: Answer;
  readonly chainSha256: string | undefined;
}

/** Makes the answers that are written, and says which may be written again. */
export function createAttempts(needs: { readonly signing: Signing; readonly time: Time }) {
  const { signing } = needs;
  const { monotonic } = needs.time;

  /** The attempt itself, so that nothing is issued twice, as long as it is what would be signed now. */
  function toResend(attempt: Attempt | undefined, decision: Decision): Attempt | undefined {
    if (!attempt?.authority) return attempt;
    if (decision.kind !== 'issue' || !isDeepStrictEqual(attempt.identity, identityOf(decision)))
      return undefined;
    // While the server forbids answers, a newer signature does not help.
    if (isOld(attempt) && !attempt.isForbidden) return undefined;
    const usable = signing.mayUse();
    const isSame =
      usable.ok && Buffer.compare(usable.authority.signing.der, attempt.authority.signing.der) === 0;
    return isSame ? attempt : undefined;
  }

  function isOld({ preparedAt }: Attempt): boolean {
    return monotonic() - preparedAt >= reuseMs;
  }

  /** Signs a certificate or denies, by what was decided. */
  async function make(
    request: OpenRequest,
    decision: Extract<Decision, { kind: 'issue' | 'deny' }>,
  ): Promise<{ ok: true; attempt: Attempt } | CannotSign> {
    const preparedAt = monotonic();
    const at = Math.floor(needs.time.now() / 1000);
    const fresh = { preparedAt, mayStand: false, isForbidden: false };
    if (decision.kind === 'deny') {
      const { reason, detail } = decision;
      const condition = { type: 'Denied', reason, message: explain(reason, detail), at } as const;
      const answer = { reason, detail, certificate: undefined };
      const denial = { answer, authority: undefined, identity: undefined };
      return { ok: true, attempt: { ...fresh, ...prepareAnswer(request, condition), ...denial } };
    }
    const signed = await signing.sign(decision, request);
    if (!signed.ok) return signed;
    const { certificate, authority } = signed;
    const answer = { reason: 'Issued', detail: decision.subject.display, certificate } as const;
    const message = explain('Issued', answer.detail);
    const condition = { type: 'Issued', reason: 'Issued', message, at } as const;
    const prepared = prepareAnswer(request, condition, { ...signed, ...certificate });
    return {
      ok: true,
      attempt: { ...fresh, ...prepared, answer, authority, identity: identityOf(decision) },
    };
  }

  return { toResend, isOld, make };
}

export type Attempts = ReturnType<typeof createAttempts>;

function identityOf({ subject, terms }: Issue): NonNullable<Attempt['identity']> {
  return { subject, terms };
}

export function withoutBytes({ answer, certificateChain }: Attempt): EarlierAttempt {
  return { answer, chainSha256: sha256Of(certificateChain) };
}

/** Which of our answers to a request has this chain; undefined if none. */
export function answerWith(
  ours: { readonly attempt: Attempt | undefined; readonly earlier: readonly EarlierAttempt[] },
  certificateChain: string | undefined,
): Answer | undefined {
  const { attempt, earlier } = ours;
  if (attempt && attempt.certificateChain === certificateChain) return attempt.answer;
  const chainSha256 = sha256Of(certificateChain);
  return earlier.find((each) => each.chainSha256 === chainSha256)?.answer;
}

function sha256Of(chain: string | undefined): string | undefined {
  return chain === undefined ? undefined : hash('sha256', chain, 'base64');
}
