import { hash } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import type { AddressRule } from '../../client/address-rule.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import type { Pool } from '../authority/pool.ts';
import type { Time } from '../kube/time.ts';
import type { BundleOrigin, FederatedTrustDomain } from './federated-trust-domain.ts';
import { type AttemptOutcome, heldDetail, secondsOf } from './federation-status.ts';
import { fetchBundle } from './fetch-bundle.ts';
import {
  type ForeignBundle,
  heldBundle,
  printForeignBundle,
  readBootstrapBundle,
  readForeignBundle,
  readPemRoots,
  replacementProblem,
} from './foreign-bundle.ts';

export type OwnAuthorities = Pick<Pool, 'jwt' | 'authorities' | 'roots'>;

export interface AttemptNeeds {
  readonly ownTrustDomain: string;
  /** The resource that counts for a trust domain. */
  readonly resourceOf: (trustDomain: string) => FederatedTrustDomain | undefined;
  readonly addresses: AddressRule;
  /** The PEM of a ClusterTrustBundle, read live. Never throws. */
  readonly readTrustBundle: (name: string, signal: AbortSignal) => Promise<Result<string>>;
  /** What verifies endpoints of the web, by roots (PEM) or by those of the system. */
  readonly webContext: (rootsPem: string | undefined) => SecureContext;
  /** Our own authorities. */
  readonly pool: OwnAuthorities;
  readonly time: Pick<Time, 'now'>;
}

/** Facts about a document that was taken. The same document is not read and checked again. */
export interface Known {
  readonly etag: string | undefined;
  /** SHA-256 of the document, and of the bundle that it became in the status. */
  readonly documentSha256: string;
  readonly heldSha256: string;
  readonly refreshHintSeconds: number | undefined;
  /** Our own authorities at that time. The document has none of them. */
  readonly comparedWith: OwnAuthorities;
  /** For the message of the condition. */
  readonly detail: string;
}

export interface Attempt {
  readonly outcome: AttemptOutcome;
  readonly known?: Known | undefined;
}

/**
 * Gets the bundle of a resource once, and checks it. Never throws.
 *
 * @param known what this replica took last by this spec.
 */
export async function tryToGet(
  resource: FederatedTrustDomain,
  origin: BundleOrigin,
  known: Known | undefined,
  needs: AttemptNeeds,
  signal: AbortSignal,
): Promise<Attempt> {
  const now = secondsOfClock(needs.time);
  const held = once(() => heldBundle(resource, now));
  const taken = (bundle: Result<ForeignBundle>) => takenOr(bundle, held(), resource.isSelf, needs.pool);
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
  const isConfirmable = known?.comparedWith === needs.pool && isStillHeld(resource, known, now);
  const confirmable = isConfirmable ? known : undefined;
  const fetched = await fetchBundle(origin, {
    ...{ anchors: anchors.value, addresses: needs.addresses, signal },
    etag: confirmable?.etag,
    ...(origin.kind === 'https_web' && { secureContext: needs.webContext(origin.rootsPem) }),
  });
  if (!fetched.ok) return { outcome: failed('EndpointUnreachable', fetched.reason) };
  const { document = noDocument, etag } = fetched.value;
  const documentSha256 = hash('sha256', document, 'hex');
  if (confirmable && (!fetched.value.document || documentSha256 === confirmable.documentSha256)) {
    const { detail, refreshHintSeconds } = confirmable;
    const outcome = { kind: 'confirmed', reason: 'BundleTaken', detail, refreshHintSeconds } as const;
    return { outcome, known: { ...confirmable, etag } };
  }
  const outcome = taken(readForeignBundle(document, resource.trustDomain, secondsOfClock(needs.time)));
  if (outcome.kind !== 'taken') return { outcome };
  const { bundle, text } = outcome;
  return {
    outcome,
    known: {
      ...{ etag, documentSha256, heldSha256: hash('sha256', text, 'hex') },
      ...{ refreshHintSeconds: bundle.refreshHintSeconds, detail: heldDetail(bundle) },
      comparedWith: needs.pool,
    },
  };
}

const noDocument = new Uint8Array();

