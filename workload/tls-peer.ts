import type { SpiffeId } from '../spiffe/id.ts';
import { type VerifiedSocket, verifiedId } from './gate.ts';

/**
 * The SPIFFE ID of the peer at the other end of a connection that was made with this library; undefined for any other
 * connection, and where clients are not verified.
 *
 * @param connection a TLS socket, such as `request.socket`, or `request.stream.session.socket` in HTTP/2; or a call that a
 *   server of @grpc/grpc-js handles. After the connection of a call was closed, the ID is undefined.
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
export function peerIdOf(connection: object): SpiffeId | undefined {
  return (connection as VerifiedSocket)[verifiedId] ?? socketOf(connection)?.[verifiedId];
}

/** What a gRPC call is made of: a call within the call, behind those of interceptors, and in the innermost one the stream. */
interface GrpcCall {
  readonly call?: GrpcCall;
  readonly nextCall?: GrpcCall;
  readonly stream?: { readonly session?: { readonly socket?: VerifiedSocket } };
}

/** @grpc/grpc-js has no public way to the socket of a call: its AuthContext is empty unless OpenSSL verified the client. */
function socketOf(call: GrpcCall): VerifiedSocket | undefined {
  const inner = call.call ?? call.nextCall;
  return inner ? socketOf(inner) : call.stream?.session?.socket;
}
