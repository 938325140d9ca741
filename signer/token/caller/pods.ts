import { type Identify, noAnnotations, type Terms, verifyPod } from '../../identity/identify.ts';
import { registrationAnnotation } from '../../identity/identify-registered.ts';
import { type Subject, spiffeIdIn } from '../../identity/subject.ts';
import {
  lookUpPod,
  type PodFacts,
  type PodLookup,
  type PodReader,
  type PodReference,
} from '../../kube/pods.ts';
import type { Store } from '../../kube/store.ts';
import type { Transport } from '../../kube/transport.ts';
import { type Checked, isRefusal, pass, type Refused, refuse } from '../../observe/checked.ts';
import type { Caller } from './caller.ts';
import type { Recent } from './recent.ts';

/** The server sends a bookmark about once a minute: after more silence than this a watch may be dead. */
const heardWithinMs = 90_000;

/**
 * Whether the cache of the pods may be believed: it is complete, and something was heard of it lately.
 *
 * @param monotonic milliseconds, of the clock that the store has.
 */
export function isHeardFrom(pods: Store<PodFacts>, monotonic: number): boolean {
  return pods.isSynced() && monotonic - pods.lastContact() < heardWithinMs;
}

/**
 * The pod of a caller, from the cache if its watch is alive. For a token, a recent review has confirmed that the pod
 * exists. A certificate has no review, so its pod is read from the API server, unless that was done a moment ago:
 * a watch that hangs unnoticed must not serve a pod that is gone.
 */
export async function lookUpCaller(
  caller: Caller,
  needs: {
    readonly pods: Store<PodFacts>;
    readonly hearsOfPods: () => boolean;
    /** UIDs of pods that the API server has shown live a moment ago. */
    readonly seenLive: Recent<true>;
    readonly transport: Pick<Transport, 'request'>;
    readonly reader?: PodReader;
  },
): Promise<PodLookup> {
  const isConfirmed = caller.provedBy === 'token' || needs.seenLive.get(caller.pod.uid) === true;
  const cache = isConfirmed && needs.hearsOfPods() ? needs.pods : undefined;
  const lookup = await lookUpPod(podOf(caller), { ...needs, cache }, { timeoutMs: 5_000 });
  if (lookup.kind === 'found' && !cache) needs.seenLive.set(lookup.pod.uid, true);
  return lookup;
}

const podOf = ({ namespace, pod, serviceAccount }: Caller): PodReference => ({
  namespace,
  podName: pod.name,
  podUID: pod.uid,
  serviceAccountName: serviceAccount.name,
});

/** The subject of a caller, and the SPIFFE ID in it, without which there is no SVID. */
export interface CallerIdentity {
  readonly subject: Subject;
  readonly spiffeId: string;
  readonly terms?: Terms;
}

/**
 * Whether the pod of a caller may have an identity now, and which. Decided for every request, by the functions that
 * decide for PodCertificateRequests. Pure.
 *
 * @param now seconds since the epoch. @param registration that a request asks for.
 */
export function identifyCaller(
  caller: Caller,
  lookup: PodLookup,
  identify: Identify,
  now: number,
  registration?: string,
): Checked<CallerIdentity> {
  const named = podOf(caller);
  const verified = verifyPod(named, lookup);
  if (!verified.ok) {
    return refuseAs(verified);
  }
  const { finished, deletesAt } = verified.pod;
  if (finished !== undefined) return refuse('PodFinished', finished);
  if (deletesAt !== undefined && now > deletesAt) {
    return refuse('PodDeleted', `${named.namespace}/${named.podName}`);
  }
  const annotations = registration === undefined ? noAnnotations : { [registrationAnnotation]: registration };
  const identity = identify(named, verified.pod, annotations);
  if (!identity.ok) return refuseAs(identity);
  const { subject, terms } = identity;
  const spiffeId = spiffeIdIn(subject);
  if (spiffeId === undefined) return refuse('IdentityInvalid', `${subject.display} has no SPIFFE ID`);
  if (caller.spiffeId !== undefined && caller.spiffeId !== spiffeId) {
    return refuse('CertificateNotOfPod', spiffeId);
  }
  return pass({ subject, spiffeId, ...(terms && { terms }) });
}

/** A pod that is not visible yet is asked for again; what this signer's identities never lack has no code of its own. */
function refuseAs({ reason, detail }: { readonly reason: string; readonly detail: string }): Refused {
  if (reason === 'PodNotVisible') return refuse('PodUnavailable', detail);
  if (reason === 'IdentityNotKnown') return refuse('NotReady', detail);
  return refuse(isRefusal(reason) ? reason : 'IdentityInvalid', detail);
}
