import { createServer, type Server, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { jwtTokenType, readExchange, readShortForm, type TokenRequest } from './exchange.ts';
import type { Limiter } from './limiter.ts';
import { paths } from './paths.ts';
import { type Served, select } from './published.ts';
import { type Checked, describe, type RefusalCode, type Refused, refusals, refuse } from './refusals.ts';
import type { TokenService } from './service.ts';

/** What stands at the paths that everybody may read; undefined while there is no pool. */
export interface Documents {
  readonly discovery: () => Served | undefined;
  readonly keys: () => Served | undefined;
  readonly bundle: () => Served | undefined;
  readonly roots: () => Served | undefined;
  readonly openApi: () => Served | undefined;
}

export interface TokenServerNeeds {
  /** From `tlsOptions`. */
  readonly tls: ServerOptions;
  readonly documents: Documents;
  /** How long the documents may be kept by who read them. */
  readonly maxAgeSeconds: number;
  readonly answer: TokenService;
  readonly addressLimits: Limiter;
  /** Tells of a refusal that came before the request could be read. */
  readonly onRefusal: (refused: Refused, address: string, startedAt: number) => void;
  readonly onError: (error: Error) => void;
  readonly monotonic: () => number;
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

/** Mozilla's intermediate configuration for a key of ECDSA: for TLS 1.2 authenticated ciphers with forward secrecy only. */
const ciphers = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
].join(':');

/** What the endpoint speaks, with a certificate; given again whenever the certificate is renewed. */
export function tlsOptions(
  certificate: { readonly keyPem: string; readonly chainPem: string },
  minVersion: 'TLSv1.2' | 'TLSv1.3',
) {
  return { key: certificate.keyPem, cert: certificate.chainPem, minVersion, ciphers };
}

/** The HTTP side: limits, routes, and answers as RFC 8693 and RFC 6749 have them. Not yet listening. */
export function createTokenServer(needs: TokenServerNeeds): { app: FastifyInstance; server: Server } {
  let server: Server | undefined;
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1 },
    frameworkErrors: (_error, _request, reply) => send(reply, refuse('RequestMalformed', 'the path is none')),
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

  const started = new WeakMap<object, number>();
  let underWay = 0;

  function refused(reply: FastifyReply, refusal: Refused): FastifyReply {
    const startedAt = started.get(reply.request) ?? needs.monotonic();
    needs.onRefusal(refusal, reply.request.ip, startedAt);
    return send(reply, refusal);
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
  for (const type of ['application/x-www-form-urlencoded', 'application/json']) {
    app.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) => done(null, body));
  }

  function tokenRoute(
    path: string,
    contentType: string,
    read: (body: string, authorization: string | undefined) => Checked<TokenRequest>,
  ): void {
    app.post(path, async (request, reply) => {
      const startedAt = started.get(request) ?? needs.monotonic();
      const [type] = (request.headers['content-type'] ?? '').split(';');
      const body = typeof request.body === 'string' ? request.body : '';
      const asked =
        type?.trim().toLowerCase() === contentType
          ? read(body, request.headers.authorization)
          : refuse('RequestMalformed', `the Content-Type is not ${contentType}`);
      const outcome = await needs.answer(asked, request.ip, startedAt);
      if (!outcome.ok) return send(reply, outcome);
      const { token, expiresIn } = outcome.value;
      // RFC 6749 5.1, RFC 8693 2.2.1.
      return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send({
        access_token: token,
        issued_token_type: jwtTokenType,
        token_type: 'Bearer',
        expires_in: expiresIn,
      });
    });
  }
  tokenRoute(paths.exchange, 'application/x-www-form-urlencoded', readExchange);
  tokenRoute(paths.shortForm, 'application/json', readShortForm);

  for (const name of ['discovery', 'keys', 'bundle', 'roots', 'openApi'] as const) {
    app.get(paths[name], async (request, reply) => {
      const published = needs.documents[name]();
      if (!published) return refused(reply, refuse('NotReady', 'the pool of authorities was not read yet'));
      const selected = select(published, {
        acceptEncoding: headerOf(request.headers['accept-encoding']),
        ifNoneMatch: headerOf(request.headers['if-none-match']),
      });
      reply.code(selected.status).headers({
        'cache-control': `public, max-age=${needs.maxAgeSeconds}`,
        etag: selected.etag,
        vary: 'Accept-Encoding',
        'x-content-type-options': 'nosniff',
      });
      if (selected.status === 304) return reply.send();
      if (selected.isGzipped) reply.header('content-encoding', 'gzip');
      return reply.type(published.contentType).send(selected.body);
    });
  }

  app.setNotFoundHandler((_request, reply) => refused(reply, refuse('RouteUnknown')));
  app.setErrorHandler((error, _request, reply) => {
    const { code = '', statusCode = 500 } = error as { code?: string; statusCode?: number };
    if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
      return refused(reply, refuse('RequestTooLarge', `the body has more than ${maxBodyBytes} bytes`));
    }
    if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
      return refused(reply, refuse('RequestMalformed', 'the Content-Type is neither a form nor JSON'));
    }
    if (statusCode < 500)
      return refused(reply, refuse('RequestMalformed', 'the body does not arrive as announced'));
    needs.onError(error instanceof Error ? error : new Error('something that is no error was thrown'));
    return refused(reply, refuse('Fault'));
  });

  if (!server) throw new Error('the framework made no server');
  return { app, server };
}

function send(reply: FastifyReply, refusal: Refused): FastifyReply {
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

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}
