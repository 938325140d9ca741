import type { LookupAddress } from 'node:dns';
import { lookup, Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

/** The first try waits so many milliseconds, the second one twice as long. */
const limits = { timeout: 4_000, tries: 2 };

/** Without a dot, or the name of a Service without the domain of the cluster. */
const shortName = /^[^.]+$|\.svc$/;

/**
 * Finds the addresses of a host by the hosts file, then by DNS within 12 s. Lookups of the system share two threads of the process
 * (libuv), so two names whose servers never answer would delay all others. They are used for short names of the cluster, which
 * the system completes as resolv.conf says, and for names that DNS does not know.
 *
 * @throws Error with the code of DNS, such as ENOTFOUND or ETIMEOUT.
 */
export async function addressesOf(
  hostname: string,
  resolver: Pick<Resolver, 'resolve4' | 'resolve6'> = new Resolver(limits),
): Promise<readonly LookupAddress[]> {
  const listed = inHostsFile(hostname);
  if (listed.length > 0) return listed;
  if (shortName.test(hostname)) return lookup(hostname, { all: true });
  const answers = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  if (found.length > 0) return found.map(toLookupAddress);
  const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
  const other = failures.find(({ code }) => code !== 'ENOTFOUND' && code !== 'ENODATA');
  if (other) throw other;
  return lookup(hostname, { all: true });
}

const toLookupAddress = (address: string): LookupAddress => ({ address, family: isIP(address) });

/** hosts(5). It is small, and may change while the process runs. */
function inHostsFile(hostname: string): LookupAddress[] {
  let text: string;
  try {
    text = readFileSync('/etc/hosts', 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    return isIP(address) !== 0 && names.includes(hostname) ? [toLookupAddress(address)] : [];
  });
}
