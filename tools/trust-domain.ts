import { parseTrustDomain } from '../spiffe/trust-domain.ts';
import { usageError } from './errors.ts';

/** Checks the value of --trust-domain, and returns it. @throws CliError USAGE */
export function trustDomainFlag<Given extends string | undefined>(given: Given): Given {
  const read = given === undefined ? undefined : parseTrustDomain(given);
  if (read && !read.ok) throw usageError(`--trust-domain ${given}: ${read.reason}`);
  return given;
}
