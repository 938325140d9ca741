import { KubespiffeError } from '../spiffe/errors.ts';
import { failure, type Result } from '../spiffe/pki/result.ts';
import { rfc3339, type Seconds } from '../spiffe/pki/time.ts';
import type { Followed, Reading } from './follow.ts';
import { keepLastGood } from './last-good.ts';
import type { BundleSource, TrustBundles } from './trust-bundle.ts';
import { isIssuedUnder, readX509Svid, type X509Svid } from './x509-svid.ts';

/** The identity of this workload and what verifies its peers, both always the newest good ones. */
export interface X509Source extends BundleSource {
  readonly svid: X509Svid;
}

/** What a source of X509-SVIDs holds at a moment. */
export interface X509Material {
  readonly svid: X509Svid;
  readonly bundles: TrustBundles;
}

/** The source of what is followed. */
export function x509SourceOf(followed: Followed<X509Material>): X509Source {
  return {
    get svid() {
      return followed.value.svid;
    },
    get bundles() {
      return followed.value.bundles;
    },
    events: followed.events,
    [Symbol.asyncDispose]: () => followed[Symbol.asyncDispose](),
  };
}

/** The newest good bundles, and what is wrong with them. */
export interface BundlesRead {
  /** Undefined where there were none yet. */
  readonly bundles: TrustBundles | undefined;
  readonly problems: readonly KubespiffeError[];
}

/** Certificates are renewed at half of their lifetime. When less than this part is left, renewal does not work. */
const lateFraction = 0.25;

/**
 * Makes what reads the credentials of a workload beside its bundles, each time that one of them may have changed. Credentials
 * that cannot be used leave the last good ones in use.
 *
 * @param places credentials, roots: what they are called in problems. now: seconds since the epoch.
 */
export function createX509Reader(places: {
  readonly credentials: string;
  readonly roots: string;
  readonly now: () => Seconds;
}): (
  last: X509Material | undefined,
  credentials: Result<string>,
  read: BundlesRead,
) => Reading<X509Material> {
  const { now } = places;
  const svidOf = keepLastGood((text) => notExpired(readX509Svid(text), now()));

  return (last, credentials, { bundles, problems: bundleProblems }) => {
    const { value: newest, reason } = svidOf(credentials);
    const isProven = (one: X509Svid) => isIssuedUnder(one, bundles?.get(one.id.trustDomain)?.roots ?? []);
    const unproven =
      newest && bundles?.has(newest.id.trustDomain) && !isProven(newest)
        ? `none of the roots of ${newest.id.trustDomain} has signed its chain`
        : undefined;
    // A new chain that no root has signed is more use than one that has ended: its root may only be late here.
    const isLastBetter = unproven !== undefined && last && isProven(last.svid) && now() < last.svid.notAfter;
    const svid = isLastBetter ? last.svid : newest;
    const problems = [reason, unproven, svid && lateReason(svid, now())]
      .filter((one) => one !== undefined)
      .map((one) => new KubespiffeError('SVID_INVALID', `${places.credentials}: ${one}`));
    problems.push(...bundleProblems);
    if (svid && bundles && !bundles.has(svid.id.trustDomain)) {
      const without = `it has no root of ${svid.id.trustDomain}, the trust domain of this workload`;
      problems.push(new KubespiffeError('BUNDLE_INVALID', `${places.roots}: ${without}`));
    }
    if (!svid || !bundles) return { value: undefined, problems };
    const isSame = svid === last?.svid && bundles === last.bundles;
    return { value: isSame ? last : { svid, bundles }, problems };
  };
}

function notExpired(svid: Result<X509Svid>, now: Seconds): Result<X509Svid> {
  if (!svid.ok || now < svid.value.notAfter) return svid;
  return failure(`its certificate expired at ${rfc3339(svid.value.notAfter)}`);
}

function lateReason({ notBefore, notAfter }: X509Svid, now: Seconds): string | undefined {
  if (now >= notAfter) return `the certificate in use expired at ${rfc3339(notAfter)} and was not renewed`;
  const isLate = notAfter - now < (notAfter - notBefore) * lateFraction;
  return isLate
    ? `the certificate in use expires at ${rfc3339(notAfter)} and was not renewed in time`
    : undefined;
}
