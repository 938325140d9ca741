import type { Time } from '../kube/time.ts';
import type { LogDestination } from './log.ts';
import type { Reason } from './reasons.ts';

/** How an audit line names a verdict. */
export const auditOutcome = { issue: 'Issued', deny: 'Denied', wait: 'Wait', drop: 'Drop' } as const;

/** An object that a decision was about. */
export interface AuditedObject {
  name: string;
  uid: string;
}

/** A certificate that was issued. The one record of it, from signing to the audit line. */
export interface IssuedCertificate {
  readonly spiffeId?: string;
  /** The DNS names in the certificate; absent where it has none. */
  readonly dnsNames?: readonly string[];
  /** What gave the names: `namespace/name`, or the name of a ClusterWorkloadRegistration; absent for the default. */
  readonly registration?: string;
  readonly hint?: string;
  /** Lower-case hex. */
  readonly serial: string;
  /** SHA-256 of the SubjectPublicKeyInfo in lower-case hex. */
  readonly publicKeySha256: string;
  /** Id of the authority that signed. */
  readonly authority: string;
  /** Seconds since the epoch. */
  readonly notBefore: number;
  /** Seconds since the epoch. */
  readonly notAfter: number;
}

/**
 * Who got, or did not get, what. Names and UIDs are those of the request, which the node vouched for. The certificate is
 * one that the API server confirmed.
 */
export interface AuditRecord extends Partial<IssuedCertificate> {
  event: 'pod-certificate';
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
  /** Where its trace is recorded. */
  traceId?: string;
}

/** Who got, or did not get, something from the token endpoint. The fields of the pod are set once the credential proves them. */
export interface EndpointAuditRecord {
  event: 'token' | 'x509-svid';
  outcome: 'Issued' | 'Denied' | 'Wait';
  /** `Issued`, or a code of the token endpoint's table of refusals. */
  reason: string;
  message?: string;
  /** The caller's address, as the connection shows it. */
  address: string;
  namespace?: string;
  pod?: AuditedObject;
  serviceAccount?: AuditedObject;
  /** `jti` of the ServiceAccount token, which the API server's audit log names as well. */
  credentialId?: string;
  spiffeId?: string;
  /** What gave the names; absent for the default identity. */
  registration?: string;
  hint?: string;
  /** Seconds since the epoch. */
  notAfter?: number;
  /** Where its trace is recorded. */
  traceId?: string;
}

/** A request for a JWT-SVID. */
export interface TokenAuditRecord extends EndpointAuditRecord {
  event: 'token';
  /** For whom the JWT-SVID is. Absent for a refusal: what was asked for then may be a secret in the wrong place. */
  audiences?: readonly string[];
  /** `jti` of the JWT-SVID. */
  tokenId?: string;
  /** `kid` of the key that signed. */
  keyId?: string;
}

/** A request for an X509-SVID; the names are those of a PodCertificateRequest. */
export interface X509AuditRecord
  extends EndpointAuditRecord,
    Pick<AuditRecord, 'dnsNames' | 'serial' | 'publicKeySha256' | 'authority' | 'notBefore'> {
  event: 'x509-svid';
}

/** A step of a rotation, which this replica took by itself. */
export interface RotationAuditRecord {
  event: 'rotation';
  outcome: 'Changed';
  reason: 'RotationStepTaken';
  message: string;
  /** namespace/name of the Secret. */
  pool: string;
  /** The states of the authorities in words; absent where it was, or is, not in the pool. */
  changed: readonly {
    readonly id: string;
    readonly from?: string | undefined;
    readonly to?: string | undefined;
  }[];
}

/** Writes one line per record. */
export type Audit = (
  record: AuditRecord | EndpointAuditRecord | TokenAuditRecord | X509AuditRecord | RotationAuditRecord,
) => void;

/**
 * Makes the audit stream: the same output as the log in the same form, marked by `"audit":true`. It is not a logger,
 * because no log level may silence it.
 */
export function createAudit(needs: { replica: string; destination: LogDestination; time: Time }): Audit {
  const { replica, destination, time } = needs;
  return (record) => {
    const line = { level: 'info', time: new Date(time.now()).toISOString(), audit: true, replica, ...record };
    destination.write(`${JSON.stringify(line)}\n`);
  };
}
