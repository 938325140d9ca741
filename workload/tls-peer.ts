import type { SpiffeId } from '../spiffe/id.ts';
import { type VerifiedSocket, verifiedId } from './gate.ts';

/**
 * The SPIFFE ID of the peer at the other end of a connection that was made with this library; undefined for any other
 * connection, and where clients are not verified.
 *
 * @param socket a TLS socket, such as `request.socket`, or `request.stream.session.socket` in HTTP/2.
 *
 * @example
 * ```js
 * import { createServer } from 'node:https';
 * import { memberOf } from 'kubespiffe/authorize';
 * import { peerIdOf } from 'kubespiffe/tls-peer';
 * import { createMtlsServer } from 'kubespiffe/tls-server';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const server = createMtlsServer(
 *   (tls) => createServer(tls, (request, response) => response.end(peerIdOf(request.socket)?.uri)),
 *   { source, authorize: memberOf('example.org') },
 * );
 * server.close();
 * ```
 */
export function peerIdOf(socket: object): SpiffeId | undefined {
  return (socket as VerifiedSocket)[verifiedId];
}
