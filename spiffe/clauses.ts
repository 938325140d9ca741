import type { CertificateFacts } from './pki/certificate.ts';

/** One demand of a standard on a certificate, token or bundle, and how to see whether it is met. */
export interface Clause<Subject, Expected = undefined> {
  readonly level: 'must' | 'should';
  /** Where it is written, for example "X509-SVID 4.3". */
  readonly clause: string;
  /** The demand as a fact about a good subject. */
  readonly demand: string;
  /** What is wrong, or undefined. Values of a token are repeated only where they are safe to show. */
  readonly problem: (subject: Subject, expected: Expected) => string | undefined;
}

/** The result of one clause of a standard for one subject. */
export interface Finding {
  readonly level: 'must' | 'should';
  /** Where it is written, for example "X509-SVID 4.3". */
  readonly clause: string;
  readonly ok: boolean;
  /** What is demanded where `ok`, what is wrong where not. */
  readonly message: string;
}

/** Checks a subject by every clause. The fulfilled ones are reported too. */
export function check<Subject, Expected>(
  clauses: readonly Clause<Subject, Expected>[],
  subject: Subject,
  expected: Expected,
): Finding[] {
  return clauses.map(({ level, clause, demand, problem }) => {
    const message = problem(subject, expected);
    return { level, clause, ok: message === undefined, message: message ?? demand };
  });
}

/** A clause for certificates, and the trust domain that they should be of, if it is known. */
export type CertificateClause = Clause<CertificateFacts, string | undefined>;

/** The problem, unless all is well. */
export const unless = (ok: boolean, problem: string): string | undefined => (ok ? undefined : problem);

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

/** The critical extensions of a certificate because of which verifiers refuse it, by name or object identifier. */
export function unprocessedExtensions({ extensions }: Pick<CertificateFacts, 'extensions'>): string[] {
  return extensions
    .filter(({ critical, name }) => critical && !processedExtensions.has(name))
    .map(({ name }) => name);
}

/** Clauses for every certificate of a SPIFFE trust domain. */
export const commonClauses: readonly CertificateClause[] = [
  {
    level: 'must',
    clause: 'X509-SVID 4.3',
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
      const names = unprocessedExtensions(facts);
      return unless(names.length === 0, `critical extension ${names.join(', ')}`);
    },
  },
  {
    level: 'must',
    clause: 'RFC 5280 4.1.2.5',
    demand: 'notAfter is later than notBefore',
    problem: (facts) => unless(facts.notAfter > facts.notBefore, 'notAfter is not later than notBefore'),
  },
];
