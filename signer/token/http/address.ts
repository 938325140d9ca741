import type { Socket } from 'node:net';

/**
 * The address of a peer as logs, audit lines and limits name it; empty once the connection is gone. A socket that
 * listens for IPv6 and IPv4 shows IPv4 peers as `::ffff:10.244.1.17` (RFC 4291 2.5.5.2): they are plain IPv4 here.
 */
export function addressOf({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}
