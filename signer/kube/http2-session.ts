import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { HttpProxy } from '../../client/proxy-tunnel.ts';
import type { Credentials, TlsOptions } from './credentials.ts';
import { endpointOf } from './endpoint.ts';
import type { Time } from './time.ts';

/** An accepted session. */
export interface OpenSession {
  readonly session: ClientHttp2Session;
  /** The client certificate of the handshake. The credentials may have a newer one. */
  readonly certificate: TlsOptions['cert'];
  /**
   * Ends it at once. Node's destroy() first waits until the socket has sent its data. For a peer that has
   * vanished that takes a quarter of an hour, until TCP gives up.
   */
  cut(reason?: Error): void;
}

const connectTimeoutMs = 5_000;
/**
 * What the server may send on one stream, and on all of them, before it must wait for us, in bytes. With HTTP/2's own
 * 64 KiB a burst of events stalls a watch, and the API server ends a watch whose reader falls behind.
 */
const streamWindow = 1024 * 1024;
const connectionWindow = 4 * streamWindow;

/**
 * Connects, and waits for the server's SETTINGS, which show that it speaks HTTP/2 and how many streams it allows.
 * Rejects after 5 s.
 *
 * @returns undefined where the server does not speak HTTP/2.
 */
export async function openSession(
  credentials: Credentials,
  { timer }: Time,
): Promise<OpenSession | undefined> {
  const attempt = new AbortController();
  const cancelTimer = timer(() => attempt.abort(), connectTimeoutMs);
  const tooLateError = () => new Error(`no connection within ${connectTimeoutMs / 1000} s`);
  try {
    const { proxy } = credentials;
    const tunnel = proxy && (await tunnelThrough(proxy, credentials, attempt.signal));
    return await startSession(credentials, tunnel, attempt.signal);
  } catch (error) {
    throw attempt.signal.aborted ? tooLateError() : error;
  } finally {
    cancelTimer();
  }
}

/** Loaded only with a proxy: it speaks HTTP/1.1. */
async function tunnelThrough(proxy: HttpProxy, credentials: Credentials, signal: AbortSignal) {
  const { openTunnel } = await import('../../client/proxy-tunnel.ts');
  return openTunnel(proxy, endpointOf(credentials), signal);
}

function startSession(
  credentials: Credentials,
  tunnel: Socket | undefined,
  signal: AbortSignal,
): Promise<OpenSession | undefined> {
  return new Promise((resolve, reject) => {
    const endpoint = endpointOf(credentials);
    const socket = connectTls({
      ...endpoint,
      ...(tunnel && { socket: tunnel }),
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    const giveUp = () => void socket.destroy(new Error('no connection in time'));
    signal.addEventListener('abort', giveUp);
    socket.on('error', reject);
    socket.on('close', () => {
      signal.removeEventListener('abort', giveUp);
      tunnel?.destroy();
      reject(new Error('the connection was closed before it was ready'));
    });
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') {
        resolve(undefined);
        socket.destroy();
        return;
      }
      const session = connectHttp2(credentials.server.origin, {
        createConnection: () => socket,
        settings: { enablePush: false, initialWindowSize: streamWindow },
      });
      session.on('error', reject);
      session.once('connect', () => session.setLocalWindowSize(connectionWindow));
      session.once('remoteSettings', () => {
        signal.removeEventListener('abort', giveUp);
        resolve({
          session,
          certificate: endpoint.cert,
          cut(reason) {
            session.destroy(reason);
            socket.destroy();
            tunnel?.destroy();
          },
        });
      });
    });
  });
}
