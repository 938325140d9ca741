import { isIP } from 'node:net';
import type { Credentials, TlsOptions } from './credentials.ts';

/** Where to connect, with the current TLS material, so that a rotated CA or client certificate is used. */
export function endpointOf({ server, tls }: Credentials): TlsOptions & { host: string; port: number } {
  const host = server.hostname.replace(/^\[|\]$/g, '');
  const port = Number(server.port) || (server.protocol === 'http:' ? 80 : 443);
  return { ...(isIP(host) === 0 && { servername: host }), ...tls, host, port };
}
