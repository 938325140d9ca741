import type { Socket } from 'node:net';
import type { FastifyReply } from 'fastify';
import type { Time } from '../../kube/time.ts';
import { type Refused, refuse } from '../../observe/checked.ts';
import { maxHeaderBytes } from './limits.ts';
import { bodyOf } from './refusal.ts';

/** Time for a client to read its answer and close. Then the connection is closed by us. */
const partingMs = 1_000;

interface Problem {
  readonly status: string;
  readonly refusal: Refused;
}

export interface CutNeeds {
  /** The last request that was read from a connection; undefined before the first. */
  readonly lastOn: (socket: Socket) => FastifyReply | undefined;
  /** Receives each refusal. @param reply of the request that caused it, if one was read. */
  readonly onRefusal: (refusal: Refused, socket: Socket, reply: FastifyReply | undefined) => void;
  /** Is called for each connection without a TLS session, unless the client gave up. */
  readonly onHandshakeFailed: () => void;
  readonly time: Time;
}

/**
 * Ends connections that bring no valid request: the handshake fails or takes too long, or the request is not HTTP, too
 * large or too slow. Such a client may be hostile and keep a half-closed connection open, so it is closed on both sides.
 */
export function createCut(needs: CutNeeds): (error: NodeJS.ErrnoException, socket: Socket) => void {
  const problems: Readonly<Record<string, Problem>> = {
    HPE_HEADER_OVERFLOW: {
      status: '431 Request Header Fields Too Large',
      refusal: refuse('RequestTooLarge', `the headers have more than ${maxHeaderBytes} bytes`),
    },
    ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', refusal: refuse('RequestTooSlow') },
  };
  const noHttp: Problem = {
    status: '400 Bad Request',
    refusal: refuse('RequestMalformed', 'it is not HTTP/1.1'),
  };
  const parting = new WeakSet<Socket>();

  return (error, socket) => {
    // More errors from the same connection while the answer is sent are not reported.
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
    const { status, refusal } = problems[code] ?? noHttp;
    const last = needs.lastOn(socket);
    const isUnderWay = last && !(last.request.raw.complete && last.raw.writableFinished);
    if (isUnderWay && (last.request.raw.complete || last.raw.headersSent)) {
      // Either it has its answer and goes on sending, or the error is in a later request, whose answer would be taken
      // for that of this one.
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
    socket.once(
      'close',
      needs.time.timer(() => socket.destroy(), partingMs),
    );
  };
}
