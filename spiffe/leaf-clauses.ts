import { type CertificateClause, unless } from './clauses.ts';
import { parseSpiffeId } from './id.ts';
import type { CertificateFacts } from './pki/certificate.ts';

const hasNoUsageOf = (facts: CertificateFacts, ...usages: string[]): string | undefined => {
  const found = facts.keyUsage?.filter((usage) => usages.includes(usage)) ?? [];
  return found.length > 0 ? `keyUsage has ${found.join(' and ')}` : undefined;
};

/** Clauses for a workload's certificate. */
export const leafClauses: readonly CertificateClause[] = [
  {
    level: 'must',
    clause: 'X509-SVID 2',
    demand: 'there is exactly one URI among the subject alternative names',
    problem: (facts) =>
      unless(
        facts.uris.length === 1,
        `there are ${facts.uris.length} URIs among the subject alternative names`,
      ),
  },
  {
    level: 'must',
    clause: 'SPIFFE-ID 2',
    demand: 'the URI is a SPIFFE ID',
    problem: ({ uris: [uri] }) => {
      const id = parseSpiffeId(uri ?? '');
      return id.ok ? undefined : id.reason;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1',
    demand: 'the SPIFFE ID has a path',
    problem: ({ uris: [uri] }) => {
      const id = parseSpiffeId(uri ?? '');
      return unless(
        id.ok && id.value.path !== '',
        'the SPIFFE ID has no path, so it names a trust domain and not a workload',
      );
    },
  },
  {
    level: 'must',
    clause: 'SPIFFE-ID 2.1',
    demand: 'the SPIFFE ID is of the expected trust domain',
    problem: ({ uris: [uri] }, trustDomain) => {
      if (trustDomain === undefined) return undefined;
      const id = parseSpiffeId(uri ?? '');
      return unless(
        id.ok && id.value.trustDomain === trustDomain,
        `the SPIFFE ID is not of the trust domain ${trustDomain}`,
      );
    },
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.1.2.6',
    demand: 'subjectAltName is critical where the subject is empty',
    problem: (facts) =>
      unless(
        facts.hasSubject || facts.sanCritical,
        'the subject is empty and subjectAltName is not critical',
      ),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1',
    demand: 'basicConstraints does not say cA',
    problem: (facts) => unless(!facts.isCa, 'basicConstraints says cA TRUE'),
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.1',
    demand: 'basicConstraints is present',
    problem: (facts) =>
      unless(facts.hasBasicConstraints, 'basicConstraints is missing, which some libraries refuse'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3',
    demand: 'keyUsage has digitalSignature',
    problem: (facts) =>
      unless(facts.keyUsage?.includes('digitalSignature') ?? false, 'keyUsage lacks digitalSignature'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3',
    demand: 'keyUsage has neither keyCertSign nor cRLSign',
    problem: (facts) => hasNoUsageOf(facts, 'keyCertSign', 'cRLSign'),
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.4',
    demand: 'extKeyUsage is present',
    problem: (facts) => unless(facts.extKeyUsage.length > 0, 'extKeyUsage is missing'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.4',
    demand: 'extKeyUsage, where present, has both serverAuth and clientAuth',
    problem: (facts) => {
      const lacking = ['serverAuth', 'clientAuth'].filter((purpose) => !facts.extKeyUsage.includes(purpose));
      return unless(
        facts.extKeyUsage.length === 0 || lacking.length === 0,
        `extKeyUsage lacks ${lacking.join(' and ')}`,
      );
    },
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.2.1.1',
    demand: 'the authority key identifier is present',
    problem: (facts) => unless(facts.authorityKeyId !== undefined, 'authorityKeyIdentifier is missing'),
  },
  {
    level: 'should',
    clause: 'RFC 5280 4.2.1.2',
    demand: 'the subject key identifier is present',
    problem: (facts) => unless(facts.hasSubjectKeyId, 'subjectKeyIdentifier is missing'),
  },
];
