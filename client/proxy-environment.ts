import { isIP } from 'node:net';
import { percentDecoded } from '../spiffe/pki/text.ts';
import { rangeCheck } from './address-range.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that the environment names for a URL, by the rules of Go (golang.org/x/net/http/httpproxy) and so of
 * kubectl: HTTPS_PROXY or HTTP_PROXY by the scheme, NO_PROXY, and the same in lower case. Never for localhost.
 *
 * @throws Error for a proxy that cannot be used, without its credentials.
 */
export function proxyFromEnvironment(url: URL, env: Environment): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const value = env[name] || env[name.toLowerCase()];
  if (!value) return undefined;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const host = hostOf(url);
  return isBypassed(host, port, env.NO_PROXY || env.no_proxy || '') ? undefined : parseProxy(value, name);
}

/** @param source what names the proxy, for the message. @throws Error without the credentials in the URL. */
export function parseProxy(text: string, source: string): URL {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  // The environment may name a host and a port alone.
  const complete = isUrl || source === 'proxy-url' ? text : `http://${text}`;
  const url = URL.canParse(complete) ? new URL(complete) : undefined;
  if (!url || url.hostname === '') throw new Error(`${source} is not the URL of a proxy`);
  if (percentDecoded(`${url.username}:${url.password}`) === undefined) {
    throw new Error(`${source} has a % in its user name or password that encodes nothing; write it as %25`);
  }
  if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  throw new Error(
    `${source} names a ${url.protocol.slice(0, -1)} proxy, and only http and https proxies are supported`,
  );
}

const isLoopback = rangeCheck(['127.0.0.0/8', '::1/128']);

function isBypassed(host: string, port: string, noProxy: string): boolean {
  const isAddress = isIP(host) !== 0;
  if (host === 'localhost' || (isAddress && isLoopback(host))) return true;
  const patterns = noProxy
    .split(',')
    .map((each) => each.trim().toLowerCase())
    .filter((each) => each !== '');
  return patterns.some((pattern) => {
    if (pattern === '*') return true;
    if (pattern.includes('/')) return isAddress && rangeCheck([pattern])(host);
    const [name, onlyPort] = splitPort(pattern);
    if (onlyPort !== undefined && onlyPort !== port) return false;
    if (name === '') return false;
    if (isIP(name) !== 0) return isAddress && rangeCheck([`${name}/${isIP(name) === 6 ? 128 : 32}`])(host);
    // `example.org` is the name and all below it; `.example.org` and `*.example.org` are those below it alone.
    if (name.startsWith('*.')) return host.endsWith(name.slice(1));
    return name.startsWith('.') ? host.endsWith(name) : host === name || host.endsWith(`.${name}`);
  });
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
}

/** A host, with the port that may follow it; the brackets of an IPv6 address are taken off. */
function splitPort(pattern: string): [host: string, port?: string] {
  if (isIP(pattern) !== 0) return [pattern];
  const [, host = pattern, port] = /^(.*):(\d*)$/.exec(pattern) ?? [];
  const bare = host.replace(/^\[|\]$/g, '');
  return port ? [bare, port] : [bare];
}
