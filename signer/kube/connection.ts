import { isIP } from 'node:net';
import { buildConnector, Client, type Dispatcher, Pool } from 'undici';
import type { Credentials } from './credentials.ts';

/** Between two HTTP/2 PINGs on an open connection, in milliseconds. */
const pingIntervalMs = 5_000;
/** An open connection from which nothing was heard for so long is dead, in milliseconds. */
const deadAfterMs = 12_000;
const connectTimeoutMs = 5_000;
/** Above what any server allows; kube-apiserver's own limit of 100 counts. */
const maxStreams = 1_000;
/** Connections to a server that only speaks HTTP/1.1, where each carries one request at a time. */
const http1Connections = 6;

/**
 * One connection to the API server, made anew whenever it is gone. Requests share it as HTTP/2 streams, at most as
 * many at once as the server allows (100 for kube-apiserver); the rest wait in undici's queue.
 *
 * undici retries by itself only what the server has certainly not acted on (GOAWAY, REFUSED_STREAM); what was cut in
 * the middle is an error. A peer that has vanished is noticed by PINGs, not only by the requests' own timeouts, so
 * that an idle watch does not sit on a dead connection.
 */
export interface Connection {
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void;
  /** Ends the connection; what is in flight fails. */
  close(): Promise<void>;
}

export function openConnection(credentials: Credentials, monotonic: () => number): Connection {
  const { server } = credentials;
  let lastHeard = Number.NEGATIVE_INFINITY;
  let isOpen = false;
  // Only a look at the server tells: a proxy in front of it may not speak HTTP/2.
  let speaksHttp1 = server.protocol === 'http:';
  let dispatcher = speaksHttp1 ? makePool() : makeClient();
  const watchdog = setInterval(checkAlive, pingIntervalMs).unref();

  function makeClient(): Client {
    const client = new Client(server.origin, {
      connect,
      allowH2: true,
      // Never closed for being idle: the next certificate would pay for a handshake.
      keepAliveTimeout: 2 ** 31 - 1,
      // Also how many may be under way while there is no connection: with the default of 1, what a server that sent
      // GOAWAY still has to finish would hold up the next connection.
      pipelining: maxStreams,
      h2Options: { maxConcurrentStreams: maxStreams, pingInterval: pingIntervalMs },
    });
    client.on('connect', () => {
      isOpen = true;
      lastHeard = monotonic();
      if (speaksHttp1 && dispatcher === client) fallBack(client);
    });
    client.on('disconnect', () => {
      isOpen = false;
    });
    (client as unknown as NodeJS.EventEmitter).on('ping', () => {
      lastHeard = monotonic();
    });
    return client;
  }

  function makePool(): Pool {
    return new Pool(server.origin, { connect, allowH2: false, connections: http1Connections });
  }

  function fallBack(client: Client): void {
    client.pipelining = 1;
    dispatcher = makePool();
    void client.close();
  }

  /** As undici's own connector, but with the TLS material of now: a rotated CA or client certificate is picked up. */
  function connect(options: buildConnector.Options, done: buildConnector.Callback): void {
    const connector = buildConnector({
      ...credentials.tls,
      allowH2: !speaksHttp1,
      timeout: connectTimeoutMs,
      keepAlive: true,
    });
    const host = options.hostname.replace(/^\[|\]$/g, '');
    const servername = credentials.tls.servername ?? (isIP(host) ? undefined : host);
    connector({ ...options, ...(servername && { servername }) }, (...result) => {
      const socket = result[1] as { alpnProtocol?: string | false } | null;
      if (socket && socket.alpnProtocol !== 'h2') speaksHttp1 = true;
      done(...result);
    });
  }

  function checkAlive(): void {
    if (!isOpen || speaksHttp1 || monotonic() - lastHeard < deadAfterMs) return;
    const dead = dispatcher;
    isOpen = false;
    dispatcher = makeClient();
    void dead.destroy(new Error(`the API server has not answered a PING for ${deadAfterMs / 1000} s`));
  }

  return {
    dispatch(options, handler) {
      dispatcher.dispatch(options, handler);
    },
    async close() {
      clearInterval(watchdog);
      await dispatcher.destroy();
    },
  };
}
