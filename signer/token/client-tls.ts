import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Checked, pass, refuse } from './refusals.ts';

/**
 * What a listener that asks for client certificates adds to its TLS. Every certificate is let in, as it is judged by
 * our own rules for each request; TLS proves that the peer holds its key. It does so in a full handshake alone, so no
 * session is handed out that could be resumed: a resumed one would bring a certificate along without any proof.
 */
export const clientCertificateTls = {
  requestCert: true,
  rejectUnauthorized: false,
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;

/** The leaf that the peer has shown, DER, with the proof of its key in the handshake of this very connection. */
export function peerCertificate(socket: Socket): Checked<Uint8Array | undefined> {
  if (!(socket instanceof TLSSocket)) return pass(undefined);
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) return pass(undefined);
  return socket.isSessionReused() ? refuse('SessionResumed') : pass(certificate.raw);
}
