import type { IncomingHttpHeaders } from 'node:http2';
import type { Credentials } from './credentials.ts';
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

/** Makes a connection; it is opened when needed. */
export type OpenConnection = (needs: {
  readonly credentials: Credentials;
  readonly time: Time;
}) => Connection;
