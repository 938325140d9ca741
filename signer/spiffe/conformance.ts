import type { CertificateFacts } from '../pki/certificate.ts';
import { findExtension } from '../pki/extensions.ts';
import { parseSpiffeId } from './id.ts';

/** One clause of a standard held against one certificate. Every clause is reported, the fulfilled ones too. */
export interface Finding {
  readonly level: 'must' | 'should';
  /** Where it is written, and the point of our checklist, for example "X509-SVID 4.3 (B2.9)". */
  readonly clause: string;
  readonly ok: boolean;
  /** What is demanded where `ok`, what is wrong where not. */
  readonly message: string;
}

interface Clause {
  readonly level: Finding['level'];
  readonly clause: string;
  /** The demand as a fact about a good certificate. */
  readonly demand: string;
  /** What is wrong, or undefined. */
  readonly problem: (facts: CertificateFacts, trustDomain: string | undefined) => string | undefined;
}

/** Extensions that we, OpenSSL, Go and Node all process; any other critical one makes verifiers refuse. */
const processedExtensions = new Set([
  'basicConstraints',
  'keyUsage',
  'extKeyUsage',
  'subjectAltName',
  'nameConstraints',
  'subjectKeyIdentifier',
  'authorityKeyIdentifier',
]);

const hasNoUsageOf = (facts: CertificateFacts, ...usages: string[]): string | undefined => {
  const found = facts.keyUsage?.filter((usage) => usages.includes(usage)) ?? [];
  return found.length > 0 ? `keyUsage has ${found.join(' and ')}` : undefined;
};

const unless = (ok: boolean, problem: string): string | undefined => (ok ? undefined : problem);

/** Clauses for every certificate of a SPIFFE trust domain. */
const commonClauses: readonly Clause[] = [
  {
    level: 'must',
    clause: 'X509-SVID 4.3 (B2.8)',
    demand: 'keyUsage is present and critical',
    problem: (facts) =>
      facts.keyUsage === undefined
        ? 'keyUsage is missing'
        : unless(facts.keyUsageCritical, 'keyUsage is not critical'),
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.2',
    demand: 'no critical extension is one that verifiers do not process',
    problem: (facts) => {
      const unknown = facts.extensions.filter(
        (extension) => extension.critical && !processedExtensions.has(extension.name),
      );
      return unknown.length > 0
        ? `critical extension ${unknown.map(({ name }) => name).join(', ')}`
        : undefined;
    },
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.1.2.5',
    demand: 'notAfter is later than notBefore',
    problem: (facts) => unless(facts.notAfter > facts.notBefore, 'notAfter is not later than notBefore'),
  },
];

const leafClauses: readonly Clause[] = [
  {
    level: 'must',
    clause: 'X509-SVID 2 (B2.1)',
    demand: 'there is exactly one URI among the subject alternative names',
    problem: (facts) =>
      unless(
        facts.uris.length === 1,
        `there are ${facts.uris.length} URIs among the subject alternative names`,
      ),
  },
  {
    level: 'must',
    clause: 'SPIFFE-ID 2 (B1)',
    demand: 'the URI is a SPIFFE ID',
    problem: ({ uris: [uri] }) => {
      const id = parseSpiffeId(uri ?? '');
      return id.ok ? undefined : id.reason;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1 (B2.2)',
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
    clause: 'RFC 5280 4.1.2.6 (B2.3)',
    demand: 'subjectAltName is critical where the subject is empty',
    problem: (facts) =>
      unless(
        facts.subjectText !== '' || facts.sanCritical,
        'the subject is empty and subjectAltName is not critical',
      ),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1 (B2.6)',
    demand: 'basicConstraints does not say cA',
    problem: (facts) => unless(!facts.isCa, 'basicConstraints says cA TRUE'),
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.1 (B2.6)',
    demand: 'basicConstraints is present',
    problem: (facts) =>
      unless(facts.hasBasicConstraints, 'basicConstraints is missing, which some libraries refuse'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3 (B2.9)',
    demand: 'keyUsage has digitalSignature',
    problem: (facts) =>
      unless(facts.keyUsage?.includes('digitalSignature') ?? false, 'keyUsage lacks digitalSignature'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3 (B2.9)',
    demand: 'keyUsage has neither keyCertSign nor cRLSign',
    problem: (facts) => hasNoUsageOf(facts, 'keyCertSign', 'cRLSign'),
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.4 (B2.10)',
    demand: 'extKeyUsage is present',
    problem: (facts) => unless(facts.extKeyUsage.length > 0, 'extKeyUsage is missing'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.4 (B2.10)',
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

const authorityClauses: readonly Clause[] = [
  {
    level: 'must',
    clause: 'X509-SVID 4.1 (B2.6)',
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
    clause: 'X509-SVID 4.3 (B2.8)',
    demand: 'keyUsage has keyCertSign',
    problem: (facts) =>
      unless(facts.keyUsage?.includes('keyCertSign') ?? false, 'keyUsage lacks keyCertSign'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.3, appendix A (B2.8)',
    demand: 'keyUsage has nothing but keyCertSign and cRLSign',
    problem: (facts) => {
      const other = facts.keyUsage?.filter((usage) => usage !== 'keyCertSign' && usage !== 'cRLSign') ?? [];
      return other.length > 0 ? `keyUsage has ${other.join(' and ')}` : undefined;
    },
  },
  {
    level: 'must',
    clause: 'X509-SVID 2 (B2.1)',
    demand: 'there is at most one URI among the subject alternative names',
    problem: (facts) =>
      unless(
        facts.uris.length <= 1,
        `there are ${facts.uris.length} URIs among the subject alternative names`,
      ),
  },
  {
    level: 'should',
    clause: 'X509-SVID 4.1 (B2.4)',
    demand: 'the certificate carries the SPIFFE ID of its trust domain',
    problem: (facts) => unless(facts.uris.length > 0, 'there is no URI among the subject alternative names'),
  },
  {
    level: 'must',
    clause: 'X509-SVID 4.1 (B2.4)',
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
    level: 'should',
    clause: 'X509-SVID 4.1 (B2.4)',
    demand: 'the SPIFFE ID is that of the expected trust domain',
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
        facts.subjectText !== '' && facts.issuerText !== '',
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
    level: 'should',
    clause: 'X509-SVID 4.2 (B2.7)',
    demand: 'there are no name constraints, which break verifiers that do not know them for URIs',
    problem: (facts) =>
      unless(!findExtension(facts.extensions, 'nameConstraints'), 'nameConstraints is present'),
  },
];

function check(
  clauses: readonly Clause[],
  facts: CertificateFacts,
  trustDomain: string | undefined,
): Finding[] {
  return clauses.map(({ level, clause, demand, problem }) => {
    const message = problem(facts, trustDomain);
    return { level, clause, ok: message === undefined, message: message ?? demand };
  });
}

/** Every clause for a workload's certificate. Signature, chain and dates against a clock are not judged here. */
export function checkLeaf(facts: CertificateFacts, trustDomain?: string): Finding[] {
  return check([...commonClauses, ...leafClauses], facts, trustDomain);
}

/** Every clause for a signing certificate, root or intermediate; with a trust domain, also that it is of that one. */
export function checkAuthority(facts: CertificateFacts, trustDomain?: string): Finding[] {
  return check([...commonClauses, ...authorityClauses], facts, trustDomain);
}
