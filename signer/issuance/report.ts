import type { RecordedEvent } from '../kube/event-backlog.ts';
import { type EventRecorder, podWarning } from '../kube/events.ts';
import { type Audit, type AuditRecord, auditOutcome, type IssuedCertificate } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { explain, outcomes, type Reason } from '../observe/reasons.ts';
import { type Span, showOutcome } from '../observe/span.ts';
import type { OpenRequest } from './request.ts';

/** An outcome of a request. */
export interface Report {
  readonly request: OpenRequest;
  readonly reason: Reason;
  readonly detail: string;
  /** Whether this replica is the owner. Only the owner reports what is not an answer. */
  readonly isOwner: boolean;
  /** Milliseconds since the request was first seen. */
  readonly elapsedMs: number;
  readonly certificate?: IssuedCertificate | undefined;
  /** The span of the attempt; undefined if no trace is recorded. */
  readonly span?: Span | undefined;
}

/** The last outcome that was reported of a request. */
export interface Reported {
  readonly reason: Reason;
  /** The message, or the serial number of what was issued: the same reason may have another cause by now. */
  readonly sentence: string;
  /** Sentences reported for this reason. */
  readonly count: number;
  /** From first sight of the request to when the reason was reported first, without another one since. */
  readonly sinceMs: number;
  readonly isOnPod: boolean;
}

/** Sentences reported for one reason of one request. A sentence that is another each time (a number in it) is no news. */
const maxSentences = 5;

/**
 * Reports every outcome in the same places: a log line, the metrics, the audit stream and, where the table of
 * reasons says so, an Event on the pod. (The condition is the answer itself.) An outcome that stays the same while the
 * request exists is reported once; later rounds only reach the log at debug level.
 *
 * An answer is reported by the replica whose answer stands. Everything else is reported by the owner alone, or each
 * replica would count it. A replica that becomes the owner, because the previous owner has died, then reports what it finds.
 */
export function createReporter(needs: {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly audit: Audit;
  readonly events: EventRecorder;
  /** Whose requests these are. */
  readonly signerName: string;
}) {
  const { log, metrics, audit, events, signerName } = needs;
  // From zero on: a rate over a series that begins with the first outcome does not show the first one.
  const labels = { signer: signerName };
  for (const [reason, { verdict }] of Object.entries(outcomes)) {
    metrics.issuance.inc({ outcome: verdict, reason, ...labels }, 0);
  }
  for (const alarmed of [metrics.unreadableRequests, metrics.statusRejected]) alarmed.inc(labels, 0);

  /** @returns what to pass as `last` with the next report of the same request. */
  return function report(outcome: Report, last: Reported | undefined): Reported | undefined {
    const { request, reason, detail, certificate, elapsedMs, span } = outcome;
    const { verdict, alarm, event, passesWithinMs } = outcomes[reason];
    const message = explain(reason, detail);
    if (span) showOutcome(span, { verdict, reason, message, spiffeId: certificate?.spiffeId });
    const line = {
      request: `${request.namespace}/${request.name}`,
      pod: request.podName,
      reason,
      durationMs: Math.round(elapsedMs),
      ...(certificate && namedIn(certificate)),
    };
    if (!outcome.isOwner && !isAnswer(reason)) {
      log.debug(line, message);
      return last;
    }
    const sentence = certificate?.serial ?? message;
    const isNews = !isKnown(last, reason, sentence);
    if (isNews) {
      if (alarm) log.warn(line, message);
      else log.info(line, message);
      metrics.issuance.inc({ outcome: verdict, reason, ...labels });
      if (certificate) metrics.certificates.inc({ authority: certificate.authority, ...labels });
      if (reason === 'RequestUnreadable') metrics.unreadableRequests.inc(labels);
      if (reason === 'StatusRejected') metrics.statusRejected.inc(labels);
      audit(auditRecord(outcome, message));
    } else {
      log.debug(line, message);
    }
    const reported = isNews ? next(last, outcome, sentence) : last;
    const hasLasted = elapsedMs - reported.sinceMs >= passesWithinMs;
    if (!event || !hasLasted || reported.isOnPod) return reported;
    events.record(eventOf(request, reason, message));
    return { ...reported, isOnPod: true };
  };
}

export type Reporter = ReturnType<typeof createReporter>;

/** The facts of a certificate for log lines. */
function namedIn({ spiffeId, dnsNames, serial }: IssuedCertificate) {
  return { ...(spiffeId !== undefined && { spiffeId }), ...(dnsNames && { dnsNames }), serial };
}

/** Whether this was reported already, or as good as. */
function isKnown(last: Reported | undefined, reason: Reason, sentence: string): last is Reported {
  return last?.reason === reason && (last.sentence === sentence || last.count >= maxSentences);
}

function next(last: Reported | undefined, { reason, elapsedMs }: Report, sentence: string): Reported {
  const { count, sinceMs } = last?.reason === reason ? last : { count: 0, sinceMs: elapsedMs };
  return { reason, sentence, count: count + 1, sinceMs, isOnPod: false };
}

function isAnswer(reason: Reason): boolean {
  const { verdict } = outcomes[reason];
  return verdict === 'issue' || verdict === 'deny';
}

function auditRecord({ request, reason, certificate, span }: Report, message: string): AuditRecord {
  return {
    event: 'pod-certificate',
    outcome: auditOutcome[outcomes[reason].verdict],
    reason,
    message,
    signer: request.signerName,
    namespace: request.namespace,
    request: { name: request.name, uid: request.uid },
    pod: { name: request.podName, uid: request.podUID },
    serviceAccount: { name: request.serviceAccountName, uid: request.serviceAccountUID },
    node: { name: request.nodeName, uid: request.nodeUID },
    ...certificate,
    ...(span && { traceId: span.traceId }),
  };
}

/**
 * Keyed by pod and reason, not by request: the cleaner and kubelet replace a request every 15 to 20 minutes, and
 * the person who reads the pod's Events should see one line that counts on.
 */
function eventOf(request: OpenRequest, reason: Reason, note: string): RecordedEvent {
  const { namespace, name, uid, podName, podUID } = request;
  return podWarning({ namespace, name: podName, uid: podUID }, outcomes[reason].verdict, {
    key: `${podUID}/${reason}`,
    reason,
    note,
    related: {
      ...{ apiVersion: `certificates.k8s.io/${request.version}`, kind: 'PodCertificateRequest' },
      ...{ namespace, name, uid },
    },
  });
}
