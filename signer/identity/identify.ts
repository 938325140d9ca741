import { messageOf } from '../../spiffe/errors.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import type { PodFacts, PodLookup, PodReference } from '../kube/pods.ts';
import { type Cannot, cannot } from '../observe/reasons.ts';
import type { ServiceNamesReason } from './service-names.ts';
import { type Subject, spiffeSubject } from './subject.ts';

/** Who a pod is, or why it has no identity. */
export type Identity =
  | { readonly ok: true; readonly subject: Subject; readonly terms?: Terms }
  | Cannot<IdentityReason>;

type IdentityReason =
  | 'IdentityInvalid'
  | 'IdentityNotKnown'
  | 'NotRegistered'
  | 'PodNotVisible'
  | 'RegistrationAmbiguous'
  | 'RegistrationNotMatching'
  | ServiceNamesReason;

/** What limits the certificates and tokens of an identity, from its registration. */
export interface Terms {
  /** The registration, as `namespace/name`, or `name` of a ClusterWorkloadRegistration. */
  readonly registration: string;
  readonly maxLifetimeSeconds?: number;
  readonly maxTokenLifetimeSeconds?: number;
  /** The only audiences of its tokens; a trailing `*` matches every end. */
  readonly audiences?: readonly string[];
  readonly hint?: string;
  /** The other trust domains whose bundles the workload gets. Undefined: the setting federateByDefault decides. */
  readonly federatesWith?: readonly string[];
}

/** What answers and audit lines say of the registration that gave a name; nothing for the default identity. */
export function shownTerms({
  registration,
  hint,
}: Partial<Terms> = {}): Pick<Partial<Terms>, 'registration' | 'hint'> {
  return { ...(registration !== undefined && { registration }), ...(hint !== undefined && { hint }) };
}

/** What a request says about itself, such as the registration it wants: only keys that the profile knows. */
export type Annotations = Readonly<Record<string, string>>;

/**
 * Names a pod that was verified. Each signer has one; certificates and tokens of the signer both use it.
 *
 * @param facts what is known of the live pod. @param annotations may only choose among what the pod may have anyway.
 */
export type Identify = (pod: PodReference, facts: PodFacts, annotations: Annotations) => Identity;

export const noAnnotations: Annotations = {};

/** The default identity: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. Pure. */
export function identify(
  pod: Pick<PodReference, 'namespace' | 'serviceAccountName'>,
  policy: { readonly trustDomain: string },
): Identity {
  const id = makeSpiffeId(policy.trustDomain, ['ns', pod.namespace, 'sa', pod.serviceAccountName]);
  return id.ok ? { ok: true, subject: spiffeSubject(id.value) } : cannot('IdentityInvalid', id.reason);
}

/** The live pod that a request or credential names, or why it is not verified. */
export type Verified =
  | { readonly ok: true; readonly pod: PodFacts }
  | Cannot<'PodGone' | 'PodNotVisible' | 'PodReplaced' | 'ServiceAccountMismatch'>;

/** Checks the pod that a request or credential names against the live one. Pure. */
export function verifyPod(named: PodReference, lookup: PodLookup): Verified {
  const name = `${named.namespace}/${named.podName}`;
  if (lookup.kind === 'gone') return cannot('PodGone', name);
  if (lookup.kind === 'unavailable') return cannot('PodNotVisible', messageOf(lookup.error));
  const { pod } = lookup;
  if (pod.uid !== named.podUID) {
    return cannot('PodReplaced', `${name} has UID ${pod.uid}, not ${named.podUID}`);
  }
  if (pod.serviceAccountName !== named.serviceAccountName) {
    const detail = `${name} has ${pod.serviceAccountName}, not ${named.serviceAccountName}`;
    return cannot('ServiceAccountMismatch', detail);
  }
  return { ok: true, pod };
}
