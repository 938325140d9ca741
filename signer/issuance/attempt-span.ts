import type { Span, StartSpan } from '../observe/span.ts';
import type { RequestState } from './request-state.ts';

/**
 * The span of one attempt to answer a request. Its trace has the UID of the request as id, so that the attempts of all
 * replicas are in one trace, which can be found by the request. The first attempt of a replica begins when it saw the
 * request first: it shows how long the request was queued.
 *
 * @param now monotonic milliseconds.
 */
export function attemptSpan(
  startSpan: StartSpan,
  { request, phase, firstSeen }: RequestState,
  now: number,
): Span | undefined {
  return startSpan({
    name: 'PodCertificateRequest',
    kind: 'internal',
    startedAt: phase.kind === 'seen' ? firstSeen : now,
    traceId: traceIdOf(request.uid),
    attributes: {
      'k8s.namespace.name': request.namespace,
      'k8s.pod.name': request.podName,
      'k8s.pod.uid': request.podUID,
      'k8s.node.name': request.nodeName,
      'kubespiffe.request.name': request.name,
      'kubespiffe.request.uid': request.uid,
      'kubespiffe.signer': request.signerName,
    },
  });
}

/** Undefined for a UID that is no UUID, or that is the one invalid trace id (W3C Trace Context 3.2.2.3). */
function traceIdOf(uid: string): string | undefined {
  const id = uid.replaceAll('-', '');
  return /^(?!0{32})[0-9a-f]{32}$/.test(id) ? id : undefined;
}
