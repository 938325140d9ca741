import { isIP } from 'node:net';
import { type AddressRange, parseAddressRange } from '../../client/address-rule.ts';
import { isDnsLabel, isDnsName } from '../../spiffe/dns-name.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { type CertManagerIssuer, parseIssuer } from '../authority/upstream/upstream.ts';
import { isLabelKey } from '../kube/label-selector.ts';
import type { ListenAddress } from '../observe/server.ts';
import { nearest } from './nearest.ts';

/** A kind of value that a setting may have. */
export interface ValueType<T> {
  /** How a value is named in usage lines, such as `DURATION`. */
  readonly placeholder: string;
  /** The rules in one sentence, for help and documentation. */
  readonly rule: string;
  /** The values, where they are a few words. */
  readonly words?: readonly string[];
  /** Reads a value as written; the reason of a failure says how to write it. */
  parse(text: string): Result<T>;
}

export interface NamespacedName {
  namespace: string;
  name: string;
}

export const text: ValueType<string> = {
  placeholder: 'TEXT',
  rule: 'any text',
  parse: (value) => success(value),
};

export const filePath: ValueType<string> = {
  placeholder: 'FILE',
  rule: 'path of a file',
  parse: (value) =>
    value.includes('\0') ? failure('contains a NUL character, which no path may have') : success(value),
};

export const certManagerIssuer: ValueType<CertManagerIssuer> = {
  placeholder: 'KIND/NAME',
  rule: 'an issuer of cert-manager: `Issuer/NAME`, `ClusterIssuer/NAME`, or `KIND.GROUP/NAME` for one of another group',
  parse: parseIssuer,
};

export const objectName: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a Kubernetes name: lower-case letters, digits, `-` and `.`, at most 253 characters',
  parse: (value) =>
    isDnsName(value)
      ? success(value)
      : failure(
          'is not a Kubernetes name; use lower-case letters, digits, "-" and ".", at most 253 characters',
        ),
};

/** `-preview` is added to it, and a name has at most 253 characters. */
export const bundleSuffix: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a Kubernetes name: lower-case letters, digits, `-` and `.`, at most 245 characters',
  parse: (value) =>
    value.length <= 245
      ? objectName.parse(value)
      : failure('has more than 245 characters; use a shorter name'),
};

export const namespaceName: ValueType<string> = {
  placeholder: 'NAMESPACE',
  rule: 'the name of a namespace',
  parse: (value) =>
    isDnsLabel(value)
      ? success(value)
      : failure(
          'is not the name of a namespace; use lower-case letters, digits and "-", at most 63 characters',
        ),
};

export const namespacedName: ValueType<NamespacedName> = {
  placeholder: 'NAMESPACE/NAME',
  rule: 'namespace and name of an object, separated by `/`',
  parse(value) {
    const [namespace, name, ...rest] = value.split('/');
    if (namespace === undefined || name === undefined || rest.length > 0) {
      return failure('is not NAMESPACE/NAME; write both, such as kubespiffe/kubespiffe-pool');
    }
    if (!isDnsLabel(namespace))
      return failure(
        `has a part "${namespace}" that is not the name of a namespace; use lower-case letters, digits and "-", at most 63 characters`,
      );
    if (!isDnsName(name))
      return failure(
        `has a part "${name}" that is not the name of an object; use lower-case letters, digits, "-" and "."`,
      );
    return success({ namespace, name });
  },
};

