import { once } from 'node:events';
import { createServer } from 'node:http';
import { closeAtAbort } from '../../client/close-at-abort.ts';
import { makeRoomForNew } from '../../client/room-for-new.ts';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import type { HealthConfig } from './config.ts';

/** What the helper has done so far. Nothing in it is secret. */
export interface HelperState {
  /** Whether every file was written. */
  isWritten: boolean;
  spiffeId?: string;
  /** When the certificate in the files ends, in seconds since the epoch. */
  notAfter?: number;
  /** What is wrong now. */
  problem?: string | undefined;
}

/**
 * Serves the state to probes: live is always 200, and ready is 200 while every file was written and the certificate in them has
 * not expired, otherwise 503.
 *
 * @param signal ends it. @throws KubespiffeError CONFIG_INVALID where the port is in use.
 */
export async function serveHealth(
  { port, livePath, readyPath }: HealthConfig,
  state: HelperState,
  signal: AbortSignal,
): Promise<void> {
  const isReady = () => state.isWritten && Date.now() / 1000 < (state.notAfter ?? 0);
  const limits = { headersTimeout: 5_000, requestTimeout: 5_000, connectionsCheckingInterval: 2_500 };
  const server = createServer(limits, (request, response) => {
    const path = request.url?.split('?')[0];
    const isKnown = path === livePath || path === readyPath;
    const status = isKnown ? (path === livePath || isReady() ? 200 : 503) : 404;
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    response.end(isKnown ? JSON.stringify({ ready: isReady(), ...state }) : '{}');
  });
  makeRoomForNew(server);
  server.listen({ port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? messageOf(error);
    throw new KubespiffeError('CONFIG_INVALID', `health.port ${port} cannot be used (${reason})`);
  }
  closeAtAbort(server, signal);
}
