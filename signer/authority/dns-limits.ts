import { isDnsBase, joinDnsConstraints } from '../../spiffe/name-constraints.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { PooledAuthority } from './authority.ts';

/** The DNS names that a CA in place of another one may sign, as its certificate is to say it. */
export interface DnsLimits {
  readonly permittedDnsNames: readonly string[];
  readonly excludedDnsNames: readonly string[];
}

/**
 * What the whole chain of a CA says of DNS names, for one certificate. A failure if the chain names what is not a DNS name:
 * verifiers read that in different ways, and a certificate without it might allow more.
 */
export function dnsLimitsOf({
  id,
  dnsConstraints,
}: Pick<PooledAuthority, 'id' | 'dnsConstraints'>): Result<DnsLimits> {
  const { permitted, excluded } = joinDnsConstraints(dnsConstraints);
  const unusual = [...permitted, ...excluded].find((base) => base !== '' && !isDnsBase(base));
  if (unusual === undefined) return success({ permittedDnsNames: permitted, excludedDnsNames: excluded });
  const name = JSON.stringify(unusual.slice(0, 253));
  return failure(`the name constraints of authority ${id} have ${name}, which is not a DNS name`);
}
