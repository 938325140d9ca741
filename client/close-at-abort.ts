import type { Server, Socket } from 'node:net';

/**
 * Closes a server that listens, and all its connections, when the signal is aborted. `close` alone would wait for the clients,
 * so that one client which sends nothing keeps the process running.
 */
export function closeAtAbort(server: Server, signal: AbortSignal): void {
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  const close = () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
}
