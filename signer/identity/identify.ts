import { messageOf } from '../../spiffe/errors.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import type { PodFacts, PodLookup, PodReference } from '../kube/pods.ts';
import { type Subject, spiffeSubject } from './subject.ts';

/** Who a pod is, or why it has no identity. `detail` completes the sentence of the reason. */
export type Identity =
  | { readonly ok: true; readonly subject: Subject }
  | { readonly ok: false; readonly reason: 'IdentityInvalid'; readonly detail: string };

/** Names a pod that was verified. Each signer has one; certificates and tokens of the signer both use it. */
export type Identify = (pod: PodReference) => Identity;

/** The default identity: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. Pure. */
export function identify(
  pod: Pick<PodReference, 'namespace' | 'serviceAccountName'>,
  policy: { readonly trustDomain: string },
): Identity {
  const id = makeSpiffeId(policy.trustDomain, ['ns', pod.namespace, 'sa', pod.serviceAccountName]);
  return id.ok
    ? { ok: true, subject: spiffeSubject(id.value) }
    : { ok: false, reason: 'IdentityInvalid', detail: id.reason };
}

/** The live pod that a request or credential names, or why it is not verified. */
export type Verified =
  | { readonly ok: true; readonly pod: PodFacts }
  | {
      readonly ok: false;
      readonly reason: 'PodGone' | 'PodNotVisible' | 'PodReplaced' | 'ServiceAccountMismatch';
      readonly detail: string;
    };

/** Checks the pod that a request or credential names against the live one. Pure. */
export function verifyPod(named: PodReference, lookup: PodLookup): Verified {
  const name = `${named.namespace}/${named.podName}`;
  if (lookup.kind === 'gone') return { ok: false, reason: 'PodGone', detail: name };
  if (lookup.kind === 'unavailable') {
    return { ok: false, reason: 'PodNotVisible', detail: messageOf(lookup.error) };
  }
  const { pod } = lookup;
  if (pod.uid !== named.podUID) {
    return { ok: false, reason: 'PodReplaced', detail: `${name} has UID ${pod.uid}, not ${named.podUID}` };
  }
  if (pod.serviceAccountName !== named.serviceAccountName) {
    const detail = `${name} has ${pod.serviceAccountName}, not ${named.serviceAccountName}`;
    return { ok: false, reason: 'ServiceAccountMismatch', detail };
  }
  return { ok: true, pod };
}
