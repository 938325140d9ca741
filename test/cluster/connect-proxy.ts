import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Credential } from './certificates.ts';

/** An HTTP proxy that knows CONNECT alone, and leads every tunnel to one port of this machine. */
export interface ConnectProxy {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** HOST:PORT of each tunnel that was asked for, and whether it was let through. */
  readonly asked: { readonly authority: string; readonly isAllowed: boolean }[];
  stop(): Promise<void>;
}

/**
 * @param options.password what clients have to prove, `user:password`.
 * @param options.serving makes it a proxy that is reached over TLS.
 */
export async function startConnectProxy(
  targetPort: number,
  options: { password?: string; serving?: Credential } = {},
): Promise<ConnectProxy> {
  const { password, serving } = options;
  const wanted = password && `Basic ${Buffer.from(password).toString('base64')}`;
  const asked: ConnectProxy['asked'] = [];
  const sockets = new Set<Socket>();
  const server = serving
    ? createSecureServer({ cert: serving.certificate, key: serving.key })
    : createServer();
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (request: IncomingMessage, client: Socket) => {
    const isAllowed = !wanted || request.headers['proxy-authorization'] === wanted;
    asked.push({ authority: request.url ?? '', isAllowed });
    client.on('error', () => undefined);
    if (!isAllowed) return void client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    const target = connect(targetPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(client).pipe(target);
    });
    target.on('error', () => client.destroy());
    client.on('close', () => target.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
