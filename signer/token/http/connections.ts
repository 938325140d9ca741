import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Limiter } from '../../kube/limiter.ts';
import type { Time } from '../../kube/time.ts';
import { addressOf } from './address.ts';
import { gate } from './gate.ts';
import { createHandshakeTurns } from './handshakes.ts';
import type { ClientCertificateLimits, ConnectionLimits } from './limits.ts';

/**
 * Why a connection was not let in: too many are open, of all or of its address, or it opens them too fast; it did not
 * come to its TLS handshake in time, or sent far too much in it.
 */
export type Excess = 'full' | 'address' | 'rate' | 'handshake' | 'certificate';

/** Near the total, connections that only wait for a further request give way to new ones. */
const fullness = 7 / 8;

export interface ConnectionNeeds {
  readonly limits: ConnectionLimits;
  /** Undefined where no client is asked for a certificate. */
  readonly clientCertificates: ClientCertificateLimits | undefined;
  /** The longest that a connection waits for its handshake, in milliseconds. */
  readonly handshakeMs: number;
  /** Limits new connections by address: each costs a handshake, even if no request follows. */
  readonly rate: Limiter;
  /** Is called for each connection that was not let in. */
  readonly onCut: (cause: Excess) => void;
  readonly time: Time;
}

/**
 * Bounds the connections of a server. What exceeds a limit is closed before anything is read from it, and a connection
 * with too large a certificate before anything is read of its requests. How long one connection may do nothing is a
 * matter of the server's own timeouts.
 *
 * @returns a function that breaks every open connection off, also those that have got no further than TCP.
 */
export function limitConnections(server: Server, needs: ConnectionNeeds): () => void {
  const { limits, clientCertificates, rate, onCut } = needs;
  const open = new Map<string, Connection>();
  const byAddress = new Map<string, number>();
  const turns = clientCertificates && createHandshakeTurns(clientCertificates.handshakes);

  server.maxConnections = limits.total;
  server.on('drop', () => onCut('full'));
  gate<Socket>(server, 'connection', (socket, startTls) => {
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
    const peer = peerOf(socket);
    const connection: Connection = { socket, endTurn: () => undefined };
    byAddress.set(address, ofAddress + 1);
    open.set(peer, connection);
    socket.once('close', () => {
      connection.endTurn();
      open.delete(peer);
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left > 0) byAddress.set(address, left);
      else byAddress.delete(address);
    });
    if (open.size >= limits.total * fullness) server.closeIdleConnections();
    if (turns) connection.endTurn = waitForTurn(socket, (start) => turns(address, start), startTls);
    else startTls();
  });

  /** @returns what ends the turn, or the waiting for it. */
  function waitForTurn(
    socket: Socket,
    turn: (start: () => void) => () => void,
    startTls: () => void,
  ): () => void {
    let hasStarted = false;
    let cancelTimer = () => {};
    const endTurn = turn(() => {
      hasStarted = true;
      cancelTimer();
      startTls();
    });
    if (!hasStarted) {
      // There is no other listener yet, and an error without a listener ends the process.
      socket.on('error', () => undefined);
      cancelTimer = needs.time.timer(() => {
        onCut('handshake');
        socket.destroy();
      }, needs.handshakeMs);
    }
    return () => {
      cancelTimer();
      endTurn();
    };
  }

  if (clientCertificates) {
    gate<TLSSocket>(server, 'secureConnection', (secured, serve) => {
      const connection = open.get(peerOf(secured));
      if (!connection) return;
      // The certificate itself is not looked at: an object made of it would keep it in memory until it is collected.
      if (connection.socket.bytesRead > clientCertificates.handshakeBytes) {
        onCut('certificate');
        rate.charge(addressOf(secured), clientCertificates.costOfExcess);
        secured.destroy();
        return;
      }
      connection.endTurn();
      serve();
    });
  }
  return () => {
    for (const { socket } of open.values()) socket.destroy();
  };
}

interface Connection {
  readonly socket: Socket;
  endTurn: () => void;
}

/** The same for a connection and for the TLS over it; no other one has it at the same time. */
function peerOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}
