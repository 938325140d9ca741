import type { EventEmitter } from 'node:events';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Authorizer } from './authorize.ts';
import type { TrustBundles } from './trust-bundle.ts';
import { PeerRefusedError, verifyPeer } from './verify-peer.ts';

const verifiedId = Symbol('kubespiffe.verifiedId');

type VerifiedSocket = TLSSocket & { [verifiedId]?: SpiffeId };

/**
 * The SPIFFE ID of the peer at the other end of a connection that was made with this library; undefined for any other
 * connection, and where clients are not verified.
 *
 * @param socket a TLS socket, such as `request.socket`, or `request.stream.session.socket` in HTTP/2.
 *
 * @example
 * ```js
 * import { createServer } from 'node:https';
 * import { memberOf } from 'kubespiffe/authorize';
 * import { peerIdOf } from 'kubespiffe/tls-peer';
 * import { createMtlsServer } from 'kubespiffe/tls-server';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const server = createMtlsServer(
 *   (tls) => createServer(tls, (request, response) => response.end(peerIdOf(request.socket)?.uri)),
 *   { source, authorize: memberOf('example.org') },
 * );
 * server.close();
 * ```
 */
export function peerIdOf(socket: object): SpiffeId | undefined {
  return (socket as VerifiedSocket)[verifiedId];
}

/** What a peer is held against. All of it is read at each handshake. */
export interface Expectations {
  readonly bundles: TrustBundles;
  readonly authorizer: Authorizer;
  readonly ownId: string | undefined;
}

/**
 * Lets the event by which a TLS connection becomes usable through only where the peer is accepted. Node.js has no callback
 * for the certificate of a client and calls that for the certificate of a server only without session resumption. The
 * event is the one place that every connection passes, before any listener and before data is read.
 *
 * @param onRefused has to destroy the socket.
 */
export function gate<Emitter extends EventEmitter>(
  emitter: Emitter,
  event: 'secureConnect' | 'secureConnection',
  expectations: () => Expectations,
  onRefused: (error: PeerRefusedError, socket: TLSSocket) => void,
): Emitter {
  const emit = emitter.emit.bind(emitter) as (name: string | symbol, ...words: unknown[]) => boolean;
  emitter.emit = (name: string | symbol, ...words: unknown[]) => {
    if (name !== event) return emit(name, ...words);
    const socket = (event === 'secureConnect' ? emitter : words[0]) as VerifiedSocket;
    try {
      socket[verifiedId] = verifySocket(socket, expectations(), event === 'secureConnect');
    } catch (error) {
      onRefused(error as PeerRefusedError, socket);
      return true;
    }
    return emit(name, ...words);
  };
  return emitter;
}

/** @throws PeerRefusedError */
function verifySocket(socket: TLSSocket, expected: Expectations, isClient: boolean): SpiffeId {
  const id = verifyChain(chainOf(socket.getPeerCertificate(true)), expected);
  const { authorizationError } = socket;
  // A server gives OpenSSL no roots, so OpenSSL accepts none of its clients.
  if (!isClient || !authorizationError) return id;
  throw new PeerRefusedError('tls', `OpenSSL reports ${authorizationError}`, id.uri, expected.ownId);
}

/**
 * DER of a certificate and its issuers, as far as Node.js found them among what the peer sent.
 *
 * @param certificate from `getPeerCertificate(true)` or `checkServerIdentity`.
 */
export function chainOf(
  certificate: PeerCertificate & { issuerCertificate?: PeerCertificate },
): Uint8Array[] {
  const chain = new Map<PeerCertificate, Uint8Array>();
  // Without a certificate, there is an empty object. A root is its own issuer.
  for (
    let one: typeof certificate | undefined = certificate;
    one?.raw && !chain.has(one);
    one = one.issuerCertificate
  )
    chain.set(one, one.raw);
  return [...chain.values()];
}

/** Verifies a chain of DER by what is expected now. @throws PeerRefusedError */
export function verifyChain(chain: readonly Uint8Array[], expected: Expectations): SpiffeId {
  return verifyPeer(chain, { ...expected, now: Math.floor(Date.now() / 1000) });
}
