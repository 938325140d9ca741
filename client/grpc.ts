import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { messageOf } from '../spiffe/errors.ts';
import { percentDecoded } from '../spiffe/pki/text.ts';
import type { EndpointAddress } from './endpoint-address.ts';

/** The status with which a call ends (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
export interface GrpcStatus {
  /** 0 is success. */
  readonly code: number;
  readonly details: string;
}

export const grpcCodes = {
  ...{ ok: 0, cancelled: 1, unknown: 2, invalidArgument: 3, deadlineExceeded: 4, permissionDenied: 7 },
  ...{ resourceExhausted: 8, unimplemented: 12, internal: 13, unavailable: 14 },
} as const;
const { cancelled, unknown, internal, unavailable } = grpcCodes;

export interface GrpcCall {
  /** Never rejects. */
  readonly status: Promise<GrpcStatus>;
  /** From now on, the call does not keep the process alive. */
  unref(): void;
}

export interface GrpcRequest {
  readonly address: EndpointAddress;
  /** `/service/method`. */
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** One message, encoded. */
  readonly message: Buffer;
}

const maxMessageBytes = 4 * 1024 * 1024;
/** A byte that says whether the message is compressed, and four with its length. */
const prefixBytes = 5;

/**
 * Calls a gRPC method with one request and any number of responses, without TLS, over a connection of its own: the local
 * socket of a Workload API. A gRPC library would keep the process alive as long as a stream is open.
 *
 * @param onMessage gets each response, encoded.
 * @param signal ends the call.
 */
export function callGrpc(
  { address, path, metadata, message }: GrpcRequest,
  onMessage: (message: Buffer) => void,
  signal: AbortSignal,
): GrpcCall {
  const session = connect('http://localhost', { createConnection: () => connectTo(address) });
  const status = statusOf(session, { ':path': path, ...metadata }, message, onMessage);
  const end = () => session.destroy();
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  const ended = status.then((found): GrpcStatus => {
    const isAborted = signal.aborted && found.code === unavailable;
    signal.removeEventListener('abort', end);
    end();
    return isAborted ? { code: cancelled, details: messageOf(signal.reason) } : found;
  });
  return {
    status: ended,
    unref: () => session.unref(),
  };
}

function connectTo(address: EndpointAddress) {
  if (address.kind === 'unix') return connectSocket(address.path);
  return connectSocket(address.port, address.host.replace(/^\[|\]$/g, ''));
}

function statusOf(
  session: ClientHttp2Session,
  headers: Readonly<Record<string, string>>,
  message: Buffer,
  onMessage: (message: Buffer) => void,
): Promise<GrpcStatus> {
  const { promise, resolve } = Promise.withResolvers<GrpcStatus>();
  // A stream that waits for the connection fails with an error whose cause is that of the connection.
  const lost = (error?: Error) =>
    resolve({
      code: unavailable,
      details: error ? messageOf(error.cause ?? error) : 'the connection was closed',
    });
  session.on('error', lost);
  session.on('close', () => lost());
  const stream = session.request({
    ...headers,
    ':method': 'POST',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  let found: GrpcStatus | undefined;
  stream.on('response', (received) => {
    const { ':status': http, 'content-type': type = '' } = received;
    if (http === 200 && type.startsWith('application/grpc')) found = statusIn(received);
    else resolve({ code: unknown, details: `it is not a gRPC server (HTTP status ${http})` });
  });
  stream.on('trailers', (received) => {
    found = statusIn(received);
  });
  // All messages were read by then.
  stream.on('end', () => (found ? resolve(found) : lost()));
  stream.on(
    'data',
    createReader(onMessage, (details) => resolve({ code: internal, details })),
  );
  stream.on('error', lost);
  stream.end(framed(message));
  return promise;
}

function statusIn(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  const { 'grpc-status': code, 'grpc-message': details = '' } = headers;
  if (code === undefined) return undefined;
  const text = String(details);
  // gRPC percent-encodes the message.
  return { code: /^\d+$/.test(String(code)) ? Number(code) : unknown, details: percentDecoded(text) ?? text };
}

function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Takes messages out of the chunks of a stream. */
function createReader(onMessage: (message: Buffer) => void, onInvalid: (details: string) => void) {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let needed = prefixBytes;
  return (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < needed) return;
    let rest = Buffer.concat(chunks);
    for (needed = prefixBytes; rest.length >= prefixBytes; ) {
      const length = rest.readUInt32BE(1);
      if (rest[0] !== 0) return onInvalid('a response is compressed, which was not asked for');
      if (length > maxMessageBytes) return onInvalid(`a response has more than ${maxMessageBytes} bytes`);
      needed = prefixBytes + length;
      if (rest.length < needed) break;
      onMessage(rest.subarray(prefixBytes, needed));
      rest = rest.subarray(needed);
      needed = prefixBytes;
    }
    chunks = [rest];
    bytes = rest.length;
  };
}
