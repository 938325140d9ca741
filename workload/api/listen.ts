import { once } from 'node:events';
import { chmod, lstat, rm } from 'node:fs/promises';
import { connect, createServer, isIP } from 'node:net';
import { promisify } from 'node:util';
import { setup as setUpIpAddresses } from '@grpc/grpc-js/build/src/resolver-ip.js';
import type { Server } from '@grpc/grpc-js/build/src/server.js';
import { ServerCredentials } from '@grpc/grpc-js/build/src/server-credentials.js';
import type { EndpointAddress } from '../../client/endpoint-address.ts';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { withValidAuthority } from './authority.ts';

// What a server needs of the set-up of the whole package (server.ts).
setUpIpAddresses();

/**
 * Listens until the signal is aborted, then ends the streams and removes the socket.
 * @returns once it listens.
 * @throws KubespiffeError FILE_UNWRITABLE when the socket cannot be made, ALREADY_EXISTS when another process serves it.
 */
export async function listen(server: Server, address: EndpointAddress, signal: AbortSignal): Promise<void> {
  if (address.kind === 'unix') await removeStaleSocket(address.path);
  try {
    if (address.kind === 'unix') await listenAtSocket(server, address.path, signal);
    else await listenAtPort(server, address);
  } catch (error) {
    throw new KubespiffeError('FILE_UNWRITABLE', `cannot listen at ${address.uri}: ${messageOf(error)}`);
  }
  signal.addEventListener('abort', () => server.forceShutdown(), { once: true });
}

async function listenAtSocket(server: Server, path: string, signal: AbortSignal): Promise<void> {
  const { injectConnection } = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((socket) => injectConnection(withValidAuthority(socket)));
  listener.listen(path);
  await once(listener, 'listening');
  // Containers of a pod run as different users; those that mount the folder of the socket may connect.
  await chmod(path, 0o666);
  signal.addEventListener('abort', () => listener.close(), { once: true });
}

async function listenAtPort(
  server: Server,
  { host, port }: Extract<EndpointAddress, { kind: 'tcp' }>,
): Promise<void> {
  const target = `${isIP(host) === 4 ? 'ipv4' : 'ipv6'}:${host}:${port}`;
  await promisify(server.bindAsync.bind(server))(target, ServerCredentials.createInsecure());
}

/** A process that was killed leaves its socket behind. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket()) {
    throw new KubespiffeError('ALREADY_EXISTS', `${path} exists and is not a socket`, {
      hint: 'remove it, or choose another path',
    });
  }
  const socket = connect(path);
  const isServed = await once(socket, 'connect').then(
    () => true,
    () => false,
  );
  socket.destroy();
  if (isServed) {
    throw new KubespiffeError('ALREADY_EXISTS', `another process serves ${path}`, {
      hint: 'end it, or choose another path',
    });
  }
  await rm(path, { force: true });
}
