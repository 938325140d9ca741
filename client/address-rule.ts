import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { type AddressRange, rangeCheck } from './address-range.ts';
import { addressesOf } from './host-lookup.ts';

/**
 * The machine itself, link-local and multicast addresses, and services of clouds that give credentials to every client that
 * reaches them. A URL that another party chose must not lead a request to them.
 */
const isSpecial = rangeCheck([
  ...['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4'],
  // Alibaba Cloud, Azure and Oracle Cloud; the others use link-local addresses.
  ...['100.100.100.200/32', '168.63.129.16/32', '192.0.0.192/32'],
  ...['::/127', 'fe80::/10', 'ff00::/8'],
  // Amazon, Google Cloud, Oracle Cloud, Scaleway, Akamai and Alibaba Cloud.
  ...['fd00:ec2::/32', 'fd20:ce::254/128', 'fd00:c1::a9fe:a9fe/128'],
  ...['fd00:42::42/128', 'fd00:a9fe:a9fe::1/128', 'fd00:100::100:200/128'],
  // Teredo (RFC 4380) is for clients behind a home router. No server has such an address.
  '2001::/32',
]);

/** Where the last 32 bits are an IPv4 address. */
const atTheEnd = [12, 13, 14, 15];

/** IPv6 ranges whose addresses embed an IPv4 address, and the offsets of its four bytes. */
const carriers = [
  // IPv4-compatible (RFC 4291 2.5.5.1) and IPv4-translated (RFC 7915); BlockList knows those that are IPv4-mapped.
  { range: '::/96', places: [atTheEnd] },
  { range: '::ffff:0:0:0/96', places: [atTheEnd] },
  // NAT64. In the range for local use the operator chooses the length of the prefix (RFC 6052 2.2, RFC 8215).
  { range: '64:ff9b::/96', places: [atTheEnd] },
  {
    range: '64:ff9b:1::/48',
    places: [atTheEnd, [6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12]],
  },
  // 6to4 (RFC 3056).
  { range: '2002::/16', places: [[2, 3, 4, 5]] },
].map(({ range, places }) => ({ has: rangeCheck([range]), places }));

/**
 * The IPv4 addresses that an IPv6 address may lead to. No translator sends packets to the range of zeros, to groups or to
 * reserved addresses, so these are left out: they are found where an address is read by the wrong length of the prefix.
 */
function carriedBy(address: string): string[] {
  if (isIP(address) !== 6) return [];
  const places = carriers.flatMap(({ has, places }) => (has(address) ? places : []));
  const bytes = places.length === 0 ? [] : bytesOf(address);
  return places
    .map((place) => place.map((at) => bytes[at] ?? 0))
    .filter(([first = 0]) => first > 0 && first < 224)
    .map((address) => address.join('.'));
}

/** The 16 bytes of an IPv6 address. */
function bytesOf(address: string): number[] {
  // This writes all of it in groups, also where its end is written as an IPv4 address.
  const { hostname } = new URL(`http://[${address}]/`);
  const [before = [], after = []] = hostname
    .slice(1, -1)
    .split('::')
    .map((half) => half.split(':').filter((group) => group !== ''));
  const left = Array(8 - before.length - after.length).fill('0');
  return [...before, ...left, ...after].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

export type AddressRule = ReturnType<typeof createAddressRule>;

/** Which addresses may be connected to. @param allowed ranges that are not refused although they are special. */
export function createAddressRule(allowed: readonly AddressRange[], resolve = addressesOf) {
  const isAllowed = rangeCheck(allowed);

  /** Why an address is refused; undefined if it may be connected to. */
  function problem(given: string): string | undefined {
    // The zone of a link-local address is no part of it.
    const [address = ''] = given.split('%');
    if (![address, ...carriedBy(address)].some(isSpecial) || isAllowed(address)) return undefined;
    return `the address ${address} is one of the machine itself, of its link or of a cloud's metadata service`;
  }

  /** For a request: the addresses of a host, without those that are refused. */
  const lookup: LookupFunction = (hostname, options, done) => {
    const answer = (found: readonly LookupAddress[]) => {
      const usable = found.filter(({ address }) => problem(address) === undefined);
      const [first] = usable;
      if (!first) {
        const reason = problem(found[0]?.address ?? '') ?? 'there is no address';
        return done(new Error(`${hostname}: ${reason}`), '', 0);
      }
      if (options.all) done(null, usable);
      else done(null, first.address, first.family);
    };
    resolve(hostname).then(answer, (error) => done(error, '', 0));
  };

  return {
    problem,
    /** Why the host of a URL is refused, where it is an address: that is never looked up. */
    hostProblem({ hostname }: URL): string | undefined {
      const host = hostname.replace(/^\[|\]$/g, '');
      return isIP(host) === 0 ? undefined : problem(host);
    },
    lookup,
  };
}
