import type { EventEmitter } from 'node:events';

/**
 * Puts a decision before what a server itself does with each socket: with a new connection, or after its handshake.
 *
 * @param admit is given the socket, and calls `go` at once, later, or never.
 */
export function gate<S>(
  server: Pick<EventEmitter, 'listeners' | 'on' | 'removeAllListeners'>,
  event: 'connection' | 'secureConnection',
  admit: (socket: S, go: () => void) => void,
): void {
  const own = server.listeners(event);
  server.removeAllListeners(event);
  server.on(event, (socket: S) =>
    admit(socket, () => {
      for (const listener of own) listener.call(server, socket);
    }),
  );
}
