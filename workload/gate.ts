import type { EventEmitter } from 'node:events';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { SpiffeId } from '../spiffe/id.ts';
import type { PeerRefusedError } from './peer-refused.ts';
import type { VerifyPeer } from './verify-peer.ts';

/** Where the verified SPIFFE ID of the peer is kept. The sockets of HTTP/2 sessions pass it on. */
export const verifiedId = Symbol('kubespiffe.verifiedId');

export type VerifiedSocket = TLSSocket & { [verifiedId]?: SpiffeId };

/**
 * Lets the event by which a TLS connection becomes usable through only where the peer is accepted. Node.js has no callback
 * for the certificate of a client and calls that for the certificate of a server only without session resumption. The
 * event is the one place that every connection passes, before any listener and before data is read.
 *
 * @param verify throws a PeerRefusedError. onRefused: has to destroy the socket.
 */
export function gate<Emitter extends EventEmitter>(
  emitter: Emitter,
  event: 'secureConnect' | 'secureConnection',
  verify: (socket: TLSSocket) => SpiffeId,
  onRefused: (error: PeerRefusedError, socket: TLSSocket) => void,
): Emitter {
  const emit = emitter.emit.bind(emitter) as (name: string | symbol, ...words: unknown[]) => boolean;
  emitter.emit = (name: string | symbol, ...words: unknown[]) => {
    if (name !== event) return emit(name, ...words);
    const socket = (event === 'secureConnect' ? emitter : words[0]) as VerifiedSocket;
    try {
      socket[verifiedId] = verify(socket);
    } catch (error) {
      onRefused(error as PeerRefusedError, socket);
      return true;
    }
    return emit(name, ...words);
  };
  return emitter;
}

/**
 * Verifies the certificate of a socket. By `getPeerCertificate`, since `getPeerX509Certificate` takes the certificate away
 * from those who call it afterwards (nodejs/node#65579).
 *
 * @throws PeerRefusedError
 */
export function verifySocket(socket: TLSSocket, verify: VerifyPeer): SpiffeId {
  // Without a certificate, it is an empty object.
  return verify(socket.getPeerCertificate().raw, () => issuersOf(socket.getPeerCertificate(true)));
}

/** DER of the issuers of a certificate that Node.js found in what the peer sent. A root is its own issuer. */
export function issuersOf(
  certificate: PeerCertificate & { issuerCertificate?: PeerCertificate },
): Uint8Array[] {
  const seen = new Set<PeerCertificate>();
  for (
    let one: typeof certificate | undefined = certificate;
    one && !seen.has(one);
    one = one.issuerCertificate
  )
    seen.add(one);
  return [...seen].slice(1).map(({ raw }) => raw);
}
