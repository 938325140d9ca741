import type { IncomingHttpHeaders } from 'node:http2';
import type { Credentials } from './credentials.ts';
import { openHttp1 } from './http1.ts';
import { openHttp2 } from './http2.ts';

/** One HTTP request as it goes out. */
export interface Outgoing {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** Is told the answer to a request as it comes; nothing any more after onEnd, onFailure or cancel(). */
export interface Receiver {
  /** Informational answers (1xx) are not told. */
  onHead(status: number, headers: IncomingHttpHeaders): void;
  onData(chunk: Buffer): void;
  onEnd(): void;
  /** `isUnsent`: the server has certainly not acted on the request. */
  onFailure(error: unknown, isUnsent: boolean): void;
}

/** A request that was handed to a connection. */
export interface InFlight {
  /** No more data until resume(): the server is held back once its window is full. */
  pause(): void;
  resume(): void;
  /** Gives the request up; the server is told, or never sees it. */
  cancel(): void;
}

/** A connection to the API server, made when it is needed and made anew whenever it is gone. */
export interface Connection {
  send(outgoing: Outgoing, receiver: Receiver): InFlight;
  /** Ends the connection; what is in flight fails. */
  close(): void;
}

/**
 * Speaks HTTP/2 to a server with TLS, and HTTP/1.1 where it turns out that the server (or a proxy in front of it)
 * speaks nothing else. kube-apiserver always speaks HTTP/2.
 */
export function openConnection(credentials: Credentials, monotonic: () => number): Connection {
  if (credentials.server.protocol === 'http:') return openHttp1(credentials);
  const fallBack = () => {
    connection = openHttp1(credentials);
    return connection;
  };
  let connection = openHttp2({ credentials, monotonic, fallBack });
  return {
    send: (outgoing, receiver) => connection.send(outgoing, receiver),
    close: () => connection.close(),
  };
}
