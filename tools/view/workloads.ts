import { allNames } from '../../signer/identity/subject.ts';
import { explain } from '../../signer/observe/reasons.ts';
import { readableCertificates } from '../../spiffe/pki/certificate.ts';
import { allIdentities, type PodIdentity } from '../cluster/identities.ts';
import { issuedChain } from '../cluster/requests.ts';
import {
  explainRequest,
  keeps,
  type ReadRequest,
  type RequestExplanation,
  withEvent,
} from '../explain/requests.ts';
import { certificateOf, type HeldCertificate } from '../who/report.ts';
import type { ClusterRead } from './read.ts';
import type { WorkloadState } from './workload-states.ts';

/** One pod and one signer. Times are RFC 3339. */
export interface Workload {
  /** `namespace/name` */
  readonly pod: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly signer: string;
  /** The volume that asks; null for a pod that can only ask the token endpoint. */
  readonly volume: string | null;
  readonly names: readonly string[];
  /** The registration that gives the name; null for the default identity. */
  readonly registration: string | null;
  readonly state: WorkloadState;
  /** A code of docs/reference/outcomes.md, where the state is waiting, denied or unnamed. */
  readonly reason: string | null;
  readonly message: string | null;
  /** When the request was made that the state is about; null for a pod that lost its name, which has no date. */
  readonly requestedAt: string | null;
  readonly certificate: HeldCertificate | null;
}

interface Asked extends ReadRequest {
  readonly explained: RequestExplanation;
}

/** Every pod with an identity of ours, or that asks for one, in the order of their names. Pure. */
export function workloadsOf({ world, requests, events, bundles }: ClusterRead): Workload[] {
  const all = requests.flatMap((request): Asked | [] => {
    const explained = explainRequest(request, world);
    return explained ? { ...request, explained } : [];
  });
  const ofPod = Map.groupBy(all, ({ wire: { spec } }) => spec.podUID);
  const roots = bundles.flatMap(({ spec }) => readableCertificates(spec.trustBundle));
  const eventsOf = Map.groupBy(events, ({ uid }) => uid);
  const hasTokens = world.settings.config.endpoints?.token !== undefined;

  return allIdentities(world).flatMap((each): Workload | [] => {
    const { pod, facts, signer, source, identity } = each;
    if (!source && !(identity.ok && hasTokens)) return [];
    const { signerName } = signer.profile;
    const names = allNames(identity.ok ? identity.subject : undefined);
    const asked = ofPod.get(facts.uid) ?? [];
    const ofSigner = asked.filter(({ wire }) => wire.spec.signerName === signerName);
    const request = source && newestFor(ofSigner, names);
    const others = asked.map(({ explained }) => explained);
    const chain = request ? issuedChain(request.wire) : [];
    const own = eventsOf.get(facts.uid) ?? [];
    const state = stateOf(each, request && withEvent(request.explained, others, own));
    return {
      ...{ pod, node: facts.nodeName, serviceAccount: facts.serviceAccountName, signer: signerName },
      ...{ volume: source?.volume ?? null, names },
      registration: (identity.ok && identity.terms?.registration) || null,
      ...state,
      requestedAt: (state.state !== 'unnamed' && request?.explained.createdAt) || null,
      certificate: request ? certificateOf({ request: request.wire, chain }, roots) : null,
    };
  });
}

/** Two volumes of a pod may have two names: requests for another name count only where there are no others. */
function newestFor(requests: readonly Asked[], names: readonly string[]): Asked | undefined {
  const fitting = requests.filter(
    ({ explained }) => explained.names.length === 0 || names.some((name) => explained.names.includes(name)),
  );
  return newestOf(fitting) ?? newestOf(requests);
}

/** If requests are of the same second, the open one counts: something waits for it. */
function newestOf(requests: readonly Asked[]): Asked | undefined {
  const isOpen = ({ explained }: Asked) => Number(explained.state === 'Open');
  const inOrder = (one: Asked, other: Asked) =>
    one.explained.createdAt.localeCompare(other.explained.createdAt) || isOpen(one) - isOpen(other);
  return requests.toSorted(inOrder).at(-1);
}

type State = Pick<Workload, 'state' | 'reason' | 'message'>;

function stateOf({ identity, source }: PodIdentity, request: RequestExplanation | undefined): State {
  if (request?.state === 'Open') {
    const { reason, message } = request.reason === 'Issued' ? notYet : request;
    return { state: 'waiting', reason, message };
  }
  if (request && request.state !== 'Issued') {
    return { state: 'denied', reason: request.reason, message: request.message };
  }
  if (!identity.ok) {
    const { reason, detail } = identity;
    const kept = request?.notAfter ? ` ${keeps(request.notAfter)}` : '';
    return { state: 'unnamed', reason, message: `${explain(reason, detail)}${kept}` };
  }
  const state = request ? 'issued' : source ? 'named' : 'tokens';
  return { state, reason: null, message: null };
}

const notYet = {
  reason: null,
  message: 'the signer has not answered yet; nothing is known that prevents it',
};

/** Whether all words of a search are in the names, the pod, the node, the ServiceAccount, the registration, the authority. */
export function isFound(workload: Workload, words: readonly string[]): boolean {
  const { pod, node, serviceAccount, signer, registration, certificate, names, reason } = workload;
  const { keyId, root } = certificate?.authority ?? {};
  const about = [pod, node, serviceAccount, signer, registration, reason, ...names];
  const text = [...about, keyId, root, certificate?.serial].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}
