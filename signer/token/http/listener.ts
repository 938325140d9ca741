import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { pauseWith, type Time } from '../../kube/time.ts';
import type { Logger } from '../../observe/log.ts';
import type { ListenAddress } from '../../observe/server.ts';
import type { CertificateSource } from './certificate-source.ts';
import type { Http } from './http.ts';
import { type ServerCertificate, tlsOptions } from './tls.ts';

export interface ListenerNeeds {
  /** As it is called in logs and readiness, such as `token-endpoint`. */
  readonly name: string;
  readonly address: ListenAddress;
  readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Whether clients are asked for certificates; they need not have one. */
  readonly asksForCertificates?: boolean;
  readonly certificates: CertificateSource;
  /** Makes the server with its routes, with the first certificate. */
  readonly create: (tls: ReturnType<typeof tlsOptions>) => Promise<Http>;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly time: Time;
  /** How much longer it serves after the signal. */
  readonly lingerMs?: number;
  /** Says whether it serves, and why not. */
  readonly onState: (serves: boolean, reason: string) => void;
}

/** The Service needs time to send clients elsewhere. */
const usualLingerMs = 2_000;

/**
 * Listens once there is a certificate, serves until the signal is aborted and a moment longer, then drains. A renewed
 * certificate is for new connections; open ones keep theirs. When the last one has ended, or lacks something, the state and
 * a warning say so, because clients fail in the handshake, which is not visible here.
 *
 * @throws the errors of listen().
 */
export async function runListener(needs: ListenerNeeds, signal: AbortSignal): Promise<void> {
  const { name, address, certificates, log, lingerMs = usualLingerMs, onState } = needs;
  const certificate = await certificates.first((reason) => onState(false, reason), signal);
  if (!certificate) return;
  const tlsOf = (shown: ServerCertificate) => tlsOptions(shown, needs);
  const { app, server } = await needs.create(tlsOf(certificate));
  await app.ready();
  server.listen(address.port, ...(address.host ? [address.host] : []));
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  log.info({ listener: name, port }, 'listens');
  let listens = '';
  let lack: string | undefined;
  const show = (shown: ServerCertificate) => {
    // Not at each renewal, but again for another CA.
    if (shown.lack !== undefined && shown.lack !== lack) log.warn({ listener: name }, shown.lack);
    lack = shown.lack;
    listens = [`listens on port ${port}`, lack].filter((part) => part !== undefined).join('; ');
  };
  show(certificate);
  onState(true, listens);
  let wasGood = true;
  const follower = {
    use(renewed: ServerCertificate) {
      server.setSecureContext(tlsOf(renewed));
      show(renewed);
    },
    looked(ended: string | undefined) {
      if (ended !== undefined && wasGood) log.warn({ listener: name }, ended);
      wasGood = ended === undefined;
      onState(wasGood, ended ?? listens);
    },
  };
  try {
    await certificates.follow(follower, signal);
    await pauseWith(needs.time.timer)(lingerMs);
  } finally {
    onState(false, 'draining');
    await app.close();
  }
}
