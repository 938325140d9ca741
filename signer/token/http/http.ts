import { createServer, type Server, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Limiter } from '../../kube/limiter.ts';
import { pauseWith, type Time } from '../../kube/time.ts';
import { type Checked, type Refused, refuse } from '../../observe/checked.ts';
import type { StartSpan } from '../../observe/span.ts';
import type { Presented } from '../caller/credential.ts';
import type { IssuedToken } from '../svid/jwt-service.ts';
import type { RequestContext } from '../svid/request-context.ts';
import type { IssuedX509Svid } from '../svid/x509-service.ts';
import { addressOf } from './address.ts';
import { type Excess, limitConnections } from './connections.ts';
import { createCut } from './cut.ts';
import { type HttpLimits, maxBodyBytes, maxHeaderBytes, usualLimits } from './limits.ts';
import { presentedBy } from './presented.ts';
import { sendRefusal } from './refusal.ts';

export interface HttpNeeds {
  /** From `tlsOptions`. */
  readonly tls: ServerOptions;
  /** Limits requests by address. */
  readonly addressLimits: Pick<Limiter, 'take'>;
  /** Limits new connections by address. */
  readonly connectionRate: Limiter;
  readonly limits?: HttpLimits;
  /** Called once for each request, with its outcome. Documents that were served are not reported. */
  readonly report: (context: RequestContext, outcome: Checked<Issued>) => void;
  /** Is called for each connection that was closed before a request. */
  readonly onCut: (cause: Excess) => void;
  readonly onError: (error: Error) => void;
  /** Undefined where traces are off. */
  readonly startSpan?: StartSpan | undefined;
  readonly time: Time;
}

/** What the routes issue. */
type Issued = IssuedToken | IssuedX509Svid;

interface Tracked extends RequestContext {
  isReported: boolean;
}

export type Http = ReturnType<typeof createHttp>;

/** What a route does for a caller. */
type Answer<T> = (presented: Presented, context: RequestContext) => Promise<Checked<T>>;

/** Schemas only describe the routes. Fastify's compilers, which check and print by them, are not even loaded. */
const schemaCompilers = {
  buildValidator: () => () => accept as never,
  buildSerializer: () => () => JSON.stringify,
};
const accept = () => true;

