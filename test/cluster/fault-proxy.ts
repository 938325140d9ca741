import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createTestAuthority } from './certificates.ts';
import { createFront } from './fault-front.ts';
import {
  createRuleBook,
  type Fault,
  isWatch,
  type Match,
  matches,
  type Rule,
  type RuleHandle,
  type SeenRequest,
  statusBody,
} from './fault-rules.ts';
import { type AnswerStream, createPassage, type Passage } from './fault-stream.ts';

/**
 * Stands between a client and an API server: terminates TLS on both sides, passes each HTTP/2 (or HTTP/1.1)
 * request on over HTTP/2, and makes faults as a test orders them. Clients prove themselves by token; a client
 * certificate does not pass. One connection to the server for each connection of a client.
 */
export interface FaultProxy {
  /** `https://127.0.0.1:PORT`; give it to `kubeconfigFor` together with `authority`. */
  readonly url: string;
  /** PEM of the CA that the proxy's own certificate is from. */
  readonly authority: string;
  add(rule: Rule): RuleHandle;
  /** Removes all rules. */
  clear(): void;
  /** Every request since the start or the last forget(), oldest first. */
  readonly requests: readonly SeenRequest[];
  count(match: Match): number;
  forget(): void;
  /** The answers still under way to matching requests. */
  streams(match?: Match): AnswerStream[];
  watches(match?: Omit<Match, 'watch'>): AnswerStream[];
  /** TCP connections open now, and opened since the start. */
  connections(): { open: number; total: number };
  /** Breaks all open connections (TCP RST). */
  resetConnections(): void;
  /** Stops all bytes of open and new connections both ways, as a lost route does; thaw() lets them go on. */
  freeze(): void;
  thaw(): void;
  /** Moves the Date header of every answer from now on: to the client, the server's clock is set. */
  shiftClock(ms: number): void;
  /** While true, new connections are reset at once. */
  refuseConnections(refuse: boolean): void;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

type Request = http2.Http2ServerRequest;
type Response = http2.Http2ServerResponse;

export async function startFaultProxy(target: { url: string; authority: string }): Promise<FaultProxy> {
  const authority = await createTestAuthority('fault-proxy-ca');
  const serving = await authority.issue({ commonName: 'fault-proxy', names: ['localhost', '127.0.0.1'] });
  const rules = createRuleBook();
  const streams = new Set<Passage>();
  const requests: SeenRequest[] = [];
  const front = createFront();
  let clockShiftMs = 0;

  const server = http2.createSecureServer({
    allowHTTP1: true,
    cert: serving.certificate,
    key: serving.key,
    // As kube-apiserver.
    settings: { maxConcurrentStreams: 100 },
  });
  const upstreams = new WeakMap<Socket | http2.Http2Session, http2.ClientHttp2Session>();
  server.on('request', (request, response) => {
    const seen: SeenRequest = {
      method: request.method,
      path: request.url,
      at: performance.now(),
      status: undefined,
      bodySha256: undefined,
    };
    requests.push(seen);
    request.on('error', () => {});
    response.on('error', () => {});
    const breakConnection = () => front.reset(portOf(request));
    void applyFaults(rules.faultsFor(seen), seen, response, breakConnection).then((limit) => {
      if (limit === 'answered') return;
      const upstream = upstreamOf(request, target, upstreams, breakConnection);
      forward(upstream, request, response, seen, limit, breakConnection, streams, (headers) =>
        shiftDate(withoutConnectionHeaders(headers), clockShiftMs),
      );
    });
  });
  server.on('sessionError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await front.listen((server.address() as AddressInfo).port);

  const open = (match: Match = {}) => [...streams].filter(({ request }) => matches(match, request));
  const stop = async () => {
    front.resetAll();
    await front.close();
    server.close();
  };
  return {
    url: `https://127.0.0.1:${front.port()}`,
    authority: authority.certificate,
    add: rules.add,
    clear: rules.clear,
    requests,
    count: (match) => requests.filter((request) => matches(match, request)).length,
    forget: () => void requests.splice(0),
    streams: open,
    watches: (match = {}) => open(match).filter(({ request }) => isWatch(request.path)),
    connections: front.connections,
    resetConnections: front.resetAll,
    freeze: () => front.setFrozen(true),
    thaw: () => front.setFrozen(false),
    shiftClock: (ms) => {
      clockShiftMs = ms;
    },
    refuseConnections: front.setRefusing,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Everything but what limits the answer; resolves with that limit, or with `answered` when nothing is left to do. */
async function applyFaults(
  faults: Fault[],
  seen: SeenRequest,
  response: Response,
  breakConnection: () => void,
): Promise<Exclude<Fault, { kind: 'delay' | 'answer' | 'hang' }> | 'answered' | undefined> {
  for (const fault of faults) {
    if (fault.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms));
    else if (fault.kind === 'hang') return 'answered';
    else if (fault.kind === 'answer') {
      seen.status = fault.status;
      const retryAfter = Number(fault.headers?.['retry-after']);
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
      response.end(fault.body ?? statusBody(fault.status, retryAfter || undefined));
      return 'answered';
    } else if (fault.kind === 'reset' && fault.when === 'before') {
      breakConnection();
      return 'answered';
    } else return fault;
  }
  return undefined;
}

function forward(
  upstream: http2.ClientHttp2Session,
  request: Request,
  response: Response,
  seen: SeenRequest,
  limit: Exclude<Fault, { kind: 'delay' | 'answer' | 'hang' }> | undefined,
  breakConnection: () => void,
  streams: Set<Passage>,
  headersOf: (headers: http2.IncomingHttpHeaders) => http2.OutgoingHttpHeaders,
): void {
  if (upstream.destroyed || upstream.closed) {
    breakConnection();
    return;
  }
  const sent = upstream.request({
    ':method': request.method,
    ':path': request.url,
    ...withoutConnectionHeaders(request.headers),
  });
  const streamLimit = limit?.kind === 'cut' || limit?.kind === 'silent' ? limit : undefined;
  const passage = createPassage(seen, response, () => onceRead(request, breakConnection), streamLimit);
  sent.on('response', (headers) => {
    if (limit?.kind === 'reset') return breakConnection();
    seen.status = Number(headers[':status']);
    streams.add(passage);
    response.writeHead(seen.status, headersOf(headers));
    // HTTP/1.1 keeps headers back until the first byte of the body; a watch may have none for long.
    if ('flushHeaders' in response && typeof response.flushHeaders === 'function') response.flushHeaders();
    // Only now: Node gives the data of a busy session before the headers that came with it.
    sent.on('data', (chunk: Buffer) => {
      if (passage.pass(chunk)) return;
      sent.pause();
      response.once('drain', () => sent.resume());
    });
  });
  sent.on('end', () => {
    streams.delete(passage);
    if (limit?.kind !== 'reset') passage.finish();
  });
  sent.on('error', breakConnection);
  response.on('close', () => {
    streams.delete(passage);
    sent.close(http2.constants.NGHTTP2_CANCEL);
  });
  const sha256 = createHash('sha256');
  request.on('data', (chunk: Buffer) => sha256.update(chunk));
  request.on('end', () => {
    seen.bodySha256 = sha256.digest('hex');
  });
  request.pipe(sent);
}

/** A PING comes back when the client has read the frames before it. HTTP/1.1 has nothing like it: wait a little. */
function onceRead(request: Request, action: () => void): void {
  const session = request.stream?.session;
  if (session && !session.destroyed) session.ping(() => action());
  else setTimeout(action, 50);
}

function upstreamOf(
  request: Request,
  target: { url: string; authority: string },
  upstreams: WeakMap<Socket | http2.Http2Session, http2.ClientHttp2Session>,
  breakConnection: () => void,
): http2.ClientHttp2Session {
  const connection = request.stream?.session ?? request.socket;
  const known = upstreams.get(connection);
  if (known) return known;
  const upstream = http2.connect(target.url, { ca: target.authority });
  upstream.on('error', breakConnection);
  upstream.on('close', breakConnection);
  connection.once('close', () => upstream.destroy());
  upstreams.set(connection, upstream);
  return upstream;
}

function portOf(request: Request): number | undefined {
  return request.socket.remotePort;
}

const connectionHeaders = new Set(['connection', 'host', 'keep-alive', 'transfer-encoding', 'upgrade']);

function withoutConnectionHeaders(headers: http2.IncomingHttpHeaders): http2.OutgoingHttpHeaders {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !name.startsWith(':') && !connectionHeaders.has(name)),
  );
}

function shiftDate(headers: http2.OutgoingHttpHeaders, ms: number): http2.OutgoingHttpHeaders {
  if (ms === 0 || typeof headers.date !== 'string') return headers;
  return { ...headers, date: new Date(Date.parse(headers.date) + ms).toUTCString() };
}