/** Whether the status has the bundle as it was taken, and none of its roots has expired since. */
function isStillHeld({ status }: FederatedTrustDomain, { heldSha256 }: Known, now: Seconds): boolean {
  if (typeof status.bundle !== 'string' || hash('sha256', status.bundle, 'hex') !== heldSha256) return false;
  return status.firstExpiryTime === undefined || (secondsOf(status.firstExpiryTime) ?? 0) > now;
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

type Failed = Extract<AttemptOutcome, { kind: 'failed' }>;
const failed = (reason: Failed['reason'], detail: string): Failed => ({ kind: 'failed', reason, detail });

function takenOr(
  bundle: Result<ForeignBundle>,
  held: ForeignBundle | undefined,
  isSelf: boolean,
  pool: OwnAuthorities,
): AttemptOutcome {
  if (!bundle.ok) return failed('BundleMalformed', bundle.reason);
  // Two clusters that take their own CAs back from each other would never forget one that is retired.
  const own = ownAuthorityIn(bundle.value, isSelf, pool);
  if (own) return failed('BundleHasOwnAuthority', own);
  const problem = replacementProblem(bundle.value, held);
  if (problem) return failed(problem.reason, problem.detail);
  const text = printForeignBundle(bundle.value);
  const isChanged = !held || printForeignBundle(held) !== text;
  const hasOtherKeys = held !== undefined && isChanged && keysOf(held) !== keysOf(bundle.value);
  return { kind: 'taken', bundle: bundle.value, text, isChanged, hasOtherKeys };
}

/**
 * An authority of ours that a bundle has, in words; undefined where it has none. A root above our CAs does not count: other
 * clusters, and other trust domains of a company, may have the same one. But a bundle of another trust domain that has
 * nothing else is a copy of ours.
 */
function ownAuthorityIn(
  { roots, jwtKeys }: ForeignBundle,
  isSelf: boolean,
  pool: OwnAuthorities,
): string | undefined {
  const key = pool.jwt.find(({ kid }) => jwtKeys.has(kid));
  if (key) return `the JWT key ${key.kid}`;
  const fingerprints = new Set(roots.map(({ sha256Hex }) => sha256Hex));
  const ca = pool.authorities.find(({ signing }) => fingerprints.has(signing.sha256Hex));
  if (ca) return `the CA ${ca.id}`;
  if (isSelf || jwtKeys.size > 0 || roots.length === 0) return undefined;
  const own = new Set(pool.roots.map(({ sha256Hex }) => sha256Hex));
  return own.isSupersetOf(fingerprints) ? `no other root than those (${fingerprints.size})` : undefined;
}

const keysOf = (bundle: ForeignBundle): string =>
  printForeignBundle({ ...bundle, sequence: undefined, refreshHintSeconds: undefined });

/**
 * The roots that verify an endpoint: those that were taken last (SPIFFE Federation 5.2.2.1), and before that, or after a
 * change of the resource, those of its bootstrap bundle too.
 */
function anchorsFor(
  resource: FederatedTrustDomain,
  origin: BundleOrigin,
  held: () => ForeignBundle | undefined,
  { ownTrustDomain, resourceOf, time }: AttemptNeeds,
): Result<readonly CertificateFacts[]> {
  if (origin.kind !== 'https_spiffe') return success([]);
  const { trustDomain } = origin.endpointId;
  if (trustDomain === ownTrustDomain && !resource.isSelf) {
    return failure(`endpointSPIFFEID is of ${trustDomain}, the trust domain of this cluster`);
  }
  const other = trustDomain === resource.trustDomain ? undefined : resourceOf(trustDomain);
  const known =
    (other
      ? heldBundle(other, secondsOfClock(time))
      : trustDomain === resource.trustDomain
        ? held()
        : undefined
    )?.roots ?? [];
  const isNew = known.length === 0 || resource.status.bundleGeneration !== resource.generation;
  if (origin.bootstrapBundle === undefined || !isNew) {
    return known.length > 0 ? success(known) : failure(`no bundle of ${trustDomain} is held`);
  }
  const bootstrap = readBootstrapBundle(origin.bootstrapBundle, trustDomain, secondsOfClock(time));
  if (bootstrap.ok) return success([...known, ...bootstrap.value]);
  return failure(`spec.bootstrapBundle: ${bootstrap.reason}`);
}

const secondsOfClock = ({ now }: Pick<Time, 'now'>): Seconds => Math.floor(now() / 1000);
