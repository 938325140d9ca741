import { hash } from 'node:crypto';
import type { Authority } from '../authority/pool.ts';
import { explain, type Reason } from '../observe/reasons.ts';
import type { Decision } from './decide.ts';
import type { CertificateReport } from './report.ts';
import type { OpenRequest } from './request.ts';
import type { Obstacle, Signing } from './signing.ts';
import { type PreparedAnswer, prepareAnswer } from './status.ts';

type Issue = Extract<Decision, { kind: 'issue' }>;
type Deny = Extract<Decision, { kind: 'deny' }>;

/** What the reports say of an answer once it is confirmed. No byte arrays: a small one can keep 8 KiB alive. */
export interface Confirmation {
  readonly request: OpenRequest;
  readonly kind: 'issue' | 'deny';
  readonly reason: Reason;
  readonly detail: string;
  readonly certificate: CertificateReport | undefined;
  /** When this replica first saw the request, in monotonic milliseconds. */
  readonly firstSeen: number;
}

/** An answer that can be sent. */
export interface Answer extends Confirmation {
  readonly prepared: PreparedAnswer;
  /** What signed it; undefined for a denial. */
  readonly authority: Authority | undefined;
  /** Monotonic milliseconds. */
  readonly preparedAt: number;
}

/** What is known of a write: whether the server refused it for certain, for want of a right or otherwise. */
export type Sent = 'unclear' | 'refused' | 'forbidden';

interface EarlierTry {
  readonly confirmation: Confirmation;
  /** SHA-256 of the certificate chain. */
  readonly chainSha256: string | undefined;
}

interface UnderWay {
  readonly last: Answer;
  /** The server may have taken `last`: some write of it had an unclear outcome. */
  mayStand: boolean;
  /** The newest write of `last` was forbidden. */
  isForbidden: boolean;
  /** Tries before the last one that may stand, the oldest first. */
  readonly earlier: readonly EarlierTry[];
}

/**
 * How long the same bytes are sent again, in milliseconds. The API server refuses a notBefore that is 5 min away
 * from its clock; ours lies 2 min back and our clock may be 2 min 30 s slow, which leaves 30 s.
 */
const reuseMs = 25_000;

/** Tries kept of one request besides the last. */
const maxEarlier = 3;

/** Requests whose tries are kept. Beyond it, the one that was not tried for the longest time is forgotten. */
export const maxUnderWay = 10_000;

/**
 * The answers under way. A retry sends the bytes of the last try, so that nothing is issued twice, as long as they
 * might be signed now: an authority that was tainted meanwhile, or a root that nobody sees any more, is not made good
 * by a signature from before.
 *
 * What becomes of the first bytes when others follow: they may have gone through, or still be on their way. The API
 * server takes one terminal status and refuses what differs from it, whichever comes first; the refused write is settled
 * by reading the request live, and `find` tells which of the tries it holds. So every try that may have gone through
 * is kept until then, within the bounds above. If a try beyond the bounds stands after all, its audit line is lost.
 */
export function createAnswers(needs: {
  readonly signing: Signing;
  readonly monotonic: () => number;
  readonly now: () => number;
}) {
  // The request that was not tried for the longest time comes first.
  const underWay = new Map<string, UnderWay>();

  const isOld = (answer: Answer) => needs.monotonic() - answer.preparedAt >= reuseMs;

  function maySendAgain({ last, isForbidden }: UnderWay): boolean {
    const { authority } = last;
    if (authority === undefined) return true;
    // While the server forbids answers, a younger signature helps nobody.
    if (isOld(last) && !isForbidden) return false;
    const usable = needs.signing.mayUse();
    return usable.ok && Buffer.compare(usable.authority.signing.der, authority.signing.der) === 0;
  }

  /** Keeps an answer as the last try of its request. */
  function keep(uid: string, last: Answer, previous: UnderWay | undefined): void {
    const earlier = [...(previous?.earlier ?? [])];
    if (previous?.mayStand) earlier.push(shorten(previous.last));
    underWay.delete(uid);
    underWay.set(uid, { last, mayStand: false, isForbidden: false, earlier: earlier.slice(-maxEarlier) });
    if (underWay.size <= maxUnderWay) return;
    const [longestUntried] = underWay.keys();
    if (longestUntried !== undefined) underWay.delete(longestUntried);
  }

  /** The answer to write for a decision, or why there can be none now. */
  async function prepare(
    request: OpenRequest,
    decision: Issue | Deny,
    firstSeen: number,
  ): Promise<{ ok: true; answer: Answer } | ({ ok: false } & Obstacle)> {
    const previous = underWay.get(request.uid);
    if (previous && maySendAgain(previous)) {
      underWay.delete(request.uid);
      underWay.set(request.uid, previous);
      return { ok: true, answer: previous.last };
    }

    const preparedAt = needs.monotonic();
    const common = { request, kind: decision.kind, firstSeen, preparedAt };
    const at = Math.floor(needs.now() / 1000);
    let answer: Answer;
    if (decision.kind === 'deny') {
      const { reason, detail } = decision;
      const prepared = prepareAnswer(request, {
        type: 'Denied',
        reason,
        message: explain(reason, detail),
        at,
      });
      answer = { ...common, reason, detail, prepared, certificate: undefined, authority: undefined };
    } else {
      const signed = await needs.signing.sign(decision, request);
      if (!signed.ok) return signed;
      const { leaf, authority } = signed;
      const detail = decision.subject.display;
      const message = explain('Issued', detail);
      const prepared = prepareAnswer(request, { type: 'Issued', reason: 'Issued', message, at }, leaf);
      const certificate = {
        subject: decision.subject,
        serialHex: leaf.serialHex,
        authority: authority.id,
        publicKeySha256: hash('sha256', decision.key.spki, 'hex'),
        notBefore: leaf.notBefore,
        notAfter: leaf.notAfter,
      };
      answer = { ...common, reason: 'Issued', detail, prepared, certificate, authority };
    }
    keep(request.uid, answer, previous);
    return { ok: true, answer };
  }

  /** Notes what is known of a write of an answer. */
  function sent(answer: Answer, outcome: Sent): void {
    const entry = underWay.get(answer.request.uid);
    if (entry?.last !== answer) return;
    if (outcome === 'unclear') entry.mayStand = true;
    entry.isForbidden = outcome === 'forbidden';
  }

  /** Which of our tries an answered request carries; undefined when another replica answered. */
  function find(uid: string, certificateChain: string | undefined): Confirmation | undefined {
    const entry = underWay.get(uid);
    if (entry?.last.prepared.certificateChain === certificateChain) return entry?.last;
    const chainSha256 = sha256Of(certificateChain);
    return entry?.earlier.find((each) => each.chainSha256 === chainSha256)?.confirmation;
  }

  return {
    prepare,
    sent,
    /** Whether an answer is so old that the server may refuse it for that. It is then signed anew. */
    isOld,
    find,
    has: (uid: string) => underWay.has(uid),
    /** The newest try. */
    last: (uid: string) => underWay.get(uid)?.last,
    forget: (uid: string) => void underWay.delete(uid),
  };
}

export type Answers = ReturnType<typeof createAnswers>;

function shorten({ request, kind, reason, detail, certificate, firstSeen, prepared }: Answer): EarlierTry {
  return {
    confirmation: { request, kind, reason, detail, certificate, firstSeen },
    chainSha256: sha256Of(prepared.certificateChain),
  };
}

function sha256Of(chain: string | undefined): string | undefined {
  return chain === undefined ? undefined : hash('sha256', chain, 'base64');
}
