import { allNames } from '../../signer/identity/subject.ts';
import { hidesItsKey } from '../../signer/issuance/consider.ts';
import { type Decision, decideOnPod, decideOnRequest } from '../../signer/issuance/decide.ts';
import {
  type OpenRequest,
  readRequestKey,
  terminalCondition,
  toCertificateRequest,
} from '../../signer/issuance/request.ts';
import { lastIntervalMs } from '../../signer/kube/event-backlog.ts';
import type { CertificatesVersion, PodCertificateRequest } from '../../signer/kube/types.ts';
import { isReason, outcomes } from '../../signer/observe/reasons.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { SignerEvent } from '../cluster/events.ts';
import { keyOf } from '../cluster/pods.ts';
import { issuedChain } from '../cluster/requests.ts';
import type { KnownSigner, World } from '../cluster/world.ts';
import { verdictOf } from './pod.ts';

/** A request of a pod, and what became of it. */
export interface RequestExplanation {
  /** `namespace/name` */
  readonly request: string;
  readonly signer: string;
  readonly pod: string;
  /** RFC 3339 */
  readonly createdAt: string;
  /** `Open` as long as the signer has not answered. */
  readonly state: 'Open' | 'Issued' | 'Denied' | 'Failed';
  /** Why it was answered so; of an open request, why it waits. `Issued` if nothing is known that prevents it. */
  readonly reason: string;
  readonly message: string;
  readonly names: readonly string[];
  /** RFC 3339; null without a certificate. */
  readonly notAfter: string | null;
}

/** What a request is read as. */
export interface ReadRequest {
  readonly wire: PodCertificateRequest;
  readonly version: CertificatesVersion;
}

/** Explains a request; an open one by the decision that the signer makes. Undefined for one of another signer. Pure. */
export function explainRequest({ wire, version }: ReadRequest, world: World): RequestExplanation | undefined {
  const { metadata, spec, status } = wire;
  const signer = world.signers.find(({ profile }) => profile.signerName === spec.signerName);
  if (!signer) return undefined;
  const namespace = metadata.namespace ?? '';
  const about = {
    ...{ request: `${namespace}/${metadata.name}`, signer: spec.signerName },
    ...{ pod: `${namespace}/${spec.podName}`, createdAt: metadata.creationTimestamp ?? '' },
  };
  const condition = terminalCondition(status?.conditions);
  if (condition) {
    const [leaf] = issuedChain(wire);
    return {
      ...about,
      state: condition.type as RequestExplanation['state'],
      reason: condition.reason,
      message: condition.message ?? '',
      names: allNames(leaf),
      notAfter: leaf ? rfc3339(leaf.notAfter) : null,
    };
  }
  const request = toCertificateRequest(wire, version, signer.profile.annotations);
  if (request.answered !== undefined) return undefined;
  const decision = decisionOn(request, world, signer);
  const { reason, message } = verdictOf(decision);
  const names = allNames(decision.kind === 'issue' ? decision.subject : undefined);
  return { ...about, state: 'Open', reason, message, names, notAfter: null };
}

/** The pods were listed after the request was made, so that they need not be read once more. */
function decisionOn(request: OpenRequest, world: World, { identify }: KnownSigner): Decision {
  // For a request of a kubelet before 1.36, only v1beta1 shows the key. The signer reads it there.
  const isHidden = hidesItsKey(request);
  const key = isHidden ? keyOf({ keyType: 'ECDSAP256' }) : readRequestKey(request.key);
  const usable = decideOnRequest(request, key);
  if (usable.kind !== 'supported') return usable;
  const pod = world.pods.store.get(`${request.namespace}/${request.podName}`);
  return decideOnPod(request, usable, pod ? { kind: 'found', pod } : { kind: 'gone' }, identify);
}

/**
 * Explains a request that is open although its identity is clear, by the last Event on the pod: what prevents it is known to
 * a replica alone, such as a pool that cannot sign, and its Event says so. Pure.
 *
 * @param all requests of the pod, of every signer. @param events on the pod.
 */
export function withEvent(
  request: RequestExplanation,
  all: readonly RequestExplanation[],
  events: readonly SignerEvent[],
): RequestExplanation {
  if (request.state !== 'Open' || request.reason !== 'Issued') return request;
  const earliest = Date.parse(request.createdAt) - lastIntervalMs;
  const namespace = request.pod.split('/')[0];
  const isOfOther = (name: string | undefined) =>
    all.some((other) => other.request === `${namespace}/${name}` && other.signer !== request.signer);
  const last = events
    .filter(
      ({ reason, at, request: about }) => isWait(reason) && Date.parse(at) >= earliest && !isOfOther(about),
    )
    .toSorted((one, other) => one.at.localeCompare(other.at))
    .at(-1);
  return last ? { ...request, reason: last.reason, message: last.message } : request;
}

/** What becomes of a pod that had a certificate and gets no name now: nothing, until it asks again. */
export const keeps = (notAfter: string) =>
  `The pod keeps its certificate until ${notAfter}. Its next renewal waits.`;

const isWait = (reason: string) => isReason(reason) && outcomes[reason].verdict === 'wait';
