import type { KeyObject } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { parseSpiffeBundle } from '../spiffe/bundle.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { type CertificateFacts, readCertificate } from '../spiffe/pki/certificate.ts';
import { decodePem, type PemBlock } from '../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import type { SourceEvents } from './follow.ts';

/** What verifies the SVIDs of one trust domain. */
export interface TrustBundle {
  readonly roots: readonly CertificateFacts[];
  /** Public keys by their kid. Empty where only roots are known. */
  readonly jwtKeys: ReadonlyMap<string, KeyObject>;
}

/** Trust bundles by the name of their trust domain, such as `example.org`. Never changed: a new map replaces it. */
export type TrustBundles = ReadonlyMap<string, TrustBundle>;

/** Merges all of these into one map. For a trust domain in several, the last one with roots gives the roots, and so for keys. */
export function mergeBundles(all: Iterable<TrustBundles>): TrustBundles {
  const merged = new Map<string, TrustBundle>();
  for (const [name, { roots, jwtKeys }] of [...all].flatMap((bundles) => [...bundles])) {
    const earlier = merged.get(name);
    merged.set(name, {
      roots: roots.length > 0 ? roots : (earlier?.roots ?? []),
      jwtKeys: jwtKeys.size > 0 ? jwtKeys : (earlier?.jwtKeys ?? new Map()),
    });
  }
  return merged;
}

/** Trust bundles that are always the newest good ones. */
export interface BundleSource extends AsyncDisposable {
  readonly bundles: TrustBundles;
  readonly events: EventEmitter<SourceEvents>;
}

/** What a file holds, and what in it was left out and why. */
export interface BundleReading {
  readonly bundles: TrustBundles;
  readonly leftOut: readonly string[];
}

/**
 * Reads the content of a file with trust bundles: PEM certificates, or a SPIFFE bundle document (JSON), which needs
 * `trustDomain`. With `trustDomain`, all that it holds is of this trust domain, and a root that names another one is left
 * out. Without, each root is of the trust domain whose SPIFFE ID it carries, and a root without one is left out.
 * A text without anything usable is a failure. Never throws.
 */
export function readBundles(text: string, trustDomain: string | undefined): Result<BundleReading> {
  if (!text.trimStart().startsWith('{')) return readPemRoots(text, trustDomain);
  if (trustDomain === undefined) {
    return failure('it is a SPIFFE bundle document, which does not say its trust domain; name it');
  }
  const read = parseSpiffeBundle(text);
  if (!read.ok) return read;
  const { roots, jwtKeys, ignored } = read.value;
  const sorted = sortRoots(roots.map(success), trustDomain);
  const bundle = { roots: sorted.bundles.get(trustDomain)?.roots ?? [], jwtKeys };
  return success({
    bundles: new Map([[trustDomain, bundle]]),
    leftOut: [...ignored, ...sorted.leftOut],
  });
}

function readPemRoots(text: string, trustDomain: string | undefined): Result<BundleReading> {
  const blocks = decodePem(text);
  if (!blocks.ok) return blocks;
  const reading = sortRoots(blocks.value.map(readRoot), trustDomain);
  if (reading.bundles.size > 0) return success(reading);
  return failure(`it has no root that can be used: ${reading.leftOut.join('; ')}`);
}

function readRoot({ label, der }: PemBlock): Result<CertificateFacts> {
  return label === 'CERTIFICATE' ? readCertificate(der) : failure(`it is a PEM block ${label}`);
}

function sortRoots(
  roots: readonly Result<CertificateFacts>[],
  trustDomain: string | undefined,
): BundleReading {
  const byOwner = new Map<string, CertificateFacts[]>();
  const leftOut: string[] = [];
  for (const [index, root] of roots.entries()) {
    const owner = root.ok ? ownerOf(root.value, trustDomain) : root;
    if (!owner.ok) leftOut.push(`root ${index + 1}: ${owner.reason}`);
    if (!root.ok || !owner.ok) continue;
    byOwner.set(owner.value, [...(byOwner.get(owner.value) ?? []), root.value]);
  }
  const bundles = [...byOwner].map(([name, owned]) => [name, { roots: owned, jwtKeys: new Map() }] as const);
  return { bundles: new Map(bundles), leftOut };
}

/** The trust domain that a root speaks for. */
function ownerOf(root: CertificateFacts, trustDomain: string | undefined): Result<string> {
  if (!root.isCa) return failure('it is not a CA certificate');
  const [uri, ...others] = root.uris;
  if (others.length > 0) return failure(`it has ${root.uris.length} URIs`);
  if (uri === undefined) {
    return trustDomain === undefined
      ? failure('it has no SPIFFE ID; say which trust domain it is of')
      : success(trustDomain);
  }
  const id = parseSpiffeId(uri);
  if (!id.ok) return id;
  if (id.value.path !== '') return failure(`its SPIFFE ID ${uri} has a path`);
  if (trustDomain !== undefined && id.value.trustDomain !== trustDomain) {
    return failure(`it is of the trust domain ${id.value.trustDomain}, not ${trustDomain}`);
  }
  return success(id.value.trustDomain);
}
