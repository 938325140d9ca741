import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Checked, pass, refuse } from '../../observe/checked.ts';

/**
 * What a listener that asks for client certificates adds to its TLS. Every certificate is let in, as it is judged by
 * our own rules for each request; TLS proves that the peer holds its key. It does so in a full handshake alone, so no
 * session is handed out that could be resumed: a resumed one would bring a certificate along without any proof. Nor is
 * the handshake of a connection ever repeated (TLS 1.2), so that it has one certificate as long as it lasts.
 */
export const clientCertificateTls = {
  requestCert: true,
  rejectUnauthorized: false,
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
} as const;

const seen = new WeakMap<Socket, Checked<Uint8Array | undefined>>();

/**
 * The leaf that the peer has shown, DER, with the proof of its key in the handshake of this very connection: the same
 * array for each request that comes over it.
 */
export function peerCertificate(socket: Socket): Checked<Uint8Array | undefined> {
  const known = seen.get(socket);
  if (known) return known;
  const found = look(socket);
  seen.set(socket, found);
  return found;
}

function look(socket: Socket): Checked<Uint8Array | undefined> {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (!certificate) return pass(undefined);
  return (socket as TLSSocket).isSessionReused() ? refuse('SessionResumed') : pass(certificate.raw);
}
