import { rfc3339, type Seconds } from '../../../spiffe/pki/time.ts';
import { answerRequest } from '../answer.ts';
import { type Change, type Refusal, refusal } from '../change.ts';
import type { PoolDocument } from '../document.ts';
import { prepareAuthority } from '../prepare.ts';
import { marginSeconds } from '../rotation-policy.ts';
import { endOf } from '../transitions.ts';
import type { Upstream } from './upstream.ts';

/**
 * The next step towards a CA that another CA signs: the request, and once that is in the pool, the answer. A step may fail
 * at any point and be taken again. A request that a person made, for an offline root perhaps, is left alone. The answer must
 * end in a root that the pool has, and must last for certificates of the maximum lifetime: otherwise the rotation would ask
 * for another one at once.
 *
 * @param facts.certificateSeconds the maximum lifetime of the certificates that the CA is to sign.
 * @throws what the preparation of an authority throws.
 */
export async function takeUpstreamStep(
  upstream: Upstream,
  document: PoolDocument,
  facts: {
    readonly now: Seconds;
    readonly lifetimeSeconds: number;
    readonly certificateSeconds: number;
  },
  signal: AbortSignal,
): Promise<Change | Refusal> {
  const { now, lifetimeSeconds, certificateSeconds } = facts;
  const waiting = document.authorities.find(({ requestedBy }) => requestedBy === 'rotation');
  if (waiting?.request === undefined) {
    const requested = { asRequest: true, requestedBy: 'rotation' } as const;
    return prepareAuthority(document, { kind: 'X509', now, pathLength: 0, ...requested });
  }
  const { id, request, createdAt = rfc3339(now) } = waiting;
  const answer = await upstream.sign(
    { id, request, trustDomain: document.trustDomain, lifetimeSeconds },
    signal,
  );
  if (answer.kind === 'signed') {
    const { certificates } = answer;
    const taken = { certificates, notAfter: now + lifetimeSeconds, furtherRoots: [] };
    const change = answerRequest(document, id, taken, now);
    const answered = change.ok && change.document.authorities.find((each) => each.id === id);
    const end = answered && endOf(answered, document.trustDomain);
    if (!end || end > now + certificateSeconds + marginSeconds) return change;
    return refusal(
      `${upstream.name} gave authority ${id} a certificate that ends, with its chain, at ${rfc3339(end)}`,
      `have it give CAs that last for ${certificateSeconds + marginSeconds} s and more, and withdraw the request with ` +
        `\`kubespiffe ca remove ${id}\``,
    );
  }
  const what = `authority ${id} has waited for its certificate since ${createdAt}: ${upstream.name}: ${answer.what}`;
  return refusal(what, answer.kind === 'refused' ? answer.remedy : 'wait for that CA');
}
