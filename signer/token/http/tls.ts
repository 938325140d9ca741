import type { ServerOptions } from 'node:https';
import { clientCertificateTls } from './client-tls.ts';

/**
 * Mozilla's intermediate configuration: for TLS 1.2 authenticated ciphers with forward secrecy only. Ciphers with finite
 * field Diffie-Hellman are left out: they need parameters, and every client that supports them supports elliptic curves.
 */
const ciphers = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ...['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ...['ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305'],
].join(':');

/** Key and chain of a server, PEM; the leaf first. */
export interface ServerCertificate {
  readonly keyPem: string;
  readonly chainPem: string;
  /** Seconds since the epoch. */
  readonly notAfter: number;
  /** What clients may miss in it, as a sentence; undefined for nothing. */
  readonly lack?: string | undefined;
}

/** TLS options of a listener; applied again when its certificate is renewed. */
export function tlsOptions(
  certificate: Pick<ServerCertificate, 'keyPem' | 'chainPem'>,
  speaks: { readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3'; readonly asksForCertificates?: boolean },
): ServerOptions {
  return {
    key: certificate.keyPem,
    cert: certificate.chainPem,
    minVersion: speaks.minTlsVersion,
    ciphers,
    ...(speaks.asksForCertificates && clientCertificateTls),
  };
}
