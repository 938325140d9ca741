import { compactVerify } from 'jose';
import { parseJwt } from '../../../spiffe/jwt-svid.ts';
import type { Transport } from '../../kube/transport.ts';
import type { Limiter } from '../limiter.ts';
import { type Checked, pass, type RefusalCode, type Refused, refuse } from '../refusals.ts';
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
  /** Reviews by the UID of the pod: one pod's tokens, good or not, must not take the API server from all others. */
  readonly podReviews: Limiter;
  /** The only audience that a token may have. */
  readonly audience: string;
  readonly issuers: Issuers;
  /** Whether the watch of the pods was heard from lately; while it was not, no earlier review counts. */
  readonly hearsOfPods: () => boolean;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly onReview: (result: 'cached' | 'good' | 'refused' | 'failed') => void;
}

/**
 * Refusals that leave no doubt whose token it is, if a published key has signed it. `TokenRefused` and
 * `ReviewDisagrees` are not among them: the key may be withdrawn, and then anybody may have signed the token.
 */
const refusedButProved: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  ...(['AudienceWrong', 'TokenExpired', 'TokenNotYetValid'] as const),
  ...(['PodLimited', 'ReviewUnavailable', 'ReviewForbidden'] as const),
]);

/**
 * Finds out whose token it is. What is wrong with it by itself is said without asking anybody; then the API server
 * has the last word, once per token and cache lifetime. Whether the pod may have anything is another question.
 */
export function createAuthenticator(needs: AuthenticatorNeeds) {
  const { transport, keys, cache, audience, issuers } = needs;
  const underWay = new Map<string, Promise<Checked<Psat>>>();
  const seconds = () => Math.floor(needs.now() / 1000);

  async function authenticate(token: string): Promise<Checked<Psat>> {
    const cached = needs.hearsOfPods() ? cache.get(token) : undefined;
    if (cached) {
      needs.onReview('cached');
      const refused = checkTimes(cached, seconds());
      return refused ? { ...refused, owner: cached } : pass(cached);
    }
    // Many connections may bring one token at the same moment: it is reviewed once.
    const known = underWay.get(token);
    if (known) return known;
    const first = verify(token).finally(() => underWay.delete(token));
    underWay.set(token, first);
    return first;
  }

  async function verify(token: string): Promise<Checked<Psat>> {
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
    const refused = (refusal: Refused): Refused => {
      const owner = key && refusedButProved.has(refusal.code) ? ownerOf(jwt.value.claims) : undefined;
      return owner ? { ...refusal, owner } : refusal;
    };
    if (!psat.ok) return refused(psat);
    // Without a key these claims are hearsay until the review: anybody can make such tokens, so few are reviewed.
    if (!key && needs.unpublishedKeys.take('all') > 0) return refuse('ReviewLimited');
    if (key && needs.podReviews.take(psat.value.pod.uid) > 0) return refused(refuse('PodLimited'));

    const reviewed = await reviewToken(token, psat.value, audience, transport);
    if (reviewed.ok) cache.put(token, reviewed.value);
    needs.onReview(reviewed.ok ? 'good' : reviewed.code === 'TokenRefused' ? 'refused' : 'failed');
    return reviewed.ok ? reviewed : refused(reviewed);
  }

  return authenticate;
}

export type Authenticate = ReturnType<typeof createAuthenticator>;
