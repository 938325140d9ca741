import { checkLeaf } from '../../../spiffe/conformance.ts';
import { infrastructurePath } from '../../../spiffe/infrastructure.ts';
import { type CertificateFacts, readCertificate } from '../../../spiffe/pki/certificate.ts';
import { readPodIdentity } from '../../../spiffe/pki/leaf-extensions.ts';
import { isSignedBy } from '../../../spiffe/pki/verify.ts';
import type { Pool, PooledAuthority } from '../../authority/pool.ts';
import { isPublished } from '../../authority/states.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import { type Authenticated, type Caller, withOwner } from './caller.ts';
import { toleranceSeconds } from './psat.ts';

/** The pod that a client certificate proves. */
export interface CertificateCaller extends Caller {
  readonly provedBy: 'certificate';
  /** The SPIFFE ID in the certificate. */
  readonly spiffeId: string;
}

/** A certificate with its issuers in a pool. Nothing in it depends on the time, so it is read once and judged often. */
export interface CertificateReading {
  readonly leaf: CertificateFacts;
  /** Every authority of the pool whose key has signed the leaf. */
  readonly issuers: readonly PooledAuthority[];
  /** Its pod, or what is wrong with the leaf by itself. */
  readonly caller: Checked<CertificateCaller>;
}

/**
 * Reads a client certificate and looks for its issuers in a pool. Only what an authority of the pool has signed itself
 * counts; what the peer sends beside its leaf does not. Pure.
 *
 * @param der the leaf; TLS has proved that the peer holds its key.
 */
export function readClientCertificate(
  der: Uint8Array,
  pool: Pick<Pool, 'authorities'>,
  trustDomain: string,
): Checked<CertificateReading> {
  const read = readCertificate(der);
  if (!read.ok) return refuse('CertificateMalformed', read.reason);
  const leaf = read.value;
  const issuers = pool.authorities.filter(({ signing }) => isSignedBy(leaf, signing));
  return pass({ leaf, issuers, caller: callerOf(leaf, trustDomain) });
}

/**
 * The pod that a certificate proves, by the certificate and the pool alone. Whether the pod exists and has that
 * SPIFFE ID is checked later. The certificate must be signed by an authority in the live bundles and by no tainted one (a
 * tainted key may be in the pool under several names), be valid now, keep every clause for a leaf of our trust domain,
 * not belong to our infrastructure, and name its pod. Pure.
 *
 * @param now seconds since the epoch.
 */
export function judgeClientCertificate(
  { leaf, issuers, caller }: CertificateReading,
  now: number,
): Authenticated<CertificateCaller> {
  if (issuers.some(({ tainted }) => tainted)) return refuse('CertificateTainted');
  const isTrusted = issuers.some(
    ({ state, root, intermediates }) =>
      isPublished(state) && [root, ...intermediates].every((each) => isInTime(each, now)),
  );
  if (!isTrusted) return refuse('CertificateUntrusted');
  if (isInTime(leaf, now)) return caller;
  const refused = refuse(now >= leaf.notAfter ? 'CertificateExpired' : 'CertificateNotYetValid');
  return withOwner(refused, caller.ok ? caller.value : undefined);
}

function isInTime({ notBefore, notAfter }: CertificateFacts, now: number): boolean {
  return now + toleranceSeconds >= notBefore && now < notAfter;
}

function callerOf(leaf: CertificateFacts, trustDomain: string): Checked<CertificateCaller> {
  // Advice of the standards counts too: everything that we sign follows it.
  const broken = checkLeaf(leaf, trustDomain).find(({ ok }) => !ok);
  if (broken) return refuse('CertificateNotSvid', `${broken.clause}: ${broken.message}`);
  const [spiffeId = ''] = leaf.uris;
  if (spiffeId.startsWith(`spiffe://${trustDomain}/${infrastructurePath}/`)) {
    return refuse('CertificateOfInfrastructure');
  }
  const identity = readPodIdentity(leaf.extensions);
  if (!identity) return refuse('CertificateWithoutPod', 'it has no PodIdentity extension');
  if (!identity.ok) return refuse('CertificateWithoutPod', identity.reason);
  const { namespace, serviceAccountName, serviceAccountUID, podName, podUID } = identity.value;
  if (!namespace || !serviceAccountName || !podName || !podUID) {
    return refuse('CertificateWithoutPod', 'its PodIdentity extension leaves out a name or a UID');
  }
  return pass({
    namespace,
    serviceAccount: { name: serviceAccountName, uid: serviceAccountUID },
    pod: { name: podName, uid: podUID },
    expiresAt: leaf.notAfter,
    id: leaf.serialHex,
    provedBy: 'certificate',
    spiffeId,
  });
}
