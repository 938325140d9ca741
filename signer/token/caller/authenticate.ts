import { compactVerify } from 'jose';
import { parseJwt } from '../../../spiffe/jwt-svid.ts';
import type { Limiter } from '../../kube/limiter.ts';
import type { Time } from '../../kube/time.ts';
import type { Transport } from '../../kube/transport.ts';
import { type Refused, refuse } from '../../observe/checked.ts';
import type { RefusalCode } from '../../observe/refusals.ts';
import { type Authenticated, charge, withOwner } from './caller.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import type { Issuers } from './issuers.ts';
import { checkTimes, maxTokenLength, ownerOf, type Psat, readPsat, readPsatHeader } from './psat.ts';
import { reviewToken } from './review.ts';
import type { ReviewCache } from './review-cache.ts';

export interface AuthenticatorNeeds {
  readonly transport: Transport;
  readonly keys: IssuerKeys;
  readonly cache: ReviewCache;
  /** For tokens whose key the API server does not publish. */
  readonly unpublishedKeys: Limiter;
  /** By the UID of the pod. A request that is reviewed pays before that, whether its token turns out good or not. */
  readonly podLimits: Pick<Limiter, 'take'>;
  /** The only audience that a token may have. */
  readonly audience: string;
  readonly issuers: Issuers;
  /** Whether the watch of the pods is alive. While it is not, no earlier review counts. */
  readonly hearsOfPods: () => boolean;
  readonly time: Time;
  readonly onReview: (result: 'cached' | 'good' | 'refused' | 'failed') => void;
}

/**
 * Refusals after which the pod is proved all the same, if a published key has signed the token. Not after `TokenRefused`
 * and `ReviewDisagrees`: the key may be withdrawn, and then anyone may have signed the token.
 */
const refusedButProved: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  ...(['AudienceWrong', 'TokenExpired', 'TokenNotYetValid', 'ReviewUnavailable', 'ReviewForbidden'] as const),
]);

/**
 * Verifies a ServiceAccount token. A token that is wrong by itself is refused without a request to the API server, which
 * reviews all others once per cache lifetime.
 */
export function createAuthenticator(needs: AuthenticatorNeeds) {
  const { transport, keys, cache, audience, issuers, podLimits } = needs;
  const underWay = new Map<string, Promise<Authenticated<Psat>>>();
  const seconds = () => Math.floor(needs.time.now() / 1000);

  async function authenticate(token: string): Promise<Authenticated<Psat>> {
    const cached = needs.hearsOfPods() ? cache.get(token) : undefined;
    if (cached) {
      needs.onReview('cached');
      const refused = checkTimes(cached, seconds());
      return refused ? withOwner(refused, cached) : charge(cached, podLimits);
    }
    // A token that arrives on many connections at the same moment is reviewed once.
    const shared = underWay.get(token);
    if (shared) {
      const outcome = await shared;
      return outcome.ok ? charge(outcome.value, podLimits) : outcome;
    }
    const first = verify(token).finally(() => underWay.delete(token));
    underWay.set(token, first);
    return first;
  }

  async function verify(token: string): Promise<Authenticated<Psat>> {
    if (token.length > maxTokenLength)
      return refuse('TokenMalformed', `is longer than ${maxTokenLength} characters`);
    const jwt = parseJwt(token);
    if (!jwt.ok) return refuse('TokenMalformed', `cannot be read: ${jwt.reason}`);
    const header = readPsatHeader(jwt.value.header);
    if (!header.ok) return header;
    const { algorithm, keyId } = header.value;

    const key = await keys.find(keyId);
    if (key) {
      if (key.algorithm !== undefined && key.algorithm !== algorithm) return refuse('SignatureInvalid');
      try {
        await compactVerify(token, key.key, { algorithms: [algorithm] });
      } catch {
        return refuse('SignatureInvalid');
      }
    }
    const read = () => readPsat(jwt.value.claims, { audience, issuers: issuers.known }, seconds());
    let psat = read();
    if (!psat.ok && psat.code === 'IssuerUnknown' && (await issuers.refresh())) psat = read();
    const refused = (refusal: Refused) =>
      withOwner(refusal, key && refusedButProved.has(refusal.code) ? ownerOf(jwt.value.claims) : undefined);
    if (!psat.ok) return refused(psat);
    // Without a published key only the review proves the claims. Anybody can make such tokens, so few are reviewed.
    const affordable = key ? charge(psat.value, podLimits) : psat;
    if (!affordable.ok) return affordable;
    if (!key && needs.unpublishedKeys.take('all') > 0) return refuse('ReviewLimited');

    const reviewed = await reviewToken(token, psat.value, audience, transport);
    if (reviewed.ok) cache.put(token, reviewed.value);
    needs.onReview(reviewed.ok ? 'good' : reviewed.code === 'TokenRefused' ? 'refused' : 'failed');
    if (!reviewed.ok) return refused(reviewed);
    return key ? reviewed : charge(reviewed.value, podLimits);
  }

  return authenticate;
}

export type Authenticate = ReturnType<typeof createAuthenticator>;
