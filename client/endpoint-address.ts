import { isIP } from 'node:net';
import { failure, type Result, success } from '../spiffe/pki/result.ts';

/** Where the Workload API is served. */
export type EndpointAddress =
  | { readonly kind: 'unix'; readonly path: string; readonly uri: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly uri: string };

/** sun_path of unix(7) has 108 bytes with the final zero. */
const maxSocketPathBytes = 107;

/**
 * Reads a value of SPIFFE_ENDPOINT_SOCKET (SPIFFE Workload Endpoint 4): `unix:///absolute/path` or `tcp://IP:port`. Only
 * an address of loopback says who connects, since the containers of a pod share it. Never throws.
 */
export function parseEndpointAddress(uri: string): Result<EndpointAddress> {
  const unix = /^unix:(?:\/\/)?(\/(?!\/).*)$/.exec(uri);
  if (unix) return unixAddress(unix[1] ?? '', uri);
  if (uri.startsWith('unix:'))
    return failure('the path of a unix address is absolute: unix:///run/spiffe/agent.sock');
  const tcp = /^tcp:\/\/(?:\[([^\]]*)\]|([^:/[\]]*)):([0-9]{1,5})$/.exec(uri);
  if (tcp) return tcpAddress(tcp[1] ?? tcp[2] ?? '', Number(tcp[3]), uri);
  return failure('an address is unix:///absolute/path, or tcp://IP:port without a path');
}

function unixAddress(path: string, uri: string): Result<EndpointAddress> {
  if (/[?#\0]/.test(path)) return failure('a unix address has no query, fragment or zero byte');
  const bytes = Buffer.byteLength(path);
  if (bytes > maxSocketPathBytes) {
    return failure(
      `the path has ${bytes} bytes; a socket has at most ${maxSocketPathBytes}. Choose a shorter one`,
    );
  }
  return success({ kind: 'unix', path, uri });
}

function tcpAddress(host: string, port: number, uri: string): Result<EndpointAddress> {
  if (isIP(host) === 0)
    return failure(`${JSON.stringify(host)} is not an IP address (SPIFFE Workload Endpoint 4)`);
  if (port > 65_535) return failure(`there is no port ${port}`);
  const isLoopback = host === '::1' || host.startsWith('127.');
  if (!isLoopback)
    return failure(`${host} is not an address of loopback: anyone on the network could connect`);
  return success({ kind: 'tcp', host: host.includes(':') ? `[${host}]` : host, port, uri });
}
