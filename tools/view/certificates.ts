import { allNames } from '../../signer/identity/subject.ts';
import { type CertificateFacts, readableCertificates } from '../../spiffe/pki/certificate.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { subjectText } from '../output.ts';

/** What people look for in a certificate. Times are RFC 3339, numbers and hashes lower-case hex. */
export interface CertificateView {
  readonly subject: string;
  /** SPIFFE IDs and DNS names. */
  readonly names: readonly string[];
  readonly isCa: boolean;
  readonly keyType: string;
  readonly serial: string;
  readonly sha256: string;
  readonly notBefore: string;
  readonly notAfter: string;
}

export function certificateView(facts: CertificateFacts): CertificateView {
  const { der, isCa, publicKey, serialHex, sha256Hex, notBefore, notAfter } = facts;
  return {
    subject: subjectText({ der }),
    names: allNames(facts),
    isCa,
    keyType: publicKey.kind === 'supported' ? publicKey.type.name : '(unknown)',
    ...{ serial: serialHex, sha256: sha256Hex, notBefore: rfc3339(notBefore), notAfter: rfc3339(notAfter) },
  };
}

/** The certificates of a PEM text that can be read, in its order. */
export function certificateViews(pem: string): CertificateView[] {
  return readableCertificates(pem).map(certificateView);
}
