import { hash } from 'node:crypto';
import type { Finding } from '../../spiffe/clauses.ts';
import { checkAuthority, checkLeaf } from '../../spiffe/conformance.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { readSubjectKey, type SubjectKey } from '../../spiffe/pki/spki.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { isSignedBy } from '../../spiffe/pki/verify.ts';
import { colons, fromNow } from '../output.ts';
import type { Contents } from './contents.ts';
import { finding, type Section } from './report.ts';

export interface CertificateContext {
  /** Seconds since the epoch. */
  readonly now: number;
  /** What the names in the certificates should be of, if it is known. */
  readonly trustDomain?: string | undefined;
  readonly contents: Contents;
}

/** A certificate that the strict reader refuses, and why: then the signer and the verifiers refuse it too. */
export interface RefusedCertificate {
  readonly der: Uint8Array;
  readonly refused: string;
}

export type GivenCertificate = CertificateFacts | RefusedCertificate;

/** A workload's chain: leaf, then the intermediates upwards (X509-SVID 2; RFC 5280 6.1). */
export function chainSections(
  chain: readonly GivenCertificate[],
  context: CertificateContext,
  roots: readonly CertificateFacts[] | undefined,
): Section[] {
  return chain.map((facts, index) => {
    const place = `Certificate ${index + 1} of ${chain.length}`;
    if ('refused' in facts) return refusedSection(place, facts, context);
    const next = chain[index + 1];
    const isRoot = isSignedBy(facts, facts);
    const role = index === 0 ? 'leaf' : isRoot ? 'root' : 'intermediate';
    const check = index === 0 ? checkLeaf : checkAuthority;
    const findings = [...check(facts, context.trustDomain), inTime(facts, context.now)];
    if (next) {
      const isSigned = !('refused' in next) && isSignedBy(facts, next);
      const problem = !isSigned && 'the next certificate in the chain has not signed it';
      findings.push(finding('must', 'RFC 5280 6.1', 'the next certificate has signed it', problem));
    } else if (roots) {
      const isSigned = roots.some((root) => isSignedBy(facts, root));
      const problem = !isSigned && 'none of the roots has signed it';
      findings.push(finding('must', 'RFC 5280 6.1', 'one of the roots has signed it', problem));
    }
    if (index > 0) {
      const clause = 'X509-SVID 2 (RFC 8446 4.4.2)';
      const problem = isRoot && 'the root is in the chain, where verifiers do not need it';
      findings.push(finding('should', clause, 'the root is left out of the chain', problem));
    }
    return { title: `${place}: ${role}`, ...contentsOf(facts, context), findings };
  });
}

/**
 * TLS libraries do not know trust domains: with roots of two in one file, each can sign the names of the other (SPIFFE
 * Federation 5: bundles of different trust domains are not merged). Undefined where the roots are of one.
 */
export function mergedTrustDomains(roots: readonly CertificateFacts[]): string | undefined {
  const ids = new Set(roots.flatMap(({ uris }) => uris.filter((uri) => uri.startsWith('spiffe://'))));
  if (ids.size < 2) return undefined;
  const names = [...ids].map((id) => id.slice('spiffe://'.length)).join(' and ');
  return `the roots are of ${names}: each of their CAs can sign names of the others; use one file for each trust domain`;
}

/** Signing certificates, each standing for itself: a trust bundle (X509-SVID 6; KEP-3257). */
export function authoritySections(
  certificates: readonly GivenCertificate[],
  context: CertificateContext,
): Section[] {
  const seen = new Set<string>();
  return certificates.map((facts, index) => {
    const place = certificates.length === 1 ? '' : ` ${index + 1} of ${certificates.length}`;
    const title = `CA certificate${place}`;
    if ('refused' in facts) return refusedSection(title, facts, context);
    const isRepeated = seen.has(facts.sha256Hex);
    seen.add(facts.sha256Hex);
    const findings = [...checkAuthority(facts, context.trustDomain), inTime(facts, context.now)];
    const notSigned = !isSignedBy(facts, facts) && 'it is not self-signed';
    findings.push(finding('should', 'SPIFFE bundle 4.1', 'it is self-signed', notSigned));
    if (certificates.length > 1) {
      const problem = isRepeated && 'it occurs more than once';
      findings.push(finding('must', 'KEP-3257', 'it occurs once', problem));
    }
    return { title, ...contentsOf(facts, context), findings };
  });
}

function inTime(facts: CertificateFacts, now: number): Finding {
  const early = now < facts.notBefore && `it is valid only from ${rfc3339(facts.notBefore)} on`;
  const late = now > facts.notAfter && `it expired ${fromNow(facts.notAfter, now)}`;
  return finding('must', 'RFC 5280 6.1.3', 'it is within its time', early || late);
}

function refusedSection(
  title: string,
  { der, refused }: RefusedCertificate,
  context: CertificateContext,
): Section {
  const findings = [finding('must', 'RFC 5280 4.1', 'it can be read', `it is refused: ${refused}`)];
  return { title, ...contentsOf({ der }, context), findings };
}

/** What a certificate contains, for people: what the library reads, also where the strict reader refuses it. */
export function contentsOf(
  { der }: { readonly der: Uint8Array },
  { now, contents }: CertificateContext,
): Pick<Section, 'facts' | 'extensions'> {
  const Fingerprint = `SHA-256 ${colons(hash('sha256', der))}`;
  const shown = contents.certificate(der);
  if (!shown) return { facts: { Content: `(${der.length} bytes, not shown)`, Fingerprint } };
  const { uris, subject, issuer, notBefore, notAfter, spki, signature, serialHex, extensions } = shown;
  return {
    facts: {
      'SPIFFE ID': uris.join(', ') || '(none)',
      Subject: subject,
      Issuer: issuer,
      Valid: `${rfc3339(notBefore)} to ${rfc3339(notAfter)} (ends ${fromNow(notAfter, now)})`,
      Key: keyText(readSubjectKey(spki), 'not one that kubelet makes'),
      Signature: signature,
      Serial: serialHex,
      Fingerprint,
    },
    extensions,
  };
}

/** @param unsupported what a key is that the signer does not serve. */
export function keyText(key: SubjectKey, unsupported: string): string {
  if (key.kind === 'supported') return key.type.name;
  return key.kind === 'unsupported' ? `${key.algorithm} (${unsupported})` : `unreadable (${key.reason})`;
}
