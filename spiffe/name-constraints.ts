import { isIP } from 'node:net';
import { isDnsName } from './dns-name.ts';
import type { CertificateFacts } from './pki/certificate.ts';
import { readDer } from './pki/der.ts';
import { findExtension } from './pki/extensions.ts';
import { type NameConstraints, type NameSubtree, nameConstraintsOf } from './pki/name-constraints.ts';
import { failure, type Result, success } from './pki/result.ts';

/** What the name constraints of a CA mean for the SVIDs below it. */
export type ConstraintsVerdict =
  | { readonly kind: 'none' }
  /** Verifiers accept SVIDs of the trust domain. `otherKinds`: kinds of names that are limited beside URIs. */
  | { readonly kind: 'accepted'; readonly otherKinds: readonly string[] }
  /** OpenSSL or Go refuses every SVID of the trust domain. */
  | { readonly kind: 'refused'; readonly reason: string };

type Constrained = Pick<CertificateFacts, 'extensions'>;

/** Kinds of names whose constraints Go processes; a critical constraint of any other kind makes it refuse. */
const processedKinds: readonly string[] = ['URI', 'DNS', 'email', 'IP'];

/**
 * Checks whether the name constraints of a CA permit the SPIFFE IDs of a trust domain. OpenSSL and Go read a base without
 * a leading dot differently (that host alone; or that host and those below), and an empty base as well. A name passes
 * here only where it passes in both.
 */
export function judgeNameConstraints(certificate: Constrained, trustDomain: string): ConstraintsVerdict {
  const read = constraintsOf(certificate);
  if (!read.ok) return refused(read.reason);
  if (!read.value) return { kind: 'none' };
  const { permitted, excluded } = read.value;
  const kinds = new Set([...permitted, ...excluded].map(({ kind }) => kind));
  if (kinds.has('URI') && isIP(trustDomain) !== 0) {
    return refused('has nameConstraints for URIs, which Go cannot apply to an IP address');
  }
  const allowed = basesOf('URI', permitted);
  if (allowed.length > 0 && !allowed.some((base) => permits(base, trustDomain))) {
    return refused(`has nameConstraints that permit URIs of ${list(allowed)} alone`);
  }
  const forbidding = basesOf('URI', excluded).filter((base) => excludes(base, trustDomain));
  if (forbidding.length > 0) return refused(`has nameConstraints that exclude URIs of ${list(forbidding)}`);
  return { kind: 'accepted', otherKinds: [...kinds].filter((kind) => kind !== 'URI') };
}

/** Whether a CA may sign URIs of certain hosts only. */
export function limitsUris({ extensions }: Constrained): boolean {
  const extension = findExtension(extensions, 'nameConstraints');
  const read = extension && readDer(() => nameConstraintsOf(extension.value));
  return read?.ok === true && read.value.permitted.some(({ kind }) => kind === 'URI');
}

/** Which DNS names a CA may name, in lower case: all if nothing is permitted. A base with a leading dot means names below it alone. */
export interface DnsConstraints {
  readonly permitted: readonly string[];
  readonly excluded: readonly string[];
}

/** The constraints of a CA on DNS names; undefined for none. The reason of a failure says why Go refuses all that the CA signs. */
export function dnsConstraintsOf(certificate: Constrained): Result<DnsConstraints | undefined> {
  const read = constraintsOf(certificate);
  if (!read.ok) return read;
  if (!read.value) return success(undefined);
  const [permitted, excluded] = [basesOf('DNS', read.value.permitted), basesOf('DNS', read.value.excluded)];
  return success(permitted.length + excluded.length === 0 ? undefined : { permitted, excluded });
}

/** Undefined for none. A failure if they are critical and of a kind that Go does not process: it then refuses what the CA signs. */
function constraintsOf({ extensions }: Constrained): Result<NameConstraints | undefined> {
  const extension = findExtension(extensions, 'nameConstraints');
  if (!extension) return success(undefined);
  const read = readDer(() => nameConstraintsOf(extension.value));
  if (!read.ok) return failure(`has nameConstraints that cannot be read (${read.reason})`);
  const kinds = new Set([...read.value.permitted, ...read.value.excluded].map(({ kind }) => kind));
  const unprocessed = [...kinds].filter((kind) => !processedKinds.includes(kind));
  if (!extension.critical || unprocessed.length === 0) return read;
  return failure(
    `has critical nameConstraints for ${unprocessed.join(' and ')} names, which Go does not process`,
  );
}

/** Whether verifiers accept a DNS name, in lower case, below a CA with these constraints (RFC 5280 4.2.1.10). */
export function allowsDnsName({ permitted, excluded }: DnsConstraints, name: string): boolean {
  const isIn = (base: string) => isWithin(name, base);
  return (permitted.length === 0 || permitted.some(isIn)) && !excluded.some(isIn);
}

/** Whether all names of a base, or a single name, are among those of another base. */
function isWithin(inner: string, base: string): boolean {
  return base === '' || inner === base || inner.endsWith(base.startsWith('.') ? base : `.${base}`);
}

/** The constraints of one CA that allow the same DNS names as all of these together. */
export function joinDnsConstraints(all: readonly DnsConstraints[]): DnsConstraints {
  const excluded = [...new Set(all.flatMap((each) => each.excluded))];
  const limits = all
    .map(({ permitted }) => permitted)
    .filter((bases) => bases.length > 0 && !bases.includes(''));
  if (limits.length === 0) return { permitted: [], excluded };
  const permitted = limits.reduce(commonBases);
  // An empty list would permit every name, and an excluded empty base excludes every name.
  return permitted.length === 0 ? { permitted, excluded: [''] } : { permitted, excluded };
}

/** Two bases have nothing in common unless one is within the other. */
function commonBases(some: readonly string[], others: readonly string[]): readonly string[] {
  const common = [
    ...some.filter((each) => others.some((base) => isWithin(each, base))),
    ...others.filter((each) => some.some((base) => isWithin(each, base))),
  ];
  return [...new Set(common)];
}

/** Whether a text is a base that we put into a CA: a DNS name in lower case, or one after a leading dot. */
export function isDnsBase(text: string): boolean {
  return isDnsName(text.startsWith('.') ? text.slice(1) : text);
}

const refused = (reason: string): ConstraintsVerdict => ({ kind: 'refused', reason });

const basesOf = (wanted: 'URI' | 'DNS', subtrees: readonly NameSubtree[]): string[] =>
  subtrees.filter(({ kind }) => kind === wanted).map(({ base }) => base.toLowerCase());

const list = (bases: readonly string[]): string =>
  bases
    .slice(0, 5)
    .map((base) => JSON.stringify(base.slice(0, 255)))
    .join(' and ');

function permits(base: string, host: string): boolean {
  return base.startsWith('.') ? host.endsWith(base) : host === base;
}

function excludes(base: string, host: string): boolean {
  if (base.startsWith('.')) return host.endsWith(base);
  return base === '' || host === base || host.endsWith(`.${base}`);
}
