import { rfc3339 } from '../../../spiffe/pki/time.ts';
import type { Authority } from '../../authority/pool.ts';
import { type Pause, pause as realPause } from '../../kube/timer.ts';
import type { Logger } from '../../observe/log.ts';
import { explain, type WaitReason } from '../../observe/reasons.ts';
import { readCertificateFiles } from './certificate-files.ts';
import { type EndpointCertificate, isToBeRenewed, makeEndpointCertificate } from './endpoint-certificate.ts';
import type { ServerCertificate } from './tls.ts';

/** Where a listener has its certificate from. */
export interface CertificateSource {
  /**
   * The first certificate, as soon as there is one; undefined when the signal comes before.
   *
   * @param onWaiting is told why there is none yet.
   */
  first(onWaiting: (reason: string) => void, signal: AbortSignal): Promise<ServerCertificate | undefined>;
  /** Looks for later certificates until the signal is aborted. A fault is logged; the last good one stays. */
  follow(follower: Follower, signal: AbortSignal): Promise<void>;
}

/** What a listener hears of its certificate. */
export interface Follower {
  /** There is a later one. */
  use(certificate: ServerCertificate): void;
  /** At each look: that the last one has ended and why there is none after it, or undefined while it is good. */
  looked(ended: string | undefined): void;
}

const retryMs = 1_000;
const checkMs = 5_000;

/** The endpoint's own SVIDs: renewed in time, and when another chain signs. */
export function ownCertificates(needs: {
  /** The authority that may sign certificates now, with everything that has to hold before, or why there is none. */
  readonly authority: () =>
    | { ok: true; authority: Authority }
    | { ok: false; reason: WaitReason; detail: string };
  readonly trustDomain: string;
  readonly dnsNames: readonly string[];
  readonly log: Pick<Logger, 'info'>;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly pause?: Pause;
}): CertificateSource {
  const { pause = realPause } = needs;
  const seconds = () => Math.floor(needs.now() / 1000);
  let current: EndpointCertificate | undefined;

  async function make(authority: Authority): Promise<EndpointCertificate> {
    const { trustDomain, dnsNames, randomBytes } = needs;
    current = await makeEndpointCertificate({
      authority,
      trustDomain,
      dnsNames,
      randomBytes,
      now: seconds(),
    });
    return current;
  }

  return {
    async first(onWaiting, signal) {
      while (!signal.aborted) {
        const usable = needs.authority();
        if (usable.ok) return make(usable.authority);
        onWaiting(`there is no certificate for the endpoint yet: ${explain(usable.reason, usable.detail)}`);
        await pause(retryMs, signal);
      }
      return undefined;
    },
    async follow({ use, looked }, signal) {
      while (!signal.aborted) {
        await pause(checkMs, signal);
        const usable = needs.authority();
        looked(usable.ok ? undefined : endOf(current, seconds(), explain(usable.reason, usable.detail)));
        if (!usable.ok || (current && !isToBeRenewed(current, usable.authority, seconds()))) continue;
        const renewed = await make(usable.authority);
        use(renewed);
        const { authorityId: authority, notAfter } = renewed;
        needs.log.info({ authority, notAfter }, 'the endpoint has a new certificate');
      }
    },
  };
}

/** Certificates from files that somebody else renews, such as a mounted Secret of cert-manager. */
export function filedCertificates(needs: {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly pause?: Pause;
}): CertificateSource {
  const { certificateFile, log, pause = realPause } = needs;
  let current: ServerCertificate | undefined;
  let lastFault: string | undefined;

  async function read(): Promise<ServerCertificate | undefined> {
    const outcome = await readCertificateFiles(needs, needs.now());
    const fault = outcome.ok ? undefined : outcome.reason;
    if (fault !== undefined && fault !== lastFault) log.warn({ certificateFile }, fault);
    lastFault = fault;
    return outcome.ok ? outcome.value : undefined;
  }

  return {
    async first(onWaiting, signal) {
      while (!signal.aborted) {
        current = await read();
        if (current) return current;
        onWaiting(lastFault ?? 'the certificate was not read yet');
        await pause(retryMs, signal);
      }
      return undefined;
    },
    async follow({ use, looked }, signal) {
      while (!signal.aborted) {
        await pause(checkMs, signal);
        const latest = await read();
        looked(lastFault === undefined ? undefined : endOf(current, needs.now() / 1000, lastFault));
        if (!latest || (latest.chainPem === current?.chainPem && latest.keyPem === current.keyPem)) continue;
        current = latest;
        use(latest);
        log.info({ certificateFile }, 'the bundle endpoint has a new certificate');
      }
    },
  };
}

/** What there is to say once a certificate has ended, at `now` in seconds since the epoch. */
function endOf(shown: ServerCertificate | undefined, now: number, fault: string): string | undefined {
  if (!shown || now < shown.notAfter) return undefined;
  return `its certificate ended at ${rfc3339(shown.notAfter)}, so nobody can verify it; there is no later one: ${fault}`;
}
