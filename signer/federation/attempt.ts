import type { SecureContext } from 'node:tls';
import type { AddressRule } from '../../client/address-rule.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import type { BundleOrigin, FederatedTrustDomain } from './federated-trust-domain.ts';
import type { AttemptOutcome } from './federation-status.ts';
import { fetchBundle } from './fetch-bundle.ts';
import {
  type ForeignBundle,
  printForeignBundle,
  readBootstrapBundle,
  readForeignBundle,
  readPemRoots,
  replacementProblem,
} from './foreign-bundle.ts';

export interface AttemptNeeds {
  readonly ownTrustDomain: string;
  /** The resource that counts for a trust domain. */
  readonly resourceOf: (trustDomain: string) => FederatedTrustDomain | undefined;
  readonly addresses: AddressRule;
  /** The PEM of a ClusterTrustBundle, read live. Never throws. */
  readonly readTrustBundle: (name: string, signal: AbortSignal) => Promise<Result<string>>;
  /** Made at the first use. */
  readonly systemRoots: () => SecureContext;
  /** An authority of our own pool that a bundle has, in words; undefined where it has none. */
  readonly ownAuthorityIn: (bundle: ForeignBundle) => string | undefined;
  readonly now: () => Seconds;
}

/** The bundle that was taken last. The status may have been written by somebody else, so it is checked again. */
export function heldBundle(
  { status, trustDomain }: FederatedTrustDomain,
  now: Seconds,
): ForeignBundle | undefined {
  if (typeof status.bundle !== 'string') return undefined;
  const read = readForeignBundle(status.bundle, trustDomain, now);
  return read.ok ? read.value : undefined;
}

/**
 * Gets the bundle of a resource once, and checks it. Never throws.
 *
 * @param etag of the held bundle, where this replica fetched it by this spec.
 */
export async function tryToGet(
  resource: FederatedTrustDomain,
  origin: BundleOrigin,
  etag: string | undefined,
  needs: AttemptNeeds,
  signal: AbortSignal,
): Promise<{ readonly outcome: AttemptOutcome; readonly etag?: string | undefined }> {
  const held = heldBundle(resource, needs.now());
  const now = needs.now();
  const taken = (bundle: Result<ForeignBundle>) =>
    takenOr(bundle, held, resource.isSelf ? needs.ownAuthorityIn : undefined);
  if (origin.kind === 'document') {
    return { outcome: taken(readForeignBundle(origin.text, resource.trustDomain, now)) };
  }
  if (origin.kind === 'clusterTrustBundle') {
    const pem = await needs.readTrustBundle(origin.name, signal);
    if (!pem.ok) return { outcome: failed('EndpointUnreachable', pem.reason) };
    return { outcome: taken(readPemRoots(pem.value, resource.trustDomain, now)) };
  }
  const anchors = anchorsFor(resource, origin, held, needs);
  if (!anchors.ok) return { outcome: failed('EndpointUnverifiable', anchors.reason) };
  const fetched = await fetchBundle(origin, {
    ...{ anchors: anchors.value, addresses: needs.addresses, signal },
    etag: held && etag,
    ...(origin.kind === 'https_web' && origin.rootsPem === undefined && { systemRoots: needs.systemRoots() }),
  });
  if (!fetched.ok) return { outcome: failed('EndpointUnreachable', fetched.reason) };
  const { document } = fetched.value;
  // Without a document it is still the held bundle, whose expired roots are left out by now.
  if (!document && held) return { outcome: { kind: 'taken', bundle: held, isChanged: false }, etag };
  const outcome = taken(readForeignBundle(document ?? '', resource.trustDomain, needs.now()));
  return { outcome, etag: outcome.kind === 'taken' ? fetched.value.etag : undefined };
}

type Failed = Extract<AttemptOutcome, { kind: 'failed' }>;
const failed = (reason: Failed['reason'], detail: string): Failed => ({ kind: 'failed', reason, detail });

/** @param ownAuthorityIn for the bundle of another cluster of our trust domain; undefined for that of another trust domain. */
function takenOr(
  bundle: Result<ForeignBundle>,
  held: ForeignBundle | undefined,
  ownAuthorityIn: AttemptNeeds['ownAuthorityIn'] | undefined,
): AttemptOutcome {
  if (!bundle.ok) return failed('BundleMalformed', bundle.reason);
  // It would come back for ever: each cluster would keep what the other one has from it.
  const own = ownAuthorityIn?.(bundle.value);
  if (own) return failed('BundleHasOwnAuthority', own);
  const problem = replacementProblem(bundle.value, held);
  if (problem) return failed(problem.reason, problem.detail);
  const isChanged = !held || printForeignBundle(held) !== printForeignBundle(bundle.value);
  return { kind: 'taken', bundle: bundle.value, isChanged };
}

/**
 * The roots that verify an endpoint: those that were taken last (SPIFFE Federation 5.2.2.1), and before that, or after a
 * change of the resource, those of its bootstrap bundle too.
 */
function anchorsFor(
  resource: FederatedTrustDomain,
  origin: BundleOrigin,
  held: ForeignBundle | undefined,
  { ownTrustDomain, resourceOf, now }: AttemptNeeds,
): Result<readonly CertificateFacts[]> {
  if (origin.kind !== 'https_spiffe') return success([]);
  const { trustDomain } = origin.endpointId;
  if (trustDomain === ownTrustDomain && !resource.isSelf) {
    return failure(`endpointSPIFFEID is of ${trustDomain}, the trust domain of this cluster`);
  }
  const other = trustDomain === resource.trustDomain ? undefined : resourceOf(trustDomain);
  const known =
    (other ? heldBundle(other, now()) : trustDomain === resource.trustDomain ? held : undefined)?.roots ?? [];
  const isNew = known.length === 0 || resource.status.bundleGeneration !== resource.generation;
  if (origin.bootstrapBundle === undefined || !isNew) {
    return known.length > 0 ? success(known) : failure(`no bundle of ${trustDomain} is held`);
  }
  const bootstrap = readBootstrapBundle(origin.bootstrapBundle, trustDomain, now());
  if (bootstrap.ok) return success([...known, ...bootstrap.value]);
  return failure(`spec.bootstrapBundle: ${bootstrap.reason}`);
}
