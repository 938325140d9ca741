import { namesOf, type Subject } from '../identity/subject.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Audit, AuditRecord } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { explain, outcomes, type Reason } from '../observe/reasons.ts';
import type { OpenRequest } from './request.ts';

/** What is known of an outcome when it is told. Times in milliseconds, on the monotonic clock. */
export interface Told {
  readonly request: OpenRequest;
  readonly reason: Reason;
  readonly detail: string;
  /** Whether this replica is the owner: of what is no answer, only the owner tells. */
  readonly owner: boolean;
  /** From first sight to now. */
  readonly elapsedMs: number;
  readonly certificate?: CertificateReport;
}

/** What is said of a certificate that was issued. `notBefore` and `notAfter` in seconds since the epoch. */
export interface CertificateReport {
  readonly subject: Subject;
  readonly serialHex: string;
  readonly authority: string;
  readonly publicKeySha256: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The last outcome that was told of a request. */
interface LastTold {
  readonly reason: Reason;
  /** What was said, or the serial number of what was issued: the same reason may have another cause by now. */
  readonly sentence: string;
  /** Sentences told for this reason. */
  readonly count: number;
  /** From first sight of the request to when the reason was told first, without another one since. */
  readonly sinceMs: number;
  isOnPod: boolean;
}

/** Sentences told for one reason of one request at most: one that is another each time (a number in it) is no news. */
const maxSentences = 5;

const auditOutcome = { issue: 'Issued', deny: 'Denied', wait: 'Wait', drop: 'Drop' } as const;

/**
 * Tells every outcome in the same places: a log line, the metrics, the audit stream and, where the table of
 * reasons says so, an Event on the pod. (The condition is the answer itself.) An outcome that stays the same while the
 * request exists is told once; later rounds only reach the log at debug level.
 *
 * Of an answer the replica tells whose answer stands. Of everything else the owner alone does, or each replica would
 * count it; whoever becomes the owner, because the one before has died, tells then what it finds.
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
  for (const [reason, { verdict }] of Object.entries(outcomes)) {
    metrics.issuance.inc({ outcome: verdict, reason, signer: signerName }, 0);
  }
  const lastTold = new Map<string, LastTold>();

  function tell(told: Told): void {
    const { request, reason, detail, certificate } = told;
    const outcome = outcomes[reason];
    const message = explain(reason, detail);
    const line = {
      request: `${request.namespace}/${request.name}`,
      pod: request.podName,
      reason,
      durationMs: Math.round(told.elapsedMs),
      ...(certificate && { ...namesOf(certificate.subject), serial: certificate.serialHex }),
    };
    if (!told.owner && !isAnswer(reason)) {
      log.debug(line, message);
      return;
    }
    const sentence = certificate?.serialHex ?? message;
    const last = lastTold.get(request.uid);
    const current = isKnown(last, reason, sentence) ? last : next(last, told, sentence);
    lastTold.set(request.uid, current);

    if (current === last) {
      log.debug(line, message);
    } else {
      if (outcome.alarm) log.warn(line, message);
      else log.info(line, message);
      metrics.issuance.inc({ outcome: outcome.verdict, reason, signer: signerName });
      if (reason === 'RequestUnreadable') metrics.unreadableRequests.inc();
      if (reason === 'StatusRejected') metrics.statusRejected.inc();
      audit(auditRecord(told, message));
    }
    const hasLasted = told.elapsedMs - current.sinceMs >= outcome.passesWithinMs;
    if (outcome.event && hasLasted && !current.isOnPod) {
      current.isOnPod = true;
      events.record(eventOf(request, reason, message));
    }
  }

  return { tell, forget: (uid: string) => void lastTold.delete(uid) };
}

export type Reporter = ReturnType<typeof createReporter>;

/** Whether this was told already, or as good as. */
function isKnown(last: LastTold | undefined, reason: Reason, sentence: string): last is LastTold {
  return last?.reason === reason && (last.sentence === sentence || last.count >= maxSentences);
}

function next(last: LastTold | undefined, { reason, elapsedMs }: Told, sentence: string): LastTold {
  const { count, sinceMs } = last?.reason === reason ? last : { count: 0, sinceMs: elapsedMs };
  return { reason, sentence, count: count + 1, sinceMs, isOnPod: false };
}

function isAnswer(reason: Reason): boolean {
  const { verdict } = outcomes[reason];
  return verdict === 'issue' || verdict === 'deny';
}

function auditRecord({ request, reason, certificate }: Told, message: string): AuditRecord {
  return {
    outcome: auditOutcome[outcomes[reason].verdict],
    reason,
    message,
    signer: request.signerName,
    namespace: request.namespace,
    request: { name: request.name, uid: request.uid },
    pod: { name: request.podName, uid: request.podUID },
    serviceAccount: { name: request.serviceAccountName, uid: request.serviceAccountUID },
    node: { name: request.nodeName, uid: request.nodeUID },
    ...(certificate && {
      ...namesOf(certificate.subject),
      serial: certificate.serialHex,
      publicKeySha256: certificate.publicKeySha256,
      authority: certificate.authority,
      notBefore: certificate.notBefore,
      notAfter: certificate.notAfter,
    }),
  };
}

/**
 * Keyed by pod and reason, not by request: the cleaner and kubelet replace a request every 15 to 20 minutes, and
 * the person who reads the pod's Events should see one line that counts on.
 */
function eventOf(request: OpenRequest, reason: Reason, note: string): Parameters<EventRecorder['record']>[0] {
  return {
    key: `${request.podUID}/${reason}`,
    regarding: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace: request.namespace,
      name: request.podName,
      uid: request.podUID,
    },
    related: {
      apiVersion: `certificates.k8s.io/${request.version}`,
      kind: 'PodCertificateRequest',
      namespace: request.namespace,
      name: request.name,
      uid: request.uid,
    },
    type: 'Warning',
    reason,
    action: outcomes[reason].verdict === 'deny' ? 'Deny' : 'Wait',
    note,
  };
}
