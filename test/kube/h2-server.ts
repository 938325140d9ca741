import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Credentials } from '../../signer/kube/credentials.ts';
import { createTestAuthority } from '../cluster/certificates.ts';

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse, body: string) => void;

/** A TLS server for what must be shown on the wire. It is no API server and decides nothing about one. */
export interface WireServer {
  readonly url: URL;
  readonly ca: string;
  readonly sessions: Set<ServerHttp2Session>;
  /** Connections taken so far, of either HTTP version. */
  connections(): number;
  /** Calls so far, as `METHOD path`. */
  readonly calls: string[];
  handle: Handler;
  credentials(token?: () => string): Credentials & { readonly invalidated: () => number };
  stop(): Promise<void>;
}

const maxConcurrentStreams = 100;
/** In bytes. As with the API server, the window of a connection is as large as those of all its streams. */
const streamWindow = 1024 * 1024;

/**
 * Starts a server on a free port of the loopback, or on the port given.
 * @param options.requestCert asks clients for a certificate, and takes any.
 * @param options.onConnection is called when a client has connected, before the TLS handshake.
 */
export async function startWireServer(
  options: { port?: number; http1Only?: boolean; requestCert?: boolean; onConnection?: () => void } = {},
): Promise<WireServer> {
  const authority = await createTestAuthority('wire test');
  const { certificate, key } = await authority.issue({
    commonName: 'localhost',
    names: ['localhost', '127.0.0.1'],
  });
  const { requestCert = false } = options;
  const tls = { cert: certificate, key, requestCert, rejectUnauthorized: false };
  // The handlers use only what requests and responses of both versions have.
  const server = (
    options.http1Only
      ? createHttpsServer(tls)
      : createSecureServer({ ...tls, settings: { maxConcurrentStreams, initialWindowSize: streamWindow } })
  ) as Http2SecureServer;
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  const calls: string[] = [];
  let connections = 0;
  server.on('connection', () => options.onConnection?.());
  server.on('secureConnection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.setLocalWindowSize(maxConcurrentStreams * streamWindow);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('request', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    calls.push(`${request.method} ${request.url}`);
    const chunks: Buffer[] = [];
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => wire.handle(request, response, Buffer.concat(chunks).toString()));
  });
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');

  const wire: WireServer = {
    url: new URL(`https://localhost:${(server.address() as AddressInfo).port}`),
    ca: authority.certificate,
    sessions,
    connections: () => connections,
    calls,
    handle: (_request, response) => answer(response, 200, {}),
    credentials: (token) => {
      let invalidated = 0;
      return {
        server: wire.url,
        tls: { ca: authority.certificate },
        namespace: undefined,
        authorization: async () => token && `Bearer ${token()}`,
        invalidate: () => {
          invalidated += 1;
        },
        invalidated: () => invalidated,
      };
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return wire;
}

/** Answers with JSON, as the API server does. */
export function answer(
  response: Http2ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

/** A meta/v1 Status. */
export function status(code: number, reason: string, details?: object): object {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    message: `${reason} it is`,
    reason,
    code,
    details,
  };
}

/**
 * A TCP hop in front of a server that can swallow everything without closing: a peer that has vanished. Or stop taking
 * anything, which leaves what is sent with the sender.
 */
export async function startTunnel(target: URL): Promise<{
  readonly url: URL;
  swallow(isSwallowing: boolean): void;
  /** From now on nothing more is read from the connections that there are; they are never taken up again. */
  stall(): void;
  cut(): void;
  connections(): number;
  stop(): Promise<void>;
}> {
  const pairs = new Set<[Socket, Socket]>();
  let isSwallowing = false;
  let connections = 0;
  const server: Server = createServer((near) => {
    connections += 1;
    const far = connect(Number(target.port), '127.0.0.1');
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near]] as const) {
      const swallowed = isSwallowing;
      from.on('data', (chunk) => {
        if (!isSwallowing && !swallowed) to.write(chunk);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: new URL(`https://localhost:${(server.address() as AddressInfo).port}`),
    swallow: (yes) => {
      isSwallowing = yes;
    },
    stall() {
      for (const pair of pairs) for (const socket of pair) socket.pause();
    },
    cut() {
      for (const [near, far] of pairs) {
        near.resetAndDestroy();
        far.destroy();
      }
    },
    connections: () => connections,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      await closed;
    },
  };
}
