import { type CertificateClause, unless } from './clauses.ts';
import { parseSpiffeId } from './id.ts';
import { judgeNameConstraints } from './name-constraints.ts';
import { findExtension } from './pki/extensions.ts';

/** Clauses for a signing certificate. */
export const authorityClauses: readonly CertificateClause[] = [
  {
    level: 'must',
    clause: 'X509-SVID 4.1',
    demand: 'basicConstraints says cA',
    problem: (facts) => unless(facts.isCa, 'basicConstraints does not say cA TRUE'),
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.2.1.9',
    demand: 'basicConstraints is critical',
    problem: (facts) => unless(facts.basicConstraintsCritical, 'basicConstraints is not critical'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3',
    demand: 'keyUsage has keyCertSign',
    problem: (facts) =>
      unless(facts.keyUsage?.includes('keyCertSign') ?? false, 'keyUsage lacks keyCertSign'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3, appendix A',
    demand: 'keyUsage has nothing but keyCertSign and cRLSign',
    problem: (facts) => {
      const other = facts.keyUsage?.filter((usage) => usage !== 'keyCertSign' && usage !== 'cRLSign') ?? [];
      return other.length > 0 ? `keyUsage has ${other.join(' and ')}` : undefined;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 2',
    demand: 'there is at most one URI among the subject alternative names',
    problem: (facts) =>
      unless(
        facts.uris.length <= 1,
        `there are ${facts.uris.length} URIs among the subject alternative names`,
      ),
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.1',
    demand: 'the certificate carries the SPIFFE ID of its trust domain',
    problem: (facts) => unless(facts.uris.length > 0, 'there is no URI among the subject alternative names'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1',
    demand: 'the URI, where present, is a SPIFFE ID without path',
    problem: ({ uris }) => {
      for (const uri of uris) {
        const id = parseSpiffeId(uri);
        if (!id.ok) return id.reason;
        if (id.value.path !== '') return 'the SPIFFE ID of a signing certificate has a path';
      }
      return undefined;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1',
    demand: 'the SPIFFE ID, where present, is that of the expected trust domain',
    problem: ({ uris }, trustDomain) => {
      if (trustDomain === undefined) return undefined;
      const other = uris.filter((uri) => uri !== `spiffe://${trustDomain}`);
      return other.length > 0 ? `the SPIFFE ID is not spiffe://${trustDomain}` : undefined;
    },
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.1.2.4',
    demand: 'issuer and subject are not empty',
    problem: (facts) =>
      unless(
        facts.hasSubject && facts.hasIssuer,
        'issuer or subject is empty, which strict verifiers refuse',
      ),
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.2.1.2',
    demand: 'the subject key identifier is present',
    problem: (facts) => unless(facts.hasSubjectKeyId, 'subjectKeyIdentifier is missing'),
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.2.1.1',
    demand: 'the authority key identifier is present where another authority has signed',
    problem: (facts) =>
      unless(facts.selfIssued || facts.authorityKeyId !== undefined, 'authorityKeyIdentifier is missing'),
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.2.1.10',
    demand: 'name constraints, where present, permit the SPIFFE IDs of the trust domain',
    problem: (facts, expected) => {
      const own = parseSpiffeId(facts.uris[0] ?? '');
      const trustDomain = expected ?? (own.ok ? own.value.trustDomain : undefined);
      if (trustDomain === undefined) return undefined;
      const verdict = judgeNameConstraints(facts, trustDomain);
      return verdict.kind === 'refused' ? `the certificate ${verdict.reason}` : undefined;
    },
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.2',
    demand: 'there are no name constraints, which break verifiers that do not know them for URIs',
    problem: (facts) =>
      unless(!findExtension(facts.extensions, 'nameConstraints'), 'nameConstraints is present'),
  },
];
