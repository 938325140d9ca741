import type { CertificateFacts } from './pki/certificate.ts';

/** One demand of a standard on a certificate, token or bundle, and how to see whether it is met. */
export interface Clause<Subject, Expected = undefined> {
  readonly level: 'must' | 'should';
  /** Where it is written, for example "X509-SVID 4.3". */
  readonly clause: string;
  /** The demand as a fact about a good subject. */
  readonly demand: string;
  /** True where it is met, else what is wrong. Values of a token are repeated only where they are safe to show. */
  readonly judge: Judge<Subject, Expected>;
}

type Judge<Subject, Expected> = (subject: Subject, expected: Expected) => true | string;

/** A clause that has to be met. The parameters are the members of Clause. */
export const must = <Subject, Expected = undefined>(
  clause: string,
  demand: string,
  judge: Judge<Subject, Expected>,
): Clause<Subject, Expected> => ({ level: 'must', clause, demand, judge });

/** A clause that is advice. */
export const should = <Subject, Expected = undefined>(
  ...row: Parameters<typeof must<Subject, Expected>>
): Clause<Subject, Expected> => ({ ...must(...row), level: 'should' });

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
  return clauses.map(({ level, clause, demand, judge }) => {
    const verdict = judge(subject, expected);
    return { level, clause, ok: verdict === true, message: verdict === true ? demand : verdict };
  });
}

/** A clause for certificates, and the trust domain that they should be of, if it is known. */
export type CertificateClause = Clause<CertificateFacts, string | undefined>;

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
  must('X509-SVID 4.3', 'keyUsage is present and critical', ({ keyUsage, keyUsageCritical }) => {
    if (keyUsage === undefined) return 'keyUsage is missing';
    return keyUsageCritical || 'keyUsage is not critical';
  }),
  must('RFC 5280 4.2', 'no critical extension is one that verifiers do not process', (facts) => {
    const names = unprocessedExtensions(facts);
    return names.length === 0 || `critical extension ${names.join(', ')}`;
  }),
  must(
    'RFC 5280 4.1.2.5',
    'notAfter is later than notBefore',
    ({ notBefore, notAfter }) => notAfter > notBefore || 'notAfter is not later than notBefore',
  ),
];
