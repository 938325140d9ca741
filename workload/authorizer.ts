import type { SpiffeId } from '../spiffe/id.ts';
import type { Authorizer, Predicate } from './authorize.ts';

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
