import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Limiter } from '../limiter.ts';
import { addressOf } from './address.ts';

/** How many connections a server has open at most. */
export interface ConnectionLimits {
  readonly total: number;
  /** From one address, so that no single client can have them all. */
  readonly perAddress: number;
}

/** Why a connection was not let in: too many are open, of all or of its address, or it opens them too fast. */
export type Excess = 'full' | 'address' | 'rate';

/** Near the total, connections that only wait for a further request give way to new ones. */
const fullness = 7 / 8;

/**
 * Bounds the connections of a server. What exceeds a limit is closed before anything is read from it. How long one
 * connection may do nothing is a matter of the server's own timeouts.
 *
 * @param rate of new connections, by address: each costs a handshake, whether a request follows or not.
 * @param onCut is told of each connection that was not let in.
 * @returns a function that breaks every open connection off, also those that have got no further than TCP.
 */
export function limitConnections(
  server: Pick<Server, 'closeIdleConnections' | 'maxConnections' | 'on'>,
  limits: ConnectionLimits,
  rate: Limiter,
  onCut: (cause: Excess) => void,
): () => void {
  const open = new Set<Socket>();
  const byAddress = new Map<string, number>();

  server.maxConnections = limits.total;
  server.on('drop', () => onCut('full'));
  server.on('connection', (socket: Socket) => {
    const address = addressOf(socket);
    // A peer that has gone already has no address any more.
    if (address === '') return;
    const ofAddress = byAddress.get(address) ?? 0;
    const excess = ofAddress >= limits.perAddress ? 'address' : rate.take(address) > 0 ? 'rate' : undefined;
    if (excess) {
      onCut(excess);
      socket.destroy();
      return;
    }
    byAddress.set(address, ofAddress + 1);
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left > 0) byAddress.set(address, left);
      else byAddress.delete(address);
    });
    if (open.size >= limits.total * fullness) server.closeIdleConnections();
  });
  return () => {
    for (const socket of open) socket.destroy();
  };
}
