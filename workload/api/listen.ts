import { once } from 'node:events';
import { chmod, lstat, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import type { Server } from '@grpc/grpc-js/build/src/server.js';
import { ServerCredentials } from '@grpc/grpc-js/build/src/server-credentials.js';
import { closeAtAbort } from '../../client/close-at-abort.ts';
import type { EndpointAddress } from '../../client/endpoint-address.ts';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { prefaceLength, withValidAuthority } from './authority.ts';

/** How long a connection may stay open without the preface of HTTP/2, in milliseconds. */
const prefaceMs = 10_000;

/**
 * Listens until the signal is aborted, then ends the streams and the connections, and removes the socket.
 * @returns once it listens.
 * @throws KubespiffeError FILE_UNWRITABLE when the socket cannot be made, ALREADY_EXISTS when another process serves it.
 */
export async function listen(server: Server, address: EndpointAddress, signal: AbortSignal): Promise<void> {
  const isUnix = address.kind === 'unix';
  if (isUnix) await removeStaleSocket(address.path);
  const { injectConnection } = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((socket) => {
    endIfSilent(socket);
    // The API sees who came over TCP by the address of the socket.
    injectConnection(isUnix ? withValidAuthority(socket) : socket);
  });
  signal.addEventListener('abort', () => server.forceShutdown(), { once: true });
  try {
    if (isUnix) listener.listen(address.path);
    else listener.listen(address.port, address.host.replace(/^\[|\]$/g, ''));
    await once(listener, 'listening');
    closeAtAbort(listener, signal);
    // Containers of a pod run as different users; those that mount the folder of the socket may connect.
    if (isUnix) await chmod(address.path, 0o666);
  } catch (error) {
    throw new KubespiffeError('FILE_UNWRITABLE', `cannot listen at ${address.uri}: ${messageOf(error)}`);
  }
}

/** A client that sends nothing must not hold a file descriptor for ever. */
function endIfSilent(socket: Socket): void {
  const end = () => {
    if (socket.bytesRead < prefaceLength) socket.destroy();
  };
  const timer = setTimeout(end, prefaceMs).unref();
  socket.once('close', () => clearTimeout(timer));
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
