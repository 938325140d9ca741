import { messageOf } from '../../spiffe/errors.ts';
import type { SubjectKey, SupportedKey } from '../../spiffe/pki/spki.ts';
import { spiffeIdOf } from '../identity/spiffe.ts';
import { type Subject, spiffeSubject } from '../identity/subject.ts';
import type { PodLookup } from '../kube/pods.ts';
import type { DenyReason, DropReason, WaitReason } from '../observe/reasons.ts';
import type { OpenRequest } from './request.ts';

/** What is done about a request. `detail` fills the sentence of the reason in observe/reasons.ts. */
export type Decision =
  | { readonly kind: 'issue'; readonly subject: Subject; readonly key: SupportedKey }
  | { readonly kind: 'deny'; readonly reason: DenyReason; readonly detail: string }
  | { readonly kind: 'wait'; readonly reason: WaitReason; readonly detail: string }
  | { readonly kind: 'drop'; readonly reason: DropReason; readonly detail: string };

export const wait = (reason: WaitReason, detail: string): Decision => ({ kind: 'wait', reason, detail });
const deny = (reason: DenyReason, detail: string): Decision => ({ kind: 'deny', reason, detail });
const drop = (reason: DropReason, detail: string): Decision => ({ kind: 'drop', reason, detail });

/**
 * What the request says of itself. Deny is for ever, so it comes from here alone: no later event in the cluster
 * could make such a request right, and no cached fact has a part in it. Pure.
 *
 * @returns a decision, or the public key if the request may go on.
 */
export function decideOnRequest(request: OpenRequest, key: SubjectKey): Decision | SupportedKey {
  if (key.kind === 'unreadable') return wait('RequestUnreadable', key.reason);
  if (key.kind === 'unsupported') return deny('UnsupportedKeyType', key.algorithm);
  if (request.annotationKey !== undefined) {
    return deny('InvalidUnverifiedUserAnnotations', JSON.stringify(request.annotationKey));
  }
  return key;
}

/**
 * Whether the live pod is the one that the request speaks of, and who it is. A terminating pod is served: its
 * containers still talk. A finished one waits: nobody would read the certificate. Pure.
 */
export function decideOnPod(
  request: OpenRequest,
  key: SupportedKey,
  lookup: PodLookup,
  policy: { readonly trustDomain: string },
): Decision {
  const name = `${request.namespace}/${request.podName}`;
  if (lookup.kind === 'gone') return drop('PodGone', name);
  if (lookup.kind === 'unavailable') return wait('PodNotVisible', messageOf(lookup.error));
  const { pod } = lookup;
  if (pod.uid !== request.podUID) {
    return drop('PodReplaced', `${name} has UID ${pod.uid}, the request names ${request.podUID}`);
  }
  if (pod.serviceAccountName !== request.serviceAccountName) {
    return wait(
      'ServiceAccountMismatch',
      `request ${request.serviceAccountName}, pod ${pod.serviceAccountName}`,
    );
  }
  if (pod.nodeName !== request.nodeName) {
    return wait('NodeMismatch', `request ${request.nodeName}, pod ${pod.nodeName || 'not scheduled'}`);
  }
  if (pod.finished) return wait('PodFinished', pod.finished);
  const spiffeId = spiffeIdOf(policy.trustDomain, request);
  if (!spiffeId.ok) return wait('IdentityInvalid', spiffeId.reason);
  return { kind: 'issue', subject: spiffeSubject(spiffeId.value), key };
}
