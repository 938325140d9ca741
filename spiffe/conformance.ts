import { authorityClauses } from './authority-clauses.ts';
import { type Clause, commonClauses } from './clauses.ts';
import { leafClauses } from './leaf-clauses.ts';
import type { CertificateFacts } from './pki/certificate.ts';

/** One clause of a standard held against one certificate. Every clause is reported, the fulfilled ones too. */
export interface Finding {
  readonly level: Clause['level'];
  /** Where it is written, for example "X509-SVID 4.3". */
  readonly clause: string;
  readonly ok: boolean;
  /** What is demanded where `ok`, what is wrong where not. */
  readonly message: string;
}

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
