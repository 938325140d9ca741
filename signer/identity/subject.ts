import type { SpiffeId } from '../../spiffe/id.ts';
import type { CertificateNames } from '../../spiffe/pki/subject-alt-name.ts';

/** Who a certificate or token is for: the names in it, and one string for people (Events, conditions, logs). */
export interface Subject extends CertificateNames {
  readonly display: string;
}

/** A subject with a SPIFFE ID and no other name. */
export function spiffeSubject(id: SpiffeId): Subject {
  return { uris: [id.uri], dnsNames: [], display: id.uri };
}

/** The SPIFFE ID among the names of a subject; undefined where it has none. */
export function spiffeIdIn({ uris }: CertificateNames): string | undefined {
  return uris.find((uri) => uri.startsWith('spiffe://'));
}

/** The names of a subject as log and audit lines have them. */
export function namesOf(subject: CertificateNames): { spiffeId?: string; dnsNames?: readonly string[] } {
  const spiffeId = spiffeIdIn(subject);
  return {
    ...(spiffeId !== undefined && { spiffeId }),
    ...(subject.dnsNames.length > 0 && { dnsNames: subject.dnsNames }),
  };
}

/** The names that a subject or certificate has, the SPIFFE ID first. */
export function allNames(subject: CertificateNames | undefined): string[] {
  return subject ? [...subject.uris, ...subject.dnsNames] : [];
}
