export const maxBodyBytes = 64 * 1024;
export const maxHeaderBytes = 16 * 1024;

/** How many connections, or handshakes, a server has at most. */
export interface ConnectionLimits {
  readonly total: number;
  /** From one address, so that no single client can have them all. */
  readonly perAddress: number;
}

/** What a server that asks for client certificates takes of them. */
export interface ClientCertificateLimits {
  /** Under way at once. */
  readonly handshakes: ConnectionLimits;
  /** That a connection may have sent when its handshake is over: the certificates, and what it has sent since. */
  readonly handshakeBytes: number;
  /** For a connection beyond that, as many new connections of its address are given up. */
  readonly costOfExcess: number;
}

/** What one client, and all of them together, may use of a listener. Times in milliseconds. */
export interface HttpLimits {
  readonly connections: ConnectionLimits;
  /** For a listener with client certificates, where a connection may hold much more memory. */
  readonly connectionsWithCertificates: ConnectionLimits;
  readonly clientCertificates: ClientCertificateLimits;
  /** Requests at once; each waits for the API server at most. */
  readonly requests: number;
  readonly handshakeMs: number;
  /** For the whole request to arrive; then the connection is closed. */
  readonly requestMs: number;
  /** Between two requests. */
  readonly keepAliveMs: number;
  /** For a connection without progress while an answer is written. */
  readonly idleMs: number;
  /** For requests under way when the listener closes. */
  readonly closingMs: number;
}

/**
 * Three full listeners, one of which asks for certificates, are within the memory limit that manifests/ give to a signer
 * with listeners: test/manifests/base.test.ts adds it up.
 */
export const usualLimits: HttpLimits = {
  connections: { total: 1_024, perAddress: 256 },
  connectionsWithCertificates: { total: 512, perAddress: 128 },
  clientCertificates: {
    handshakes: { total: 32, perAddress: 8 },
    // Certificates of pods have 1 KB, their chains a few. A first request that follows at once counts as well.
    handshakeBytes: 16 * 1024,
    // OpenSSL takes 10 to 20 ms for the largest, sixty times as long as for one of a pod.
    costOfExcess: 60,
  },
  requests: 1_024,
  handshakeMs: 5_000,
  requestMs: 10_000,
  keepAliveMs: 60_000,
  idleMs: 90_000,
  closingMs: 1_500,
};
