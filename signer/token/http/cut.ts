import type { Socket } from 'node:net';
import type { FastifyReply } from 'fastify';
import { type Refused, refuse } from '../../observe/refusals.ts';
import { maxHeaderBytes } from './limits.ts';
import { bodyOf } from './refusal.ts';

/** After its answer a peer has so long to take it and to close; then it is closed whatever the peer does. */
const partingMs = 1_000;

interface Fault {
  readonly status: string;
  readonly refusal: Refused;
}

export interface CutNeeds {
  /** The last request that was read from a connection; undefined before the first. */
  readonly lastOn: (socket: Socket) => FastifyReply | undefined;
  /** Is told of each refusal. @param reply of the request at fault, as far as it was read. */
  readonly onRefusal: (refusal: Refused, socket: Socket, reply: FastifyReply | undefined) => void;
  /** Is told of each connection that came to no TLS session, unless the peer itself gave up. */
  readonly onHandshakeFailed: () => void;
}

/**
 * Makes what ends a connection that brings no request: one whose handshake fails or takes too long, what is no HTTP, is
 * too large or too slow. Such a peer may be hostile, and would keep a connection that is only half closed.
 */
export function createCut(needs: CutNeeds): (error: NodeJS.ErrnoException, socket: Socket) => void {
  const faults: Readonly<Record<string, Fault>> = {
    HPE_HEADER_OVERFLOW: {
      status: '431 Request Header Fields Too Large',
      refusal: refuse('RequestTooLarge', `the headers have more than ${maxHeaderBytes} bytes`),
    },
    ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', refusal: refuse('RequestTooSlow') },
  };
  const otherwise: Fault = {
    status: '400 Bad Request',
    refusal: refuse('RequestMalformed', 'it is no HTTP/1.1'),
  };
  const parting = new WeakSet<Socket>();

  return (error, socket) => {
    // What still comes in while the answer goes out is no further fault.
    if (parting.has(socket)) return;
    const { code = '' } = error;
    if (/^ERR_(TLS|SSL)_/.test(code)) {
      needs.onHandshakeFailed();
      socket.destroy();
      return;
    }
    if (!socket.writable || code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const { status, refusal } = faults[code] ?? otherwise;
    const last = needs.lastOn(socket);
    const isUnderWay = last && !(last.request.raw.complete && last.raw.writableFinished);
    if (isUnderWay && (last.request.raw.complete || last.raw.headersSent)) {
      // Either it has its answer and goes on sending, or a later request is at fault, and what is said to that now
      // would be taken for the answer to this one.
      if (last.request.raw.complete) needs.onRefusal(refusal, socket, undefined);
      socket.destroy();
      return;
    }
    needs.onRefusal(refusal, socket, isUnderWay ? last : undefined);
    const body = bodyOf(refusal);
    parting.add(socket);
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
    const timer = setTimeout(() => socket.destroy(), partingMs);
    socket.once('close', () => clearTimeout(timer));
  };
}
