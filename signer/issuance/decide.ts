import type { SubjectKey, SupportedKey } from '../../spiffe/pki/spki.ts';
import { type Identify, type Terms, verifyPod } from '../identity/identify.ts';
import type { Subject } from '../identity/subject.ts';
import type { PodLookup } from '../kube/pods.ts';
import type { DenyReason, DropReason, WaitReason } from '../observe/reasons.ts';
import type { OpenRequest } from './request.ts';

/** What is done about a request. `detail` fills the sentence of the reason in observe/reasons.ts. */
export type Decision =
  | {
      readonly kind: 'issue';
      readonly subject: Subject;
      readonly terms?: Terms | undefined;
      readonly key: SupportedKey;
    }
  | { readonly kind: 'deny'; readonly reason: DenyReason; readonly detail: string }
  | { readonly kind: 'wait'; readonly reason: WaitReason; readonly detail: string }
  | { readonly kind: 'drop'; readonly reason: DropReason; readonly detail: string };

export const wait = (reason: WaitReason, detail: string): Decision => ({ kind: 'wait', reason, detail });
const deny = (reason: DenyReason, detail: string): Decision => ({ kind: 'deny', reason, detail });
const drop = (reason: DropReason, detail: string): Decision => ({ kind: 'drop', reason, detail });

/**
 * What the request says about itself. Deny is for ever, so it comes from here alone: no later event in the cluster
 * could make such a request right, and no cached fact has a part in it. Pure.
 *
 * @returns a decision, or the public key if the request may go on.
 */
export function decideOnRequest(request: OpenRequest, key: SubjectKey): Decision | SupportedKey {
  if (key.kind === 'unreadable') return wait('RequestUnreadable', key.reason);
  if (key.kind === 'unsupported') return deny('UnsupportedKeyType', key.algorithm);
  const { annotationProblem } = request;
  if (annotationProblem !== undefined) return deny('InvalidUnverifiedUserAnnotations', annotationProblem);
  return key;
}

/**
 * Whether the live pod is the one that the request names, and who it is. A terminating pod is served: its containers
 * still talk. A finished one waits, because it would not read the certificate. Pure.
 */
export function decideOnPod(
  request: OpenRequest,
  key: SupportedKey,
  lookup: PodLookup,
  identify: Identify,
): Decision {
  const verified = verifyPod(request, lookup);
  if (!verified.ok) {
    const { reason, detail } = verified;
    return reason === 'PodGone' || reason === 'PodReplaced' ? drop(reason, detail) : wait(reason, detail);
  }
  const { pod } = verified;
  if (pod.nodeName !== request.nodeName) {
    return wait('NodeMismatch', `request ${request.nodeName}, pod ${pod.nodeName || 'not scheduled'}`);
  }
  if (pod.finished) return wait('PodFinished', pod.finished);
  const identity = identify(request, pod, request.annotations);
  if (!identity.ok) return wait(identity.reason, identity.detail);
  return { kind: 'issue', subject: identity.subject, terms: identity.terms, key };
}
