import { hash } from 'node:crypto';
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
  /** Whether this replica is the owner: only the owner writes Events. */
  readonly owner: boolean;
  /** From first sight to now. */
  readonly elapsedMs: number;
  readonly certificate?: CertificateReport;
}

/** What is said of a certificate that was issued. `notBefore` and `notAfter` in seconds since the epoch. */
export interface CertificateReport {
  readonly spiffeId: string;
  readonly serialHex: string;
  readonly authority: string;
  readonly spki: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
}

const auditOutcome = { issue: 'Issued', deny: 'Denied', wait: 'Wait', drop: 'Drop' } as const;

/**
 * Tells every outcome in the same places: a log line, the metrics, the audit stream and, where the table of
 * reasons says so, an Event on the pod. (The condition is the answer itself.) An outcome that stays the same while the
 * request exists is told once; later rounds only reach the log at debug level.
 */
export function createReporter(needs: {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly audit: Audit;
  readonly events: EventRecorder;
}) {
  const { log, metrics, audit, events } = needs;
  const lastTold = new Map<string, Reason>();

  function tell(told: Told): void {
    const { request, reason, detail } = told;
    const outcome = outcomes[reason];
    const message = explain(reason, detail);
    const line = {
      request: `${request.namespace}/${request.name}`,
      pod: request.podName,
      reason,
      durationMs: Math.round(told.elapsedMs),
      ...(told.certificate && { spiffeId: told.certificate.spiffeId, serial: told.certificate.serialHex }),
    };
    if (lastTold.get(request.uid) === reason) {
      log.debug(line, message);
      return;
    }
    lastTold.set(request.uid, reason);

    if (outcome.alarm) log.warn(line, message);
    else log.info(line, message);
    metrics.issuance.inc({ outcome: outcome.verdict, reason, signer: request.signerName });
    if (reason === 'RequestUnreadable') metrics.unreadableRequests.inc();
    if (reason === 'StatusRejected') metrics.statusRejected.inc();
    audit(auditRecord(told, message));
    if (outcome.event && told.owner) events.record(eventOf(request, reason, message));
  }

  return { tell, forget: (uid: string) => void lastTold.delete(uid) };
}

export type Reporter = ReturnType<typeof createReporter>;

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
      spiffeId: certificate.spiffeId,
      serial: certificate.serialHex,
      publicKeySha256: hash('sha256', certificate.spki, 'hex'),
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
