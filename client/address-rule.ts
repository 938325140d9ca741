import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** A range of addresses, such as `10.0.0.0/8` or `fd00::/8`. */
export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
}

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

/**
 * The machine itself, link-local and multicast addresses, and services of clouds that give credentials to every client that
 * reaches them. A URL that somebody else chose must not lead a request to them.
 */
const refused = blockList([
  ...['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4'],
  // Alibaba Cloud, Azure and Oracle Cloud; the others use link-local addresses.
  ...['100.100.100.200/32', '168.63.129.16/32', '192.0.0.192/32'],
  ...['::/127', 'fe80::/10', 'ff00::/8', 'fd00:ec2::254/128'],
  // Those of IPv4 behind NAT64 (RFC 6052).
  ...['64:ff9b::7f00:0/104', '64:ff9b::a9fe:0/112'],
]);

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of ranges) {
    const range = parseAddressRange(text);
    if (range) add(list, range);
  }
  return list;
}

function add(list: BlockList, { address, prefix }: AddressRange): void {
  list.addSubnet(address, prefix, familyOf(address));
}

/** Reads an address with the length of its prefix; undefined if it is none. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [, address = '', digits = ''] = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(text) ?? [];
  const prefix = Number(digits);
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return prefix <= longest ? { address, prefix } : undefined;
}

/** Which addresses may be connected to. */
export interface AddressRule {
  /** Why an address is refused; undefined if it may be connected to. */
  problem(address: string): string | undefined;
  /** Why the host of a URL is refused, where it is an address: that is never looked up. */
  hostProblem(url: URL): string | undefined;
  /** For a request: the system's lookup, without addresses that are refused. */
  readonly lookup: LookupFunction;
}

/** @param allowed ranges that are not refused although they are special. */
export function createAddressRule(allowed: readonly AddressRange[]): AddressRule {
  const exceptions = new BlockList();
  for (const range of allowed) add(exceptions, range);

  function problem(address: string): string | undefined {
    const family = familyOf(address);
    if (!refused.check(address, family) || exceptions.check(address, family)) return undefined;
    return `the address ${address} is one of the machine itself, of its link or of a cloud's metadata service`;
  }

  return {
    problem,
    hostProblem({ hostname }) {
      const host = hostname.replace(/^\[|\]$/g, '');
      return isIP(host) === 0 ? undefined : problem(host);
    },
    lookup(hostname, options, done) {
      systemLookup(hostname, { ...options, all: true }, (error, found) => {
        if (error) return done(error, '', 0);
        const usable = found.filter(({ address }) => problem(address) === undefined);
        const [first] = usable;
        if (!first) {
          const reason = problem(found[0]?.address ?? '') ?? 'there is no address';
          return done(new Error(`${hostname}: ${reason}`), '', 0);
        }
        if (options.all) done(null, usable);
        else done(null, first.address, first.family);
      });
    },
  };
}
