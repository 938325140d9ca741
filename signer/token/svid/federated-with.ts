import type { Identify, Terms } from '../../identity/identify.ts';
import type { Time } from '../../kube/time.ts';
import { type Checked, pass } from '../../observe/checked.ts';
import type { Authenticated } from '../caller/caller.ts';
import { type Credential, credentialOf, type Presented } from '../caller/credential.ts';
import { identifyCaller, lookUpCaller } from '../caller/pods.ts';
import { authenticateIn, type RequestContext } from './request-context.ts';

/** Which other trust domains a caller gets the bundles of, and what says so. */
export interface FederatedWith {
  readonly trustDomains: 'all' | readonly string[];
  /** Such as `the registration shop/web`. */
  readonly because: string;
}

export interface FederatedWithNeeds {
  readonly authenticate: (credential: Credential) => Promise<Authenticated>;
  readonly identify: Identify;
  readonly pods: Parameters<typeof lookUpCaller>[1];
  /** The setting federateByDefault. */
  readonly byDefault: 'all' | 'none';
  readonly time: Time;
}

/** What a request without a credential gets, or whose registration names no trust domains. Pure. */
export function federatedWith(
  terms: Pick<Terms, 'registration' | 'federatesWith'> | undefined,
  byDefault: FederatedWithNeeds['byDefault'],
): FederatedWith {
  const named = terms?.federatesWith;
  if (terms && named) return { trustDomains: named, because: `the registration ${terms.registration}` };
  return {
    trustDomains: byDefault === 'all' ? 'all' : [],
    because: `the setting federateByDefault (${byDefault})`,
  };
}

/** Decides which bundles a caller gets: those that its registration names. Nothing is issued, so a known pod is enough. */
export function createFederatedWith(needs: FederatedWithNeeds) {
  // The bundles are no secret: a pod that ended a moment ago learns nothing, and no read of the API server is needed.
  const pods = { ...needs.pods, seenLive: { ...needs.pods.seenLive, get: () => true as const } };

  return async (
    presented: Presented,
    context: RequestContext,
    registration: string | undefined,
  ): Promise<Checked<FederatedWith>> => {
    const isAnonymous = presented.authorization === undefined && !presented.peer?.certificate;
    if (isAnonymous) return pass(federatedWith(undefined, needs.byDefault));
    const credential = credentialOf(presented);
    if (!credential.ok) return credential;
    const authenticated = await authenticateIn(context, () => needs.authenticate(credential.value));
    if (!authenticated.ok) return authenticated;
    const lookup = await lookUpCaller(authenticated.value, pods);
    const now = Math.floor(needs.time.now() / 1000);
    const identity = identifyCaller(authenticated.value, lookup, needs.identify, now, registration);
    return identity.ok ? pass(federatedWith(identity.value.terms, needs.byDefault)) : identity;
  };
}

export type FindFederatedWith = ReturnType<typeof createFederatedWith>;
