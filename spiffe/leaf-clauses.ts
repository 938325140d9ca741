import { type CertificateClause, must, should } from './clauses.ts';
import { parseSpiffeId } from './id.ts';

/** Clauses for a workload's certificate. */
export const leafClauses: readonly CertificateClause[] = [
  must(
    'X509-SVID 2',
    'there is exactly one URI among the subject alternative names',
    ({ uris }) => uris.length === 1 || `there are ${uris.length} URIs among the subject alternative names`,
  ),
  must('SPIFFE-ID 2', 'the URI is a SPIFFE ID', ({ uris: [uri = ''] }) => {
    const id = parseSpiffeId(uri);
    return id.ok || id.reason;
  }),
  must('X509-SVID 4.1', 'the SPIFFE ID has a path', ({ uris: [uri = ''] }) => {
    const id = parseSpiffeId(uri);
    const hasPath = id.ok && id.value.path !== '';
    return hasPath || 'the SPIFFE ID has no path, so it names a trust domain and not a workload';
  }),
  must(
    'SPIFFE-ID 2.1',
    'the SPIFFE ID is of the expected trust domain',
    ({ uris: [uri = ''] }, trustDomain) => {
      if (trustDomain === undefined) return true;
      const id = parseSpiffeId(uri);
      const isExpected = id.ok && id.value.trustDomain === trustDomain;
      return isExpected || `the SPIFFE ID is not of the trust domain ${trustDomain}`;
    },
  ),
  must(
    'RFC 5280 4.1.2.6',
    'subjectAltName is critical where the subject is empty',
    ({ hasSubject, sanCritical }) =>
      hasSubject || sanCritical || 'the subject is empty and subjectAltName is not critical',
  ),
  must(
    'X509-SVID 4.1',
    'basicConstraints does not say cA',
    ({ isCa }) => !isCa || 'basicConstraints says cA TRUE',
  ),
  should(
    'X509-SVID 4.1',
    'basicConstraints is present',
    ({ hasBasicConstraints }) =>
      hasBasicConstraints || 'basicConstraints is missing, which some libraries refuse',
  ),
  must(
    'X509-SVID 4.3',
    'keyUsage has digitalSignature',
    ({ keyUsage }) => keyUsage?.includes('digitalSignature') || 'keyUsage lacks digitalSignature',
  ),
  must('X509-SVID 4.3', 'keyUsage has neither keyCertSign nor cRLSign', ({ keyUsage = [] }) => {
    const found = keyUsage.filter((usage) => ['keyCertSign', 'cRLSign'].includes(usage));
    return found.length === 0 || `keyUsage has ${found.join(' and ')}`;
  }),
  should(
    'X509-SVID 4.4',
    'extKeyUsage is present',
    ({ extKeyUsage }) => extKeyUsage.length > 0 || 'extKeyUsage is missing',
  ),
  must(
    'X509-SVID 4.4',
    'extKeyUsage, where present, has both serverAuth and clientAuth',
    ({ extKeyUsage }) => {
      const lacking = ['serverAuth', 'clientAuth'].filter((purpose) => !extKeyUsage.includes(purpose));
      const isMet = extKeyUsage.length === 0 || lacking.length === 0;
      return isMet || `extKeyUsage lacks ${lacking.join(' and ')}`;
    },
  ),
  must(
    'RFC 5280 4.2.1.1',
    'the authority key identifier is present',
    ({ authorityKeyId }) => authorityKeyId !== undefined || 'authorityKeyIdentifier is missing',
  ),
  should(
    'RFC 5280 4.2.1.2',
    'the subject key identifier is present',
    ({ hasSubjectKeyId }) => hasSubjectKeyId || 'subjectKeyIdentifier is missing',
  ),
];
