import type { Server, TlsOptions } from 'node:tls';
import type { Authorizer, Predicate } from './authorize.ts';
import { authorizerOf } from './authorizer.ts';
import { gate, verifySocket } from './gate.ts';
import { contextOptions } from './tls-context.ts';
import type { BundleSource } from './trust-bundle.ts';
import { createPeerVerifier } from './verify-peer.ts';
import type { X509Source } from './x509-source.ts';

export interface MtlsServerOptions {
  /** The identity that the server shows. */
  readonly source: X509Source;
  /** What verifies clients. Default: the bundles of `source`. */
  readonly bundles?: BundleSource;
  /** Which clients are accepted. There is no default. */
  readonly authorize: Authorizer | Predicate;
}

/**
 * Creates a server that shows the X509-SVID of the source and accepts clients with an X509-SVID that the authorizer allows.
 * A new certificate is shown to new connections, and the others go on. A refused client never reaches a listener: its
 * connection is closed, and the server emits `tlsClientError` with a PeerRefusedError.
 *
 * @param create makes the server from TLS options, to which it may add others: `tls.createServer`, `https.createServer`,
 *   `http2.createSecureServer`, or the server of a framework.
 *
 * @example
 * ```js
 * import { createServer } from 'node:https';
 * import { exactly } from 'kubespiffe/authorize';
 * import { createMtlsServer } from 'kubespiffe/tls-server';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const server = createMtlsServer(
 *   (tls) => createServer(tls, (request, response) => response.end('hello')),
 *   { source, authorize: exactly('spiffe://example.org/ns/shop/sa/web') },
 * );
 * server.on('tlsClientError', (error) => console.error(error.message));
 * server.listen(8443);
 * server.close();
 * ```
 *
 * @throws TypeError without an authorizer.
 */
export function createMtlsServer<S extends Server>(
  create: (options: TlsOptions) => S,
  options: MtlsServerOptions,
): S {
  const { source, bundles = source } = options;
  const authorizer = authorizerOf(options.authorize);
  const verify = createPeerVerifier(() => ({
    ...{ bundles: bundles.bundles, authorizer },
    ownId: source.svid.id.uri,
  }));
  // OpenSSL knows no roots here: some versions of Node.js hide the intermediates of a client that OpenSSL has accepted
  // (nodejs/node#65579), and then it would be unknown to which trust domain they lead. The gate verifies the whole chain.
  const current = () => contextOptions(source.svid, undefined);
  const server = create({ ...current(), requestCert: true, rejectUnauthorized: false });
  renew(server, current, new Set([source, bundles]));
  return gate(
    server,
    'secureConnection',
    (socket) => verifySocket(socket, verify),
    (error, socket) => {
      server.emit('tlsClientError', error, socket);
      socket.destroy();
    },
  );
}

/**
 * Creates a server that shows the X509-SVID of the source, to clients that need none.
 *
 * @example
 * ```js
 * import { createServer } from 'node:tls';
 * import { createTlsServer } from 'kubespiffe/tls-server';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const server = createTlsServer((tls) => createServer(tls, (socket) => socket.end('hello')), { source });
 * server.close();
 * ```
 */
export function createTlsServer<S extends Server>(
  create: (options: TlsOptions) => S,
  { source }: Pick<MtlsServerOptions, 'source'>,
): S {
  const current = () => contextOptions(source.svid, undefined);
  const server = create(current());
  renew(server, current, new Set([source]));
  return server;
}

/** Gives the server a new context after each update, until it is closed. */
function renew(
  server: Server,
  current: () => TlsOptions,
  sources: ReadonlySet<Pick<X509Source, 'events'>>,
): void {
  const onUpdate = () => server.setSecureContext(current());
  for (const { events } of sources) events.on('update', onUpdate);
  server.on('close', () => {
    for (const { events } of sources) events.off('update', onUpdate);
  });
}
