import { type CertificateClause, must, should } from './clauses.ts';
import { parseSpiffeId } from './id.ts';
import { judgeNameConstraints } from './name-constraints.ts';
import { findExtension } from './pki/extensions.ts';

/** Clauses for a signing certificate. */
export const authorityClauses: readonly CertificateClause[] = [
  must(
    'X509-SVID 4.1',
    'basicConstraints says cA',
    ({ isCa }) => isCa || 'basicConstraints does not say cA TRUE',
  ),
  must(
    'RFC 5280 4.2.1.9',
    'basicConstraints is critical',
    ({ basicConstraintsCritical }) => basicConstraintsCritical || 'basicConstraints is not critical',
  ),
  must(
    'X509-SVID 4.3',
    'keyUsage has keyCertSign',
    ({ keyUsage }) => keyUsage?.includes('keyCertSign') || 'keyUsage lacks keyCertSign',
  ),
  must(
    'X509-SVID 4.3, appendix A',
    'keyUsage has nothing but keyCertSign and cRLSign',
    ({ keyUsage = [] }) => {
      const other = keyUsage.filter((usage) => usage !== 'keyCertSign' && usage !== 'cRLSign');
      return other.length === 0 || `keyUsage has ${other.join(' and ')}`;
    },
  ),
  must(
    'X509-SVID 2',
    'there is at most one URI among the subject alternative names',
    ({ uris }) => uris.length <= 1 || `there are ${uris.length} URIs among the subject alternative names`,
  ),
  should(
    'X509-SVID 4.1',
    'the certificate carries the SPIFFE ID of its trust domain',
    ({ uris }) => uris.length > 0 || 'there is no URI among the subject alternative names',
  ),
  must('X509-SVID 4.1', 'the URI, where present, is a SPIFFE ID without path', ({ uris }) => {
    for (const uri of uris) {
      const id = parseSpiffeId(uri);
      if (!id.ok) return id.reason;
      if (id.value.path !== '') return 'the SPIFFE ID of a signing certificate has a path';
    }
    return true;
  }),
  must(
    'X509-SVID 4.1',
    'the SPIFFE ID, where present, is that of the expected trust domain',
    ({ uris }, trustDomain) => {
      const isExpected = trustDomain === undefined || uris.every((uri) => uri === `spiffe://${trustDomain}`);
      return isExpected || `the SPIFFE ID is not spiffe://${trustDomain}`;
    },
  ),
  must(
    'RFC 5280 4.1.2.4',
    'issuer and subject are not empty',
    ({ hasSubject, hasIssuer }) =>
      (hasSubject && hasIssuer) || 'issuer or subject is empty, which strict verifiers refuse',
  ),
  must(
    'RFC 5280 4.2.1.2',
    'the subject key identifier is present',
    ({ hasSubjectKeyId }) => hasSubjectKeyId || 'subjectKeyIdentifier is missing',
  ),
  must(
    'RFC 5280 4.2.1.1',
    'the authority key identifier is present where another authority has signed',
    ({ selfIssued, authorityKeyId }) =>
      selfIssued || authorityKeyId !== undefined || 'authorityKeyIdentifier is missing',
  ),
  must(
    'RFC 5280 4.2.1.10',
    'name constraints, where present, permit the SPIFFE IDs of the trust domain',
    (facts, expected) => {
      const own = parseSpiffeId(facts.uris[0] ?? '');
      const trustDomain = expected ?? (own.ok ? own.value.trustDomain : undefined);
      if (trustDomain === undefined) return true;
      const verdict = judgeNameConstraints(facts, trustDomain);
      return verdict.kind !== 'refused' || `the certificate ${verdict.reason}`;
    },
  ),
  should(
    'X509-SVID 4.2',
    'there are no name constraints, which break verifiers that do not know them for URIs',
    ({ extensions }) => !findExtension(extensions, 'nameConstraints') || 'nameConstraints is present',
  ),
];
