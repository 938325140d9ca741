import { messageOf } from '../../spiffe/errors.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { ApiStatusError, isNotFoundOfObject } from '../kube/api-error.ts';
import { createJsonReader, type Fields } from '../kube/json-reader.ts';
import type { Transport } from '../kube/transport.ts';
import type { PodCertificateRequest, PodCertificateRequestStatus } from '../kube/types.ts';
import { answeredBy, type RequestAddress, requestFields, terminalCondition } from './request.ts';

/**
 * An answer as the bytes of its merge PATCH: a retry sends the same ones, and an equal write passes. They are the same
 * in every version of the API.
 */
export interface PreparedAnswer {
  readonly body: string;
  /** Distinguishes our own answer from another replica's. */
  readonly certificateChain: string | undefined;
}

/** What became of a write. */
export type WriteOutcome =
  | { readonly kind: 'written' }
  /** The request has its answer already. */
  | {
      readonly kind: 'answered';
      /** The field manager of the status: which replica answered. */
      readonly by: string | undefined;
      readonly certificateChain: string | undefined;
    }
  | { readonly kind: 'gone' }
  /** A plain 404: the resource is not served any more in this version. */
  | { readonly kind: 'not-served' }
  | { readonly kind: 'forbidden'; readonly detail: string }
  /** The server rejects the answer although the request is open: our bug. */
  | { readonly kind: 'rejected'; readonly detail: string }
  | {
      readonly kind: 'unavailable';
      readonly detail: string;
      readonly retryAfterMs: number | undefined;
      /** The server refused the write for certain. Otherwise it may have taken it, or may still take it. */
      readonly isRefusal: boolean;
    };

/** The answer to a write would repeat the whole request, chain and all. A server without this form sends plain JSON. */
const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';

/** The answer to a request, as a status with its one terminal condition. */
export function prepareAnswer(
  { uid }: Pick<RequestAddress, 'uid'>,
  condition: { type: 'Issued' | 'Denied'; reason: string; message: string; at: number },
  certificate?: { chainPem: string; notBefore: number; beginRefreshAt: number; notAfter: number },
): PreparedAnswer {
  const status: PodCertificateRequestStatus = {
    conditions: [
      {
        type: condition.type,
        status: 'True',
        reason: condition.reason,
        message: condition.message,
        lastTransitionTime: rfc3339(condition.at),
      },
    ],
    ...(certificate && {
      certificateChain: certificate.chainPem,
      // Compared with the certificate's own, to the second (ValidatePodCertificateRequestStatusUpdate of kube-apiserver).
      notBefore: rfc3339(certificate.notBefore),
      beginRefreshAt: rfc3339(certificate.beginRefreshAt),
      notAfter: rfc3339(certificate.notAfter),
    }),
  };
  // The UID makes sure that a request of the same name, created since, is not answered in its place.
  const body = JSON.stringify({ metadata: { uid }, status });
  return { body, certificateChain: certificate?.chainPem };
}

/** What the metrics call the writes of answers. */
export const statusResource = 'podcertificaterequests/status';

/**
 * The only writer of a PodCertificateRequest's status: one merge PATCH without resourceVersion. After a conflict or a
 * rejection the request is read live: it may have its answer already, or be gone.
 *
 * @param replica the field manager (at most 128 characters), by which the other replicas see who answered.
 */
export function createStatusWriter(transport: Transport, replica: string) {
  async function write(
    address: RequestAddress,
    answer: PreparedAnswer,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    try {
      await transport.request({
        method: 'PATCH',
        path: `${pathOf(address)}/status`,
        query: { fieldManager: replica },
        body: answer.body,
        contentType: 'application/merge-patch+json',
        accept: metadataOnly,
        resource: statusResource,
        discardBody: true,
        signal,
      });
      return { kind: 'written' };
    } catch (error) {
      return outcomeOf(address, error, signal);
    }
  }

  async function outcomeOf(
    address: RequestAddress,
    error: unknown,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    if (!(error instanceof ApiStatusError)) {
      return unclear(error);
    }
    switch (error.status) {
      case 404:
        return isNotFoundOfObject(error) ? { kind: 'gone' } : { kind: 'not-served' };
      case 403:
        return { kind: 'forbidden', detail: error.message };
      case 409:
      case 422:
        return readAfterRefusal(address, error, signal);
      default:
        return {
          kind: 'unavailable',
          detail: error.message,
          retryAfterMs: error.retryAfterMs,
          isRefusal: refusals.has(error.status),
        };
    }
  }

  async function readAfterRefusal(
    address: RequestAddress,
    refusal: ApiStatusError,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    try {
      const { metadata, status } = await readLive(transport, address, fieldsWithStatus, signal);
      if (metadata.uid !== address.uid) return { kind: 'gone' };
      if (terminalCondition(status?.conditions)) {
        return { kind: 'answered', by: answeredBy(metadata), certificateChain: status?.certificateChain };
      }
      if (refusal.status === 409) {
        return { kind: 'unavailable', detail: refusal.message, retryAfterMs: undefined, isRefusal: true };
      }
      return { kind: lacksSign(refusal) ? 'forbidden' : 'rejected', detail: refusal.message };
    } catch (error) {
      if (isNotFoundOfObject(error)) return { kind: 'gone' };
      return unclear(error);
    }
  }

  return { write };
}

/** What an API server answers before it writes anything. */
const refusals = new Set([400, 401, 429]);

function unclear(error: unknown): WriteOutcome {
  return { kind: 'unavailable', detail: messageOf(error), retryAfterMs: undefined, isRefusal: false };
}

/** The verb `sign` is checked by the status's validation, so that lacking it is a 422 (certauthorization.go). */
function lacksSign({ details }: ApiStatusError): boolean {
  return Boolean(
    details?.causes?.some(
      ({ reason, field }) => reason === 'FieldValueForbidden' && field === 'spec.signerName',
    ),
  );
}

export type StatusWriter = ReturnType<typeof createStatusWriter>;

const fieldsWithStatus = { ...requestFields, status: true } as const;

/** Reads one request, past our caches. @throws ApiStatusError, ApiConnectionError */
export async function readLive(
  transport: Transport,
  address: RequestAddress,
  fields: Fields,
  signal: AbortSignal,
): Promise<PodCertificateRequest> {
  const { body } = await transport.request<PodCertificateRequest>({
    method: 'GET',
    path: pathOf(address),
    resource: 'podcertificaterequests',
    reader: () => createJsonReader(fields),
    signal,
  });
  return body;
}

/** The path of one request in the API. */
export function pathOf(address: RequestAddress): string {
  const { version, namespace, name } = address;
  return `/apis/certificates.k8s.io/${version}/namespaces/${namespace}/podcertificaterequests/${name}`;
}
