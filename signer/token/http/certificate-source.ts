import { KubespiffeError, messageOf } from '../../../spiffe/errors.ts';
import { failure, type Result, success } from '../../../spiffe/pki/result.ts';
import { rfc3339 } from '../../../spiffe/pki/time.ts';
import { unlessKeyUnavailable } from '../../keys/remote-key.ts';
import { pauseWith, type Time } from '../../kube/time.ts';
import type { Logger } from '../../observe/log.ts';
import { explain } from '../../observe/reasons.ts';
import type { X509ServiceNeeds } from '../svid/x509-service.ts';
import { readCertificateFiles } from './certificate-files.ts';
import {
  type EndpointCertificate,
  endpointLifetimeSeconds,
  isToBeRenewed,
  makeEndpointCertificate,
} from './endpoint-certificate.ts';
import type { ServerCertificate } from './tls.ts';

/** Where a listener gets its certificate from. */
export interface CertificateSource {
  /**
   * The first certificate, as soon as there is one; undefined when the signal comes before.
   *
   * @param onWaiting receives the reason why there is none yet.
   */
  first(onWaiting: (reason: string) => void, signal: AbortSignal): Promise<ServerCertificate | undefined>;
  /** Looks for later certificates until the signal is aborted. Problems are logged; the last good one stays. */
  follow(follower: Follower, signal: AbortSignal): Promise<void>;
}

/** What a listener does about its certificate. */
export interface Follower {
  /** There is a later one. */
  use(certificate: ServerCertificate): void;
  /** At each look: that the current one has ended and why there is no newer one, or undefined while it is valid. */
  looked(ended: string | undefined): void;
}

const retryMs = 1_000;
const checkMs = 5_000;

/**
 * @param look finds the certificate that the listener should have now: the same object while it should keep the current
 *   one, or the reason why there is none.
 */
function createSource<C extends ServerCertificate>(
  time: Time,
  look: (current: C | undefined) => Promise<Result<C>>,
  onRenewed: (renewed: C) => void,
): CertificateSource {
  const pause = pauseWith(time.timer);
  let current: C | undefined;
  return {
    async first(onWaiting, signal) {
      while (!signal.aborted) {
        const found = await look(undefined);
        if (found.ok) {
          current = found.value;
          return current;
        }
        onWaiting(`there is no certificate for the endpoint yet: ${found.reason}`);
        await pause(retryMs, signal);
      }
      return undefined;
    },
    async follow({ use, looked }, signal) {
      while (!signal.aborted) {
        await pause(checkMs, signal);
        const found = await look(current);
        if (found.ok && found.value !== current) {
          current = found.value;
          use(current);
          onRenewed(current);
        }
        looked(found.ok ? undefined : endOf(current, time.now() / 1000, found.reason));
      }
    },
  };
}

/** The endpoint's own SVIDs: renewed in time, and when another chain signs. */
export function ownCertificates(
  needs: Pick<X509ServiceNeeds, 'authority' | 'reserve' | 'randomBytes'> & {
    readonly trustDomain: string;
    readonly dnsNames: readonly string[];
    readonly log: Pick<Logger, 'info'>;
    readonly time: Time;
  },
): CertificateSource {
  const { trustDomain, dnsNames, randomBytes, log } = needs;
  return createSource<EndpointCertificate>(
    needs.time,
    async (current) => {
      const usable = needs.authority();
      if (!usable.ok) return failure(explain(usable.reason, usable.detail));
      const { authority } = usable;
      const now = Math.floor(needs.time.now() / 1000);
      if (current && !isToBeRenewed(current, authority, now)) return success(current);
      try {
        await needs.reserve(authority, now + endpointLifetimeSeconds);
      } catch (error) {
        return failure(explain('SigningNotRecorded', messageOf(error)));
      }
      const made = await makeEndpointCertificate({
        ...{ authority, trustDomain, dnsNames, randomBytes, now },
      }).catch(unlessKeyUnavailable);
      if (made instanceof KubespiffeError) {
        return failure(explain('KeyUnavailable', `authority ${authority.id}, ${made.message}`));
      }
      // The pool may have changed, or its view become too old, while this waited or the process stood still.
      const still = needs.authority();
      if (!still.ok) return failure(explain(still.reason, still.detail));
      if (isToBeRenewed(made, still.authority, now)) return failure('another CA signs now');
      return success(made);
    },
    ({ authorityId, notAfter }) =>
      log.info({ authority: authorityId, notAfter }, 'the endpoint has a new certificate'),
  );
}

/** Certificates from files that are renewed by others, such as a mounted Secret of cert-manager. */
export function filedCertificates(needs: {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  readonly time: Time;
}): CertificateSource {
  const { certificateFile, log } = needs;
  let lastProblem: string | undefined;
  return createSource<ServerCertificate>(
    needs.time,
    async (current) => {
      const latest = await readCertificateFiles(needs, needs.time.now());
      const problem = latest.ok ? undefined : latest.reason;
      if (problem !== undefined && problem !== lastProblem) log.warn({ certificateFile }, problem);
      lastProblem = problem;
      const isSame =
        latest.ok && latest.value.chainPem === current?.chainPem && latest.value.keyPem === current.keyPem;
      return isSame ? success(current) : latest;
    },
    () => log.info({ certificateFile }, 'the bundle endpoint has a new certificate'),
  );
}

/** What to report once a certificate has ended, at `now` in seconds since the epoch. */
function endOf(shown: ServerCertificate | undefined, now: number, problem: string): string | undefined {
  if (!shown || now < shown.notAfter) return undefined;
  return `its certificate ended at ${rfc3339(shown.notAfter)}, so clients refuse it; there is no newer one: ${problem}`;
}