/** An HTTPS server with its limits and its way to refuse; the routes come from elsewhere. Not yet listening. */
export function createHttp(needs: HttpNeeds) {
  const { limits = usualLimits, time } = needs;
  const asksForCertificates = needs.tls.requestCert === true;
  let server: Server | undefined;
  let breakOff: () => void = () => undefined;

  const lastOn = new WeakMap<Socket, FastifyReply>();
  const contexts = new WeakMap<FastifyRequest, Tracked>();
  const cut = createCut({
    lastOn: (socket) => lastOn.get(socket),
    onRefusal: (refusal, socket, reply) => {
      if (reply) report(contextOf(reply.request), refusal);
      else needs.report(newContext(socket), refusal);
    },
    onHandshakeFailed: () => needs.onCut('handshake'),
    time,
  });

  const app: FastifyInstance = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 255 },
    schemaController: { compilersFactory: schemaCompilers },
    // No hook is called for these.
    frameworkErrors: (_error, _request, reply) =>
      refused(reply, overRate(reply) ?? refuse('RequestMalformed', 'the URL path is not valid')),
    clientErrorHandler: (error, socket) => cut(error as NodeJS.ErrnoException, socket),
    serverFactory: (handler) => {
      server = createServer(
        {
          ...needs.tls,
          handshakeTimeout: limits.handshakeMs,
          requestTimeout: limits.requestMs,
          headersTimeout: limits.requestMs,
          connectionsCheckingInterval: 1_000,
          keepAliveTimeout: limits.keepAliveMs,
          maxHeaderSize: maxHeaderBytes,
        },
        handler,
      );
      breakOff = limitConnections(server, {
        limits: asksForCertificates ? limits.connectionsWithCertificates : limits.connections,
        clientCertificates: asksForCertificates ? limits.clientCertificates : undefined,
        handshakeMs: limits.handshakeMs,
        rate: needs.connectionRate,
        onCut: needs.onCut,
        time,
      });
      server.setTimeout(limits.idleMs);
      return server;
    },
  });

  let underWay = 0;

  function newContext(socket: Socket, path = ''): Tracked {
    const startedAt = time.monotonic();
    return { path, address: addressOf(socket), startedAt, caller: undefined, isReported: false };
  }

  function contextOf(request: FastifyRequest): Tracked {
    const known = contexts.get(request);
    if (known) return known;
    const context = newContext(request.socket, request.url.split('?')[0]);
    contexts.set(request, context);
    return context;
  }

  /** Once for each request: the body of one that was cut is a problem of its own. */
  function report(context: Tracked, outcome: Checked<Issued>): void {
    if (context.isReported) return;
    context.isReported = true;
    needs.report(context, outcome);
  }

  /** Sends a refusal and reports it. */
  function refused(reply: FastifyReply, refusal: Refused): FastifyReply {
    report(contextOf(reply.request), refusal);
    return sendRefusal(reply, refusal);
  }

  function overRate({ request }: FastifyReply): Refused | undefined {
    return needs.addressLimits.take(addressOf(request.socket)) > 0 ? refuse('AddressLimited') : undefined;
  }

  app.addHook('onRequest', async (request, reply) => {
    contextOf(request);
    const { socket } = request.raw;
    lastOn.set(socket, reply);
    const limited = overRate(reply) ?? (underWay >= limits.requests ? refuse('Overloaded') : undefined);
    if (!limited) underWay += 1;
    reply.raw.once('close', () => {
      if (!limited) underWay -= 1;
      // A connection that waits for its next request holds nothing of the last one, whose body may be large.
      if (request.raw.complete && lastOn.get(socket) === reply) lastOn.delete(socket);
    });
    if (limited) return refused(reply, limited);
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
    needs.onError(error instanceof Error ? error : new Error('a value that is not an Error was thrown'));
    return refused(reply, refuse('InternalError'));
  });

  if (!server) throw new Error('the framework made no server');
  const made: Server = server;
  // The framework closes only servers that listen by its own doing.
  app.addHook('onClose', async () => {
    const isClosed = new AbortController();
    made.close(() => isClosed.abort());
    await pauseWith(time.timer)(limits.closingMs, isClosed.signal);
    breakOff();
  });

  /**
   * Handles a request for an SVID with a body of one type, and reports the result.
   *
   * @returns what was issued, for the route to send; undefined when a refusal was sent.
   */
  async function issued<T extends Issued>(
    reply: FastifyReply,
    contentType: string,
    issue: Answer<T>,
  ): Promise<T | undefined> {
    const { request } = reply;
    const context = contextOf(request);
    context.span = needs.startSpan?.({
      name: `POST ${context.path}`,
      kind: 'server',
      startedAt: context.startedAt,
      traceparent: request.headers.traceparent?.toString(),
      attributes: {
        'http.request.method': 'POST',
        'http.route': context.path,
        'client.address': context.address,
      },
    });
    const presented = presentedBy(request.raw, asksForCertificates);
    const [type = ''] = (request.headers['content-type'] ?? '').split(';');
    const outcome = !presented.ok
      ? presented
      : type.trim().toLowerCase() === contentType
        ? await issue(presented.value, context)
        : refuse('RequestMalformed', `the Content-Type is not ${contentType}`);
    report(context, outcome);
    if (outcome.ok) return outcome.value;
    sendRefusal(reply, outcome);
    return undefined;
  }

  /**
   * Handles a request without a body, whose caller may matter. Only a refusal is reported.
   *
   * @returns what the route sends; undefined when a refusal was sent.
   */
  async function answered<T>(reply: FastifyReply, answer: Answer<T>): Promise<T | undefined> {
    const presented = presentedBy(reply.request.raw, asksForCertificates);
    const outcome = presented.ok ? await answer(presented.value, contextOf(reply.request)) : presented;
    if (outcome.ok) return outcome.value;
    refused(reply, outcome);
    return undefined;
  }

  /** Closing `app` accepts no more connections, finishes the requests under way, and ends those that take too long. */
  return { app, server: made, issued, answered, refused };
}
