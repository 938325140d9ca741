import { authorityClauses } from './authority-clauses.ts';
import { check, commonClauses, type Finding } from './clauses.ts';
import { leafClauses } from './leaf-clauses.ts';
import type { CertificateFacts } from './pki/certificate.ts';

/** Every clause for a workload's certificate. Signature, chain and dates against a clock are not judged here. */
export function checkLeaf(facts: CertificateFacts, trustDomain?: string): Finding[] {
  return check([...commonClauses, ...leafClauses], facts, trustDomain);
}

/** Every clause for a signing certificate, root or intermediate; with a trust domain, also that it is of that one. */
export function checkAuthority(facts: CertificateFacts, trustDomain?: string): Finding[] {
  return check([...commonClauses, ...authorityClauses], facts, trustDomain);
}
