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

/** The authorizer for a predicate, and one that is an authorizer already. @throws TypeError for anything else. */
export function authorizerOf(authorize: Authorizer | Predicate): Authorizer {
  if (typeof authorize === 'function') {
    return { rule: `predicate ${authorize.name || 'without a name'}`, allows: authorize };
  }
  // Callers in JavaScript may leave it out, and there is no default that accepts every peer.
  if (typeof authorize?.allows === 'function') return authorize;
  throw new TypeError(
    'authorize is missing: give exactly(), oneOf(), memberOf() or a function of the SPIFFE ID',
  );
}

/** Why an authorizer does not allow an ID; undefined where it does. A predicate that throws allows nothing. */
export function refusalOf({ rule, allows }: Authorizer, id: SpiffeId): string | undefined {
  try {
    const answer: unknown = allows(id);
    if (answer === true) return undefined;
    if (answer === false) return `it is not authorized by ${rule}`;
    return `it is not authorized by ${rule}, which gave ${answer instanceof Promise ? 'a promise' : typeof answer} and not a boolean`;
  } catch (error) {
    return `it is not authorized by ${rule}, which failed: ${error instanceof Error ? error.message : String(error)}`;
  }
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
