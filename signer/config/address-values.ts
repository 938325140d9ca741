import { isIP } from 'node:net';
import { type AddressRange, parseAddressRange } from '../../client/address-range.ts';
import { failure, success } from '../../spiffe/pki/result.ts';
import type { ListenAddress } from '../observe/server.ts';
import type { ValueType } from './values.ts';

export const hostPort: ValueType<ListenAddress> = {
  placeholder: 'HOST:PORT',
  schema: { type: 'string', pattern: '^$|:\\d{1,5}$' },
  rule: 'an address to listen on; `:9402` means port 9402 of every address, port 0 a free one',
  parse(value) {
    const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(value);
    if (!match) return failure('is not HOST:PORT; write such as 127.0.0.1:9402, [::1]:9402 or :9402');
    const [, bracketed, plain = '', digits] = match;
    if (bracketed !== undefined && isIP(bracketed) !== 6)
      return failure(`has "${bracketed}", which is not an IPv6 address; write such as [::1]:9402`);
    const port = Number(digits);
    if (port > 65535) return failure(`has port ${port}; the highest is 65535`);
    return success({ host: bracketed ?? plain, port });
  },
};

/** A range of IP addresses. */
export const addressRange: ValueType<AddressRange> = {
  placeholder: 'CIDR',
  rule: 'a range of IP addresses, such as `10.0.0.0/8` or `fd00::/8`',
  parse(value) {
    const range = parseAddressRange(value);
    return range
      ? success(range)
      : failure('is not a range of IP addresses; write such as 10.0.0.0/8 or fd00::/8');
  },
};

/** An issuer as OpenID Connect Discovery 3 has it: compared as text, so there is one way to write it. */
export const issuerUrl: ValueType<string> = {
  placeholder: 'URL',
  rule: 'an https URL without query, fragment and final `/`',
  schema: { type: 'string', pattern: '^$|^https://[^?#]*[^/?#]$' },
  parse(value) {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const isPlain = url && !url.search && !url.hash && !url.username && !url.password;
    const written = url?.href.replace(/\/$/, '');
    return url?.protocol === 'https:' && isPlain && written === value
      ? success(value)
      : failure(
          'is not an https URL without user, query, fragment and final "/", with the host in lower case and no default port',
        );
  },
};

/** Where an HTTP API is, to whose paths its own are added. */
export const baseUrl: ValueType<string> = {
  placeholder: 'URL',
  rule: 'an http or https URL without user, query and fragment',
  parse(value) {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const isPlain = url && !url.search && !url.hash && !url.username && !url.password;
    return isPlain && /^https?:$/.test(url.protocol)
      ? success(url.href)
      : failure(
          'is not an http or https URL without user, query and fragment; write such as http://collector:4318',
        );
  },
};
