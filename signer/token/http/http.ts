import { createServer, type Server, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Limiter } from '../limiter.ts';
import { type Checked, describe, type RefusalCode, type Refused, refusals, refuse } from '../refusals.ts';
import { clientCertificateTls } from './client-tls.ts';
import { type Presented, presentedBy } from './presented.ts';

export interface HttpNeeds {
  /** From `tlsOptions`. */
  readonly tls: ServerOptions;
  readonly addressLimits: Limiter;
  /** Tells of a refusal that came before the request could be read. */
  readonly onRefusal: (refused: Refused, address: string, startedAt: number, path: string) => void;
  readonly onError: (error: Error) => void;
  /** Milliseconds. */
  readonly monotonic: () => number;
}

/** An HTTPS server with its limits and its way to refuse; the routes come from elsewhere. Not yet listening. */
export interface Http {
  readonly app: FastifyInstance;
  readonly server: Server;
  /** When the request began, on the monotonic clock, in milliseconds. */
  startedAt(request: FastifyRequest): number;
  /** What a request shows beside its body. */
  presented(request: FastifyRequest): Checked<Presented>;
  /** Answers with a refusal and tells of it. */
  refused(reply: FastifyReply, refusal: Refused): FastifyReply;
}

export const maxBodyBytes = 64 * 1024;
const maxHeaderBytes = 16 * 1024;
const maxConnections = 4_096;
/** Requests at once; each waits for the API server at most. */
const maxUnderWay = 1_024;
/** The whole request has to be there in this time; whoever is slower is cut. */
const requestTimeoutMs = 10_000;
const handshakeTimeoutMs = 5_000;
const keepAliveMs = 60_000;
/** A connection on which nothing moves while an answer is written. */
const idleTimeoutMs = 90_000;
const retryAfterSeconds = 2;

/**
 * Mozilla's intermediate configuration: for TLS 1.2 authenticated ciphers with forward secrecy only. Those of finite
 * field Diffie-Hellman are left out: they need parameters, and whoever knows them knows elliptic curves too.
 */
const ciphers = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ...['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ...['ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
].join(':');

/** Key and chain of a server, PEM; the leaf first. */
export interface ServerCertificate {
  readonly keyPem: string;
  readonly chainPem: string;
}

/** What a listener is made with, and given again whenever its certificate is renewed. */
export function tlsOptions(
  certificate: ServerCertificate,
  speaks: { readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3'; readonly asksForCertificates?: boolean },
): ServerOptions {
  return {
    key: certificate.keyPem,
    cert: certificate.chainPem,
    minVersion: speaks.minTlsVersion,
    ciphers,
    ...(speaks.asksForCertificates && clientCertificateTls),
  };
}

export function createHttp(needs: HttpNeeds): Http {
  let server: Server | undefined;
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1 },
    frameworkErrors: (_error, _request, reply) =>
      sendRefusal(reply, refuse('RequestMalformed', 'the path is none')),
    clientErrorHandler: (error, socket) => cut(error as NodeJS.ErrnoException, socket),
    serverFactory: (handler) => {
      server = createServer(
        {
          ...needs.tls,
          handshakeTimeout: handshakeTimeoutMs,
          requestTimeout: requestTimeoutMs,
          headersTimeout: requestTimeoutMs,
          connectionsCheckingInterval: 1_000,
          keepAliveTimeout: keepAliveMs,
          maxHeaderSize: maxHeaderBytes,
        },
        handler,
      );
      server.maxConnections = maxConnections;
      server.setTimeout(idleTimeoutMs);
      return server;
    },
  });

  const started = new WeakMap<FastifyRequest, number>();
  const startedAt = (request: FastifyRequest) => started.get(request) ?? needs.monotonic();
  let underWay = 0;

  function refused(reply: FastifyReply, refusal: Refused): FastifyReply {
    const [path = ''] = reply.request.url.split('?');
    needs.onRefusal(refusal, reply.request.ip, startedAt(reply.request), path);
    return sendRefusal(reply, refusal);
  }

  app.addHook('onRequest', async (request, reply) => {
    started.set(request, needs.monotonic());
    if (needs.addressLimits.take(request.ip) > 0) return refused(reply, refuse('AddressLimited'));
    if (underWay >= maxUnderWay) return refused(reply, refuse('Overloaded'));
    underWay += 1;
    reply.raw.once('close', () => {
      underWay -= 1;
    });
  });

  // Bodies are read by our own parsers, which are stricter than those of any framework.
  app.removeAllContentTypeParsers();

  app.setNotFoundHandler((_request, reply) => refused(reply, refuse('RouteUnknown')));
  app.setErrorHandler((error, _request, reply) => {
    const { code = '', statusCode = 500 } = error as { code?: string; statusCode?: number };
    if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
      return refused(reply, refuse('RequestTooLarge', `the body has more than ${maxBodyBytes} bytes`));
    }
    if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
      return refused(reply, refuse('RequestMalformed', 'the Content-Type is not one of this endpoint'));
    }
    if (statusCode < 500)
      return refused(reply, refuse('RequestMalformed', 'the body does not arrive as announced'));
    needs.onError(error instanceof Error ? error : new Error('something that is no error was thrown'));
    return refused(reply, refuse('Fault'));
  });

  if (!server) throw new Error('the framework made no server');
  const asksForCertificates = needs.tls.requestCert === true;
  const presented = (request: FastifyRequest) => presentedBy(request.raw, asksForCertificates);
  return { app, server, startedAt, presented, refused };
}

/** Answers with a refusal that was told already. */
export function sendRefusal(reply: FastifyReply, refusal: Refused): FastifyReply {
  const { status, error, verdict } = refusals[refusal.code];
  reply.code(status).headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  if (verdict === 'wait') reply.header('retry-after', String(retryAfterSeconds));
  return reply.type('application/json').send(errorBody(error, refusal.code, describe(refusal)));
}

/** RFC 6749 5.2, and our own code beside it, which the documentation has a heading for. */
function errorBody(error: string, reason: RefusalCode, description: string): string {
  return JSON.stringify({ error, error_description: description, reason });
}

const statusOfClientError: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Answers what is no HTTP, is too large or too slow, and ends the connection. */
function cut(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = statusOfClientError[error.code ?? ''] ?? '400 Bad Request';
  const code = status.startsWith('431') ? 'RequestTooLarge' : 'RequestMalformed';
  const body = errorBody('invalid_request', code, describe(refuse(code, status.slice(4).toLowerCase())));
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
