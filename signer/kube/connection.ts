import type { IncomingHttpHeaders } from 'node:http2';
import type { Credentials } from './credentials.ts';
import { openHttp1 } from './http1.ts';
import { openHttp2 } from './http2.ts';
import type { Time } from './time.ts';

/** One HTTP request. */
export interface Outgoing {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string | undefined;
}

/** Receives the answer to a request as it arrives; nothing after onEnd, onFailure or cancel(). */
export interface Receiver {
  /** Informational answers (1xx) are not reported. */
  onHead(status: number, headers: IncomingHttpHeaders): void;
  onData(chunk: Buffer): void;
  onEnd(): void;
  /** `isUnsent`: the server has certainly not acted on the request. */
  onFailure(error: unknown, isUnsent: boolean): void;
}

/** A request that a connection has accepted. */
export interface InFlight {
  /** No more data until resume(): the server is held back once its window is full. */
  pause(): void;
  resume(): void;
  /** Cancels the request; the server is notified, or never sees it. */
  cancel(): void;
}

/** A connection to the API server. It is opened when needed, and opened again after it has closed. */
export interface Connection {
  send(outgoing: Outgoing, receiver: Receiver): InFlight;
  /** Ends the connection; what is in flight fails. */
  close(): void;
}

/** HTTP/2 is tried again after this long, in milliseconds: a proxy that spoke only HTTP/1.1 may be gone. */
const retryHttp2Ms = 60_000;

/**
 * Speaks HTTP/2 to a server with TLS, and HTTP/1.1 to one that supports nothing else (kube-apiserver with
 * --disable-http2-serving, or a proxy in front of it). To a server without TLS, such as
 * `kubectl proxy`, it speaks HTTP/1.1.
 *
 * @param needs.mostHttp1Connections how many requests are under way at once over HTTP/1.1.
 */
export function openConnection(needs: {
  readonly credentials: Credentials;
  readonly time: Time;
  readonly mostHttp1Connections: number;
}): Connection {
  const { credentials, time } = needs;
  const { monotonic } = time;
  const http1 = openHttp1(credentials, needs.mostHttp1Connections);
  if (credentials.server.protocol === 'http:') return http1;
  let fellBackAt = 0;
  const http2 = () =>
    openHttp2({
      credentials,
      time,
      fallBack() {
        fellBackAt = monotonic();
        connection = http1;
        return http1;
      },
    });
  let connection = http2();
  return {
    send(outgoing, receiver) {
      if (connection === http1 && monotonic() - fellBackAt >= retryHttp2Ms) connection = http2();
      return connection.send(outgoing, receiver);
    },
    close() {
      connection.close();
      http1.close();
    },
  };
}
