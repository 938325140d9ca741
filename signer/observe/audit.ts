import pino from 'pino';
import type { LogDestination } from './log.ts';
import type { Reason } from './reasons.ts';

/** An object that a decision was about. */
export interface AuditedObject {
  name: string;
  uid: string;
}

/** Who got, or did not get, what. Names and UIDs are those of the request, which the node vouched for. */
export interface AuditRecord {
  /** What became of the request. */
  outcome: 'Issued' | 'Denied' | 'Wait' | 'Drop';
  reason: Reason;
  /** The sentence that the user was shown, if any. */
  message?: string;
  signer: string;
  namespace: string;
  request: AuditedObject;
  pod: AuditedObject;
  serviceAccount: AuditedObject;
  node: AuditedObject;
  spiffeId?: string;
  /** Serial number in lower-case hex, of the certificate that the API server confirmed. */
  serial?: string;
  /** SHA-256 of the SubjectPublicKeyInfo in lower-case hex. */
  publicKeySha256?: string;
  /** Id of the authority that signed. */
  authority?: string;
  /** Seconds since the epoch. */
  notBefore?: number;
  /** Seconds since the epoch. */
  notAfter?: number;
}

/** Writes one line per record. */
export type Audit = (record: AuditRecord) => void;

/**
 * Makes the audit stream: the same output as the log, told apart by `"audit":true`. It is a logger of its own
 * rather than a child, because the log level must never silence it.
 */
export function createAudit(options: { replica: string; destination?: LogDestination }): Audit {
  const stream = pino(
    {
      level: 'info',
      base: { audit: true, replica: options.replica },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
  return (record) => stream.info(record);
}
