import { rfc3339, type Seconds } from '../../../spiffe/pki/time.ts';
import { answerRequest } from '../answer.ts';
import type { PoolDocument } from '../document.ts';
import type { Refusal } from '../transitions.ts';
import type { Change } from '../verbs.ts';
import type { Upstream } from './upstream.ts';

/**
 * The next step towards a CA that another CA signs: the request, and once that is in the pool, the answer. A step may fail
 * at any point and be taken again. The answer has to end in a root that the pool has.
 *
 * @throws what the preparation of an authority throws.
 */
export async function takeUpstreamStep(
  upstream: Upstream,
  document: PoolDocument,
  { now, lifetimeSeconds }: { readonly now: Seconds; readonly lifetimeSeconds: number },
  signal: AbortSignal,
): Promise<Change | Refusal> {
  const waiting = document.authorities.find(({ request }) => request !== undefined);
  if (waiting?.request === undefined) {
    // Loaded only where it is used: what makes requests is large.
    const { prepareAuthority } = await import('../prepare.ts');
    return prepareAuthority(document, { kind: 'X509', now, asRequest: true, pathLength: 0 });
  }
  const { id, request, createdAt = rfc3339(now) } = waiting;
  const answer = await upstream.sign(
    { id, request, trustDomain: document.trustDomain, lifetimeSeconds },
    signal,
  );
  if (answer.kind === 'signed') {
    const { certificates } = answer;
    return answerRequest(
      document,
      id,
      { certificates, notAfter: now + lifetimeSeconds, furtherRoots: [] },
      now,
    );
  }
  const what = `authority ${id} has waited for its certificate since ${createdAt}: ${upstream.name}: ${answer.what}`;
  return { ok: false, what, remedy: answer.kind === 'refused' ? answer.remedy : 'wait for that CA' };
}
