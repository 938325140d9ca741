import type { Pool, PooledAuthority } from '../authority/pool.ts';
import { isPublished } from '../authority/states.ts';
import { type CertificateFacts, readCertificate } from '../pki/certificate.ts';
import { readPodIdentity } from '../pki/leaf-extensions.ts';
import { isSignedBy } from '../pki/verify.ts';
import { checkLeaf } from '../spiffe/conformance.ts';
import type { Caller } from './caller.ts';
import { infrastructurePath } from './certificate.ts';
import { toleranceSeconds } from './psat.ts';
import { type Checked, pass, type Refused, refuse } from './refusals.ts';

/** Who calls with a certificate. */
export interface CertificateCaller extends Caller {
  readonly provedBy: 'certificate';
  /** The SPIFFE ID in the certificate. */
  readonly spiffeId: string;
}

/** What a certificate is held against. */
export interface CertificatePolicy {
  readonly pool: Pick<Pool, 'authorities'>;
  readonly trustDomain: string;
}

/**
 * Who holds a client certificate, as far as the certificate and the pool can tell; whether the pod lives, and has that
 * SPIFFE ID, is asked later. It has to be a leaf that an authority in our live bundles has signed itself, not tainted:
 * what the peer sends beside it counts for nothing. Then it has to be in its time, keep every clause for a leaf of our
 * trust domain, be none of our infrastructure's, and name its pod. Pure.
 *
 * @param der the leaf; TLS has proved that the peer holds its key. @param now seconds since the epoch.
 */
export function readClientCertificate(
  der: Uint8Array,
  policy: CertificatePolicy,
  now: number,
): Checked<CertificateCaller> {
  const read = readCertificate(der);
  if (!read.ok) return refuse('CertificateMalformed', read.reason);
  const leaf = read.value;
  const problem =
    issuerProblem(leaf, policy.pool.authorities, now) ??
    timeProblem(leaf, now) ??
    clauseProblem(leaf, policy.trustDomain);
  if (problem) return problem;

  const [spiffeId = ''] = leaf.uris;
  if (spiffeId.startsWith(`spiffe://${policy.trustDomain}/${infrastructurePath}/`)) {
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

/** Every authority whose key has signed the leaf has to be good: a key that is tainted is so in all its certificates. */
function issuerProblem(
  leaf: CertificateFacts,
  authorities: readonly PooledAuthority[],
  now: number,
): Refused | undefined {
  const issuers = authorities.filter(({ signing }) => isSignedBy(leaf, signing));
  if (issuers.some(({ tainted }) => tainted)) return refuse('CertificateTainted');
  const isTrusted = issuers.some(
    ({ state, root, intermediates }) =>
      isPublished(state) && [root, ...intermediates].every((each) => isInTime(each, now)),
  );
  return isTrusted ? undefined : refuse('CertificateUntrusted');
}

function isInTime({ notBefore, notAfter }: CertificateFacts, now: number): boolean {
  return now + toleranceSeconds >= notBefore && now < notAfter;
}

function timeProblem(leaf: CertificateFacts, now: number): Refused | undefined {
  if (isInTime(leaf, now)) return undefined;
  return refuse(now >= leaf.notAfter ? 'CertificateExpired' : 'CertificateNotYetValid');
}

/** What the standards only advise counts as well: whatever we sign keeps it. */
function clauseProblem(leaf: CertificateFacts, trustDomain: string): Refused | undefined {
  const broken = checkLeaf(leaf, trustDomain).find(({ ok }) => !ok);
  return broken && refuse('CertificateNotSvid', `${broken.clause}: ${broken.message}`);
}
