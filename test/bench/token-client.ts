import { connect, type TLSSocket } from 'node:tls';

/** Where the load goes. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** PEM: what the server's certificate must lead to. */
  readonly ca: string | readonly string[];
  readonly servername?: string;
  /** PEM: what the client shows, where it has to show something. */
  readonly cert?: string;
  readonly key?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** One HTTP/1.1 connection that carries one request at a time and stays open. */
export interface KeepAliveConnection {
  /** Sends the bytes of a whole request. Rejects when the connection ends before the answer does. */
  exchange(request: Buffer): Promise<HttpAnswer>;
  close(): void;
}

/**
 * Opens a connection. Written by hand over TLS, because the load shares the cores with what it measures: a request
 * is bytes that were made before, and of an answer no more is read than where it ends.
 */
export async function openConnection(target: Target): Promise<KeepAliveConnection> {
  const { host, port, servername = host, cert, key } = target;
  const ca = typeof target.ca === 'string' ? target.ca : [...target.ca];
  const socket = connect({
    host,
    port,
    ca,
    ALPNProtocols: ['http/1.1'],
    ...identity(cert, key),
    ...sni(servername),
  });
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  return exchangesOver(socket);
}

function identity(cert: string | undefined, key: string | undefined) {
  return cert !== undefined && key !== undefined ? { cert, key } : {};
}

/** A name is sent where there is one; for a bare address there is none to send. */
function sni(name: string) {
  return /^[\d.]+$/.test(name) ? {} : { servername: name };
}

function exchangesOver(socket: TLSSocket): KeepAliveConnection {
  let received: Buffer | undefined;
  let waiting: { resolve: (answer: HttpAnswer) => void; reject: (error: Error) => void } | undefined;

  socket.on('data', (chunk: Buffer) => {
    received = received ? Buffer.concat([received, chunk]) : chunk;
    const answer = wholeAnswer(received);
    if (!answer) return;
    received = undefined;
    waiting?.resolve(answer);
  });
  socket.on('error', (error) => waiting?.reject(error));
  socket.on('close', () => waiting?.reject(new Error('the connection ended without an answer')));

  return {
    exchange: (request) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}

/** RFC 9112 7.1. JSON holds no line break of that kind before it. */
const lastChunk = Buffer.from('0\r\n\r\n');

/** The answer, once all of it is there. One request is under way at a time, so nothing can follow it. */
function wholeAnswer(bytes: Buffer): HttpAnswer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  const bodyStart = headEnd + 4;
  const status = Number(head.slice(9, 12));
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
  if (length !== undefined) {
    return bytes.length < bodyStart + Number(length)
      ? undefined
      : { status, body: bytes.toString('latin1', bodyStart) };
  }
  return bytes.subarray(-5).equals(lastChunk)
    ? { status, body: bytes.toString('latin1', bodyStart, bytes.length - 5) }
    : undefined;
}
