import { KubespiffeError } from '../spiffe/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../spiffe/id.ts';
import { parseTrustDomain } from '../spiffe/trust-domain.ts';

/** Decides which SPIFFE IDs a peer may have, and has words for it in errors. */
export interface Authorizer {
  /** For example `exactly(spiffe://example.org/ns/shop/sa/web)`. */
  readonly rule: string;
  readonly allows: (id: SpiffeId) => boolean;
}

/** Decides about the whole SPIFFE ID of a peer. Only `true` allows it: a promise does not. */
export type Predicate = (id: SpiffeId) => boolean;

/**
 * Allows one SPIFFE ID.
 *
 * @example
 * ```js
 * import { exactly } from 'kubespiffe/authorize';
 *
 * const authorize = exactly('spiffe://example.org/ns/shop/sa/web');
 * console.log(authorize.rule);
 * ```
 *
 * @throws KubespiffeError SPIFFE_ID_INVALID
 */
export function exactly(uri: string): Authorizer {
  const { uri: wanted } = workloadId(uri);
  return { rule: `exactly(${wanted})`, allows: (id) => id.uri === wanted };
}

/**
 * Allows each of some SPIFFE IDs.
 *
 * @example
 * ```js
 * import { oneOf } from 'kubespiffe/authorize';
 *
 * const authorize = oneOf([
 *   'spiffe://example.org/ns/shop/sa/web',
 *   'spiffe://example.org/ns/shop/sa/batch',
 * ]);
 * console.log(authorize.rule);
 * ```
 *
 * @throws KubespiffeError SPIFFE_ID_INVALID; an empty list is refused as well.
 */
export function oneOf(uris: readonly string[]): Authorizer {
  const wanted = new Set(uris.map((uri) => workloadId(uri).uri));
  if (wanted.size === 0) throw invalid('oneOf() needs at least one SPIFFE ID');
  return { rule: `oneOf(${[...wanted].join(', ')})`, allows: (id) => wanted.has(id.uri) };
}

/**
 * Allows every workload of a trust domain.
 *
 * @example
 * ```js
 * import { memberOf } from 'kubespiffe/authorize';
 *
 * const authorize = memberOf('example.org');
 * console.log(authorize.rule);
 * ```
 *
 * @throws KubespiffeError SPIFFE_ID_INVALID
 */
export function memberOf(trustDomain: string): Authorizer {
  const name = parseTrustDomain(trustDomain);
  if (!name.ok) throw invalid(name.reason);
  return { rule: `memberOf(${trustDomain})`, allows: (id) => id.trustDomain === trustDomain };
}

function workloadId(uri: string): SpiffeId {
  const id = parseSpiffeId(uri);
  if (!id.ok) throw invalid(`${uri}: ${id.reason}`);
  if (id.value.path === '') {
    throw invalid(`${uri} names a trust domain and not a workload; use memberOf('${id.value.trustDomain}')`);
  }
  return id.value;
}

const invalid = (message: string): KubespiffeError => new KubespiffeError('SPIFFE_ID_INVALID', message);
