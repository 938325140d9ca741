import type { Server, Socket } from 'node:net';

/** More than all probes and scrapers of a cluster keep open. */
const mostConnections = 64;

/**
 * Bounds the connections at the cost of the oldest. A client with many open ones must not keep kubelet's next probe out: a
 * pod whose probes fail is restarted.
 */
export function makeRoomForNew(server: Server): void {
  // Sets keep insertion order, so the first one is the oldest.
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    const [oldest] = open;
    if (oldest && open.size >= mostConnections) {
      open.delete(oldest);
      oldest.destroy();
    }
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
}
