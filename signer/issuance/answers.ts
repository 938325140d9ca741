import type { Authority } from '../authority/pool.ts';
import { explain } from '../observe/reasons.ts';
import type { Decision } from './decide.ts';
import type { CertificateReport } from './report.ts';
import type { OpenRequest } from './request.ts';
import type { Obstacle, Signing } from './signing.ts';
import { type PreparedAnswer, prepareAnswer } from './status.ts';

type Issue = Extract<Decision, { kind: 'issue' }>;
type Deny = Extract<Decision, { kind: 'deny' }>;

/** An answer that is on its way, with what the reports say once it is confirmed. Times: monotonic milliseconds. */
export interface Answer {
  readonly request: OpenRequest;
  readonly prepared: PreparedAnswer;
  readonly decision: Issue | Deny;
  readonly certificate: CertificateReport | undefined;
  /** What signed it; undefined for a denial. */
  readonly authority: Authority | undefined;
  /** When this replica first saw the request. */
  readonly firstSeen: number;
  readonly preparedAt: number;
}

/**
 * How long the same bytes are sent again, in milliseconds. The API server refuses a notBefore that is 5 min away
 * from its clock; ours lies 2 min back and our clock may be 2 min 30 s slow, which leaves 30 s.
 */
const reuseMs = 25_000;

/**
 * The answers under way. A retry sends the bytes of the first try, so that nothing is issued twice, as long as they
 * might be signed now: an authority that was tainted meanwhile, or a root that nobody sees any more, is not made good
 * by a signature from before.
 *
 * What becomes of the first bytes when others follow: they may have gone through, or still be on their way. The API
 * server takes one terminal status and refuses what differs from it, whichever comes first; the refused write is settled
 * by reading the request live, and `find` tells which of the tries it holds. So all tries are kept until then.
 */
export function createAnswers(needs: {
  readonly signing: Signing;
  readonly monotonic: () => number;
  readonly now: () => number;
}) {
  const underWay = new Map<string, Answer[]>();

  function maySendAgain({ preparedAt, authority }: Answer): boolean {
    if (needs.monotonic() - preparedAt >= reuseMs) return false;
    if (authority === undefined) return true;
    const usable = needs.signing.mayUse();
    return usable.ok && Buffer.compare(usable.authority.signing.der, authority.signing.der) === 0;
  }

  /** The answer to write for a decision, or why there can be none now. */
  async function prepare(
    request: OpenRequest,
    decision: Issue | Deny,
    firstSeen: number,
  ): Promise<{ ok: true; answer: Answer } | ({ ok: false } & Obstacle)> {
    const earlier = underWay.get(request.uid) ?? [];
    const last = earlier.at(-1);
    if (last && maySendAgain(last)) return { ok: true, answer: last };

    const preparedAt = needs.monotonic();
    const common = { request, decision, firstSeen, preparedAt };
    const at = Math.floor(needs.now() / 1000);
    let answer: Answer;
    if (decision.kind === 'deny') {
      const message = explain(decision.reason, decision.detail);
      const prepared = prepareAnswer(request, { type: 'Denied', reason: decision.reason, message, at });
      answer = { ...common, prepared, certificate: undefined, authority: undefined };
    } else {
      const signed = await needs.signing.sign(decision, request);
      if (!signed.ok) return signed;
      const { leaf, authority } = signed;
      const message = explain('Issued', decision.spiffeId.uri);
      const prepared = prepareAnswer(request, { type: 'Issued', reason: 'Issued', message, at }, leaf);
      const certificate = {
        spiffeId: decision.spiffeId.uri,
        serialHex: leaf.serialHex,
        authority: authority.id,
        spki: decision.key.spki,
        notBefore: leaf.notBefore,
        notAfter: leaf.notAfter,
      };
      answer = { ...common, prepared, certificate, authority };
    }
    underWay.set(request.uid, [...earlier, answer]);
    return { ok: true, answer };
  }

  /** Which of our tries an answered request carries; undefined when another replica answered. */
  function find(uid: string, certificateChain: string | undefined): Answer | undefined {
    return underWay.get(uid)?.find((answer) => answer.prepared.certificateChain === certificateChain);
  }

  return {
    prepare,
    find,
    has: (uid: string) => underWay.has(uid),
    /** The newest try. */
    last: (uid: string) => underWay.get(uid)?.at(-1),
    forget: (uid: string) => void underWay.delete(uid),
  };
}

export type Answers = ReturnType<typeof createAnswers>;
