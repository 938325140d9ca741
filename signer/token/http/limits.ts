import type { ConnectionLimits } from './connections.ts';

export const maxBodyBytes = 64 * 1024;
export const maxHeaderBytes = 16 * 1024;

/** What one client, or all of them, can take of a listener. Times in milliseconds. */
export interface HttpLimits {
  readonly connections: ConnectionLimits;
  /** Requests at once; each waits for the API server at most. */
  readonly requests: number;
  readonly handshakeMs: number;
  /** The whole request has to be there in this time; whoever is slower is cut. */
  readonly requestMs: number;
  /** Between two requests. */
  readonly keepAliveMs: number;
  /** A connection on which nothing moves while an answer is written. */
  readonly idleMs: number;
  /** For what is under way when the listener closes. */
  readonly closingMs: number;
}

/**
 * A connection takes some 60 KB of memory, a request its body in addition. Three full listeners are within the memory
 * limit that manifests/ give to a signer with listeners: test/manifests/base.test.ts reckons it.
 */
export const usualLimits: HttpLimits = {
  connections: { total: 1_024, perAddress: 256 },
  requests: 1_024,
  handshakeMs: 5_000,
  requestMs: 10_000,
  keepAliveMs: 60_000,
  idleMs: 90_000,
  closingMs: 1_500,
};