export const hostPort: ValueType<ListenAddress> = {
  placeholder: 'HOST:PORT',
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

/** One of a few words. */
export function choice<T extends string>(words: readonly T[]): ValueType<T> {
  return {
    placeholder: words.join('|'),
    rule: `one of ${words.map((word) => `\`${word}\``).join(', ')}`,
    words,
    parse(value) {
      const word = words.find((candidate) => candidate === value);
      if (word) return success(word);
      const guess = nearest(value, words);
      return failure(`is not one of ${words.join(', ')}${guess ? `; did you mean "${guess}"?` : ''}`);
    },
  };
}

const words = choice<'true' | 'false'>(['true', 'false']);

/** Whether something is on. */
export const boolean: ValueType<boolean> = {
  ...words,
  parse(value) {
    const read = words.parse(value);
    return read.ok ? success(read.value === 'true') : read;
  },
};

/** A decimal number within bounds, both included. */
export function decimal(least: number, most: number): ValueType<number> {
  return {
    placeholder: 'NUMBER',
    rule: `a number from ${least} to ${most}`,
    parse(value) {
      const number = /^\d+(\.\d+)?$/.test(value) ? Number(value) : Number.NaN;
      if (!(number >= least && number <= most)) return failure(`is not a number from ${least} to ${most}`);
      return success(number);
    },
  };
}

/** A whole number within bounds, both included. */
export function whole(least: number, most: number): ValueType<number> {
  return {
    placeholder: 'NUMBER',
    rule: `a whole number from ${least} to ${most}`,
    parse(value) {
      const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
      if (!(number >= least && number <= most))
        return failure(`is not a whole number from ${least} to ${most}`);
      return success(number);
    },
  };
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration such as `1h30m`, or undefined when it is none. Units go from large to small. */
export function parseDuration(value: string): number | undefined {
  if (!/^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$/.test(value) || value === '') return undefined;
  let total = 0;
  for (const [, count, unit = ''] of value.matchAll(/(\d+)(ms|[dhms])/g))
    total += Number(count) * (unitMs[unit] ?? 0);
  return total;
}

/** A duration in milliseconds, within bounds that are written as durations, both included. */
export function duration(least: string, most: string): ValueType<number> {
  const [leastMs = 0, mostMs = 0] = [parseDuration(least), parseDuration(most)];
  return {
    placeholder: 'DURATION',
    rule: `a duration such as \`90s\`, \`1h30m\` or \`24h\`, from ${least} to ${most}`,
    parse(value) {
      const ms = parseDuration(value);
      if (ms === undefined)
        return failure('is not a duration; write numbers with units (d, h, m, s, ms), such as 1h30m');
      if (ms < leastMs || ms > mostMs) return failure(`is not between ${least} and ${most}`);
      return success(ms);
    },
  };
}

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

/** One or more values, separated by commas. */
export function list<T>(of: ValueType<T>): ValueType<readonly T[]> {
  return {
    placeholder: `${of.placeholder},…`,
    rule: `one or more, separated by commas; each ${of.rule}`,
    parse(value) {
      const values: T[] = [];
      for (const part of value.split(',')) {
        const read =
          part.trim() === '' ? failure('has an empty entry; remove the extra comma') : of.parse(part.trim());
        if (!read.ok) return read;
        values.push(read.value);
      }
      return success(values);
    },
  };
}

/** A segment of the path of a SPIFFE ID (SPIFFE-ID 2.2). */
export const nameSegment: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'letters, digits, `.`, `-` and `_`, at most 63 characters',
  parse: (value) =>
    /^[A-Za-z0-9._-]{1,63}$/.test(value) && value !== '.' && value !== '..'
      ? success(value)
      : failure('has other characters than letters, digits, ".", "-" and "_", or more than 63'),
};

/** The key of an annotation, which is that of a label too. */
export const annotationKey: ValueType<string> = {
  placeholder: 'KEY',
  rule: 'the key of an annotation, such as `example.org/team`',
  parse: (value) =>
    isLabelKey(value)
      ? success(value)
      : failure('is not the key of an annotation; write such as example.org/team'),
};

/** A DNS name as a certificate may carry it. */
export const dnsName: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a DNS name in lower case',
  parse: (value) => (isDnsName(value) ? success(value) : failure('is not a DNS name in lower case')),
};

/** `<hostname>.<service>.<namespace>.`, 63 characters each, and such a domain make 253: the longest DNS name. */
const longestServiceDomain = 61;

/**
 * A domain of Services in the DNS of a cluster. It begins with `svc.` and has no other label `svc`. Otherwise
 * `<hostname>.<service>.<namespace>` in one domain could be the name of a Service of another namespace in another one.
 */
export const serviceDomain: ValueType<string> = {
  placeholder: 'DOMAIN',
  rule: `a DNS name in lower case that begins with \`svc.\`, at most ${longestServiceDomain} characters`,
  parse(value) {
    if (!isDnsName(value)) return failure('is not a DNS name in lower case');
    const [first, ...others] = value.split('.');
    if (first !== 'svc' || others.length === 0 || others.includes('svc')) {
      return failure('does not begin with "svc.", or has "svc" again; write such as svc.cluster.local');
    }
    return value.length <= longestServiceDomain
      ? success(value)
      : failure(`has more than ${longestServiceDomain} characters, with which a DNS name could get too long`);
  },
};

/** An issuer as OpenID Connect Discovery 3 has it: compared as text, so there is one way to write it. */
export const issuerUrl: ValueType<string> = {
  placeholder: 'URL',
  rule: 'an https URL without query, fragment and final `/`',
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
