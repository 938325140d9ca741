import type { Pool } from '../../authority/pool.ts';
import type { PoolView } from '../../authority/view.ts';
import type { Limiter } from '../../kube/limiter.ts';
import type { Time } from '../../kube/time.ts';
import { type Checked, refuse } from '../../observe/checked.ts';
import { type Authenticated, charge } from './caller.ts';
import {
  type CertificateCaller,
  type CertificateReading,
  judgeClientCertificate,
  readClientCertificate,
} from './client-certificate.ts';

/**
 * Verifies client certificates against the current pool. The certificate of a connection is read, and its signature
 * verified, once and again after each change of the pool. It is judged for each request.
 */
export function createCertificateAuthenticator(needs: {
  readonly pool: Pick<PoolView, 'current'>;
  readonly trustDomain: string;
  /** By the UID of the pod. */
  readonly podLimits: Pick<Limiter, 'take'>;
  readonly time: Time;
}): (der: Uint8Array) => Authenticated<CertificateCaller> {
  /** By the array itself, which lives as long as its connection. */
  const readings = new WeakMap<Uint8Array, { pool: Pool; reading: Checked<CertificateReading> }>();

  function read(der: Uint8Array, pool: Pool): Checked<CertificateReading> {
    const known = readings.get(der);
    if (known?.pool === pool) return known.reading;
    const reading = readClientCertificate(der, pool, needs.trustDomain);
    readings.set(der, { pool, reading });
    return reading;
  }

  return (der) => {
    const pool = needs.pool.current();
    if (!pool) return refuse('NotReady', 'the pool of authorities was not read yet');
    const reading = read(der, pool);
    if (!reading.ok) return reading;
    const judged = judgeClientCertificate(reading.value, Math.floor(needs.time.now() / 1000));
    return judged.ok ? charge(judged.value, needs.podLimits) : judged;
  };
}
