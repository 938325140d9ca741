import { failure, type Result, success } from './pki/result.ts';
import { parseTrustDomain } from './trust-domain.ts';

/** SPIFFE-ID 2.3: IDs up to this length must be accepted, and longer ones should not be made. */
const maxSpiffeIdBytes = 2048;

const scheme = 'spiffe://';

export interface SpiffeId {
  readonly trustDomain: string;
  /** Empty for the ID of a trust domain itself, else `/` and the segments. */
  readonly path: string;
  readonly uri: string;
}

/**
 * Reads a SPIFFE ID (SPIFFE-ID 2; B1). It may be the ID of a trust domain; a workload's ID has a path, which the
 * caller checks. Never throws.
 */
export function parseSpiffeId(uri: string): Result<SpiffeId> {
  if (uri.length > maxSpiffeIdBytes)
    return failure(`a SPIFFE ID has at most ${maxSpiffeIdBytes} bytes (SPIFFE-ID 2.3)`);
  if (!uri.startsWith(scheme))
    return failure('a SPIFFE ID begins with "spiffe://", in lower case (SPIFFE-ID 2)');
  const rest = uri.slice(scheme.length);
  const slash = rest.indexOf('/');
  const name = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? '' : rest.slice(slash);

  const problem = authorityProblem(name) ?? (path === '' ? undefined : pathProblem(path.slice(1).split('/')));
  if (problem !== undefined) return failure(problem);
  const trustDomain = parseTrustDomain(name);
  return trustDomain.ok ? success({ trustDomain: name, path, uri }) : trustDomain;
}

/**
 * Makes the ID of a trust domain and path segments, for example `('example.org', ['ns', 'shop', 'sa', 'web'])`;
 * without segments, the ID of the trust domain. Never throws.
 */
export function makeSpiffeId(trustDomain: string, segments: readonly string[]): Result<SpiffeId> {
  const name = parseTrustDomain(trustDomain);
  if (!name.ok) return name;
  const problem = pathProblem(segments);
  if (problem !== undefined) return failure(problem);
  const path = segments.map((segment) => `/${segment}`).join('');
  const uri = `${scheme}${trustDomain}${path}`;
  if (uri.length > maxSpiffeIdBytes) {
    return failure(
      `the SPIFFE ID would have ${uri.length} bytes; at most ${maxSpiffeIdBytes} are allowed (SPIFFE-ID 2.3)`,
    );
  }
  return success({ trustDomain, path, uri });
}

/** What general URI syntax allows in front of the path and SPIFFE does not, said by its name. */
function authorityProblem(name: string): string | undefined {
  if (name.includes('?') || name.includes('#'))
    return 'a SPIFFE ID has no query and no fragment (SPIFFE-ID 2)';
  if (name.includes('@')) return 'a SPIFFE ID has no user in its trust domain (SPIFFE-ID 2)';
  if (name.includes(':')) return 'a SPIFFE ID has no port or IPv6 address in its trust domain (SPIFFE-ID 2)';
  return undefined;
}

const goodSegment = /^[A-Za-z0-9._-]+$/;

function pathProblem(segments: readonly string[]): string | undefined {
  if (segments.every((segment) => goodSegment.test(segment) && segment !== '.' && segment !== '..'))
    return undefined;
  for (const [index, segment] of segments.entries()) {
    if (segment === '') {
      return index === segments.length - 1
        ? 'the path of a SPIFFE ID does not end with "/" (SPIFFE-ID 2.2)'
        : 'the path of a SPIFFE ID has an empty segment (SPIFFE-ID 2.2)';
    }
    if (segment === '.' || segment === '..')
      return `the path of a SPIFFE ID has the segment "${segment}" (SPIFFE-ID 2.2)`;
    if (segment.includes('?') || segment.includes('#'))
      return 'a SPIFFE ID has no query and no fragment (SPIFFE-ID 2)';
    if (segment.includes('%')) return 'the path of a SPIFFE ID has no percent-encoding (SPIFFE-ID 2.2)';
    if (!goodSegment.test(segment)) {
      return 'a path segment of a SPIFFE ID has only the characters A-Z, a-z, 0-9, ".", "-" and "_" (SPIFFE-ID 2.2)';
    }
  }
  return undefined;
}
