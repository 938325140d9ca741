import { messageOf } from '../../../spiffe/errors.ts';
import type { SpiffeId } from '../../../spiffe/id.ts';
import { spiffeIdOf } from '../../identity/spiffe.ts';
import { type PodFacts, type PodLookup, readPod } from '../../kube/pods.ts';
import type { Store } from '../../kube/store.ts';
import type { Transport } from '../../kube/transport.ts';
import { type Checked, refuse } from '../../observe/refusals.ts';
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
 * The pod of a caller. The cache answers when it was heard from lately and agrees with the credential; a miss or any
 * mismatch is looked up live. Of a token the API server itself has said lately that its pod lives. Of a certificate it
 * was never asked, so the pod of one is looked up live too, unless it was so a moment ago: a watch that hangs unnoticed
 * is no reason to serve a pod that is gone.
 */
export async function lookUpPod(
  caller: Caller,
  needs: {
    readonly pods: Store<PodFacts>;
    readonly hearsOfPods: () => boolean;
    /** UIDs of pods that the API server has shown live a moment ago. */
    readonly seenLive: Recent<true>;
    readonly transport: Transport;
  },
): Promise<PodLookup> {
  const isConfirmed = caller.provedBy === 'token' || needs.seenLive.get(caller.pod.uid) === true;
  const cached =
    isConfirmed && needs.hearsOfPods() ? needs.pods.get(`${caller.namespace}/${caller.pod.name}`) : undefined;
  if (cached?.uid === caller.pod.uid && cached.serviceAccountName === caller.serviceAccount.name) {
    return { kind: 'found', pod: cached };
  }
  const { namespace, pod } = caller;
  const lookup = await readPod(needs.transport, { namespace, name: pod.name }, { timeoutMs: 5_000 });
  if (lookup.kind === 'found') needs.seenLive.set(lookup.pod.uid, true);
  return lookup;
}

/**
 * Whether the pod of a caller may have an identity now, and which: made anew for every request, with the same function
 * that names certificates. Pure.
 *
 * @param now seconds since the epoch.
 */
export function decideOnPod(
  caller: Caller,
  lookup: PodLookup,
  policy: { readonly trustDomain: string },
  now: number,
): Checked<SpiffeId> {
  const name = `${caller.namespace}/${caller.pod.name}`;
  if (lookup.kind === 'gone') return refuse('PodGone', name);
  if (lookup.kind === 'unavailable') return refuse('PodUnavailable', messageOf(lookup.error));
  const { pod } = lookup;
  if (pod.uid !== caller.pod.uid) return refuse('PodReplaced', name);
  if (pod.serviceAccountName !== caller.serviceAccount.name) return refuse('ServiceAccountMismatch', name);
  if (pod.finished !== undefined) return refuse('PodFinished', pod.finished);
  if (pod.deletesAt !== undefined && now > pod.deletesAt) return refuse('PodDeleted', name);
  const spiffeId = spiffeIdOf(policy.trustDomain, {
    namespace: caller.namespace,
    serviceAccountName: caller.serviceAccount.name,
  });
  if (!spiffeId.ok) return refuse('IdentityInvalid', spiffeId.reason);
  if (caller.spiffeId !== undefined && caller.spiffeId !== spiffeId.value.uri) {
    return refuse('CertificateNotOfPod', spiffeId.value.uri);
  }
  return spiffeId;
}
