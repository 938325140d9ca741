import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { readSubjectKey, type SubjectKey } from '../../spiffe/pki/spki.ts';
import { type Annotations, noAnnotations } from '../identity/identify.ts';
import type { Flow } from '../kube/fair-lane.ts';
import type { InformerSpec } from '../kube/informer.ts';
import { podCertificateRequests } from '../kube/resources.ts';
import {
  type CertificatesVersion,
  type Condition,
  metadataFields,
  type ObjectMeta,
  type PodCertificateRequest,
} from '../kube/types.ts';

/** The conditions that end a PodCertificateRequest for ever. */
const terminalConditions = ['Issued', 'Denied', 'Failed'] as const;
export type TerminalCondition = (typeof terminalConditions)[number];

/**
 * A PodCertificateRequest as we keep it: one form for both served versions, cut down to what deciding needs.
 * Only what identifies the replica is kept of an answered request, because thousands of them stay for 15 min.
 */
export type CertificateRequest = OpenRequest | AnsweredRequest;

/** Which request it is, and the version of the API that it was read through: its status is written through the same. */
export interface RequestAddress {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: CertificatesVersion;
}

export interface OpenRequest extends RequestAddress {
  readonly answered: undefined;
  readonly signerName: string;
  readonly podName: string;
  readonly podUID: string;
  readonly serviceAccountName: string;
  readonly serviceAccountUID: string;
  readonly nodeName: string;
  readonly nodeUID: string;
  /** Seconds; what the pod asked for at most, backdating included. */
  readonly maxExpirationSeconds: number;
  /** Where the public key is. */
  readonly key: RequestKey;
  /** unverifiedUserAnnotations, with the keys that the signer knows. */
  readonly annotations: Annotations;
  /** Why the other unverifiedUserAnnotations can never be accepted; undefined if all are known and well formed. */
  readonly annotationProblem: string | undefined;
  /** Epoch milliseconds by the API server's clock; NaN if unreadable. Nobody but the API server sets it. */
  readonly createdAtMs: number;
}

/** Base64 of the PKCS#10 request, or of the SubjectPublicKeyInfo that a kubelet before 1.36 sends. */
export type RequestKey =
  | { readonly form: 'pkcs10' | 'spki'; readonly base64: string }
  | { readonly form: 'none' | 'both' };

export interface AnsweredRequest extends RequestAddress {
  readonly answered: TerminalCondition;
  /** The field manager of the status: which replica answered. */
  readonly answeredBy: string | undefined;
}

/** The default of spec.maxExpirationSeconds (certificates/v1/types.go); a server always fills it in. */
const defaultExpirationSeconds = 86_400;

interface ManagedFields {
  readonly manager?: string;
  readonly operation?: string;
  readonly subresource?: string;
}

/** The object as the API server sends it: with the managed fields that ObjectMeta of kube/types.ts leaves out. */
type WireRequest = PodCertificateRequest & { metadata: ObjectMeta & { managedFields?: ManagedFields[] } };

/** What is read of a request. */
export const requestFields = {
  metadata: {
    ...metadataFields,
    creationTimestamp: true,
    managedFields: { manager: true, subresource: true },
  },
  spec: true,
  status: { conditions: true },
} as const;

/** The field manager of the status: which replica answered. */
export function answeredBy(metadata: WireRequest['metadata']): string | undefined {
  return metadata.managedFields?.find(({ subresource }) => subresource === 'status')?.manager;
}

/** The terminal condition of a status, if it has one. */
export function terminalCondition(conditions: readonly Condition[] | undefined): Condition | undefined {
  return conditions?.find((condition) => terminalConditions.some((type) => type === condition.type));
}

/**
 * Projects an object of the API server to what we keep of it. Total: the API server has validated the object. The
 * version is a parameter, because the items of a list do not carry it.
 *
 * @param known the annotations that the signer knows; undefined if it knows none.
 */
