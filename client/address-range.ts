import { BlockList, isIP } from 'node:net';

/** A range of addresses, such as `10.0.0.0/8` or `fd00::/8`. */
export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
}

/** Reads an address with the length of its prefix; undefined for other text. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [, address = '', digits = ''] = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(text) ?? [];
  const prefix = Number(digits);
  const longest = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return prefix <= longest ? { address, prefix } : undefined;
}

/** @returns whether an address is in one of the ranges. Text that is not a range has no address. */
export function rangeCheck(ranges: readonly (string | AddressRange)[]): (address: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const read = typeof range === 'string' ? parseAddressRange(range) : range;
    if (read) list.addSubnet(read.address, read.prefix, familyOf(read.address));
  }
  return (address) => list.check(address, familyOf(address));
}

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4');