export function toCertificateRequest(
  wire: WireRequest,
  version: CertificatesVersion,
  known: KnownAnnotations | undefined,
): CertificateRequest {
  const { metadata, spec } = wire;
  const { name, uid = '', namespace = '' } = metadata;
  const address = { uid, namespace, name, version };
  const terminal = terminalCondition(wire.status?.conditions);
  if (terminal) {
    return { ...address, answered: terminal.type as TerminalCondition, answeredBy: answeredBy(metadata) };
  }
  return {
    ...address,
    answered: undefined,
    signerName: spec.signerName,
    podName: spec.podName,
    podUID: spec.podUID,
    serviceAccountName: spec.serviceAccountName,
    serviceAccountUID: spec.serviceAccountUID,
    nodeName: spec.nodeName,
    nodeUID: spec.nodeUID,
    maxExpirationSeconds: spec.maxExpirationSeconds ?? defaultExpirationSeconds,
    key: keyInSpec(spec),
    ...readAnnotations(spec.unverifiedUserAnnotations, known ?? {}),
    createdAtMs: Date.parse(metadata.creationTimestamp ?? ''),
  };
}

/** Annotations that a signer knows: each key with a function that says why a value can never be right. */
export type KnownAnnotations = Readonly<Record<string, (value: string) => string | undefined>>;

/** Annotations that will be refused are not kept, because their author decides how large they are. */
function readAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
  known: KnownAnnotations,
): Pick<OpenRequest, 'annotations' | 'annotationProblem'> {
  for (const [key, value] of Object.entries(annotations ?? {})) {
    const problem = annotationProblem(key, value, known);
    if (problem !== undefined) return { annotations: noAnnotations, annotationProblem: problem };
  }
  return { annotations: annotations ?? noAnnotations, annotationProblem: undefined };
}

function annotationProblem(key: string, value: string, known: KnownAnnotations): string | undefined {
  const check = Object.hasOwn(known, key) ? known[key] : undefined;
  if (check) {
    const problem = check(value);
    return problem === undefined ? undefined : `${JSON.stringify(key)} ${problem}`;
  }
  const names = Object.keys(known);
  const accepted = names.length === 0 ? 'no userAnnotations' : `only ${names.join(' and ')}`;
  return `${JSON.stringify(key)} is not known; this signer accepts ${accepted}`;
}

/** Where the public key is in the spec as one version of the API shows it. */
export function keyInSpec({ stubPKCS10Request, pkixPublicKey }: PodCertificateRequest['spec']): RequestKey {
  if (stubPKCS10Request && pkixPublicKey) return { form: 'both' };
  if (stubPKCS10Request) return { form: 'pkcs10', base64: stubPKCS10Request };
  return pkixPublicKey ? { form: 'spki', base64: pkixPublicKey } : { form: 'none' };
}

/**
 * The requests of one signer; a field selector cannot name two. Indexed by `pod`: namespace/name of the pod of an open
 * request.
 */
export function requestsOf(
  signerName: string,
  known: KnownAnnotations | undefined,
): InformerSpec<WireRequest, CertificateRequest, CertificatesVersion> {
  return {
    resource: podCertificateRequests,
    fieldSelector: `spec.signerName=${signerName}`,
    fields: requestFields,
    project: (wire, version) => toCertificateRequest(wire, version, known),
    indexes: {
      pod: (request) =>
        request.answered === undefined ? `${request.namespace}/${request.podName}` : undefined,
    },
  };
}

/** Key in the store and the queue. */
export function requestKey(request: Pick<RequestAddress, 'namespace' | 'name'>): string {
  return `${request.namespace}/${request.name}`;
}

/** Whose turn in the queue a request counts for. One that is gone or answered has only its end to be noted. */
export function flowOf(key: string, request: CertificateRequest | undefined): Flow {
  const namespace = request?.namespace ?? key.slice(0, key.indexOf('/'));
  return { namespace, node: request?.answered === undefined ? (request?.nodeName ?? '') : '' };
}

/** The public key of a request; nothing else is taken from its PKCS#10 request. */
export function readRequestKey(key: RequestKey): SubjectKey {
  switch (key.form) {
    case 'pkcs10':
      return readCsrKey(Buffer.from(key.base64, 'base64'));
    case 'spki':
      return readSubjectKey(Buffer.from(key.base64, 'base64'));
    case 'both':
      return { kind: 'unreadable', reason: 'both stubPKCS10Request and pkixPublicKey are set' };
    case 'none':
      return { kind: 'unreadable', reason: 'neither stubPKCS10Request nor pkixPublicKey is set' };
  }
}
