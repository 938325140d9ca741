import { KubespiffeError, messageOf } from '../../../spiffe/errors.ts';
import type { PoolView } from '../../authority/view.ts';
import type { TokenConfig } from '../../config/endpoints.ts';
import { type Identify, shownTerms } from '../../identity/identify.ts';
import { unlessKeyUnavailable } from '../../keys/remote-key.ts';
import type { Time } from '../../kube/time.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import { inSpan } from '../../observe/span.ts';
import type { Authenticated } from '../caller/caller.ts';
import type { Credential } from '../caller/credential.ts';
import { identifyCaller, lookUpCaller } from '../caller/pods.ts';
import { type AudiencePolicy, checkAllowed, checkAudiences } from './audiences.ts';
import { cannotSign } from './cannot-sign.ts';
import type { TokenRequest } from './exchange.ts';
import { expiryOf, mintJwtSvid } from './mint-jwt.ts';
import { authenticateIn, type RequestContext } from './request-context.ts';

export interface TokenPolicy
  extends AudiencePolicy,
    Pick<TokenConfig, 'issuer' | 'lifetimeSeconds' | 'algorithm' | 'rs256Audiences'> {
  /** How long a key must have been published before it signs, in seconds. */
  readonly propagationSeconds: number;
}

export interface TokenServiceNeeds {
  /** Verifies a credential, and charges the request to the rate limit of its pod. */
  readonly authenticate: (credential: Credential) => Promise<Authenticated>;
  readonly identify: Identify;
  readonly pods: Parameters<typeof lookUpCaller>[1];
  readonly pool: Pick<PoolView, 'jwtSignable' | 'reserve'>;
  /** Why the clock may not be used, or undefined. */
  readonly clockProblem: () => string | undefined;
  readonly policy: TokenPolicy;
  readonly newId: () => string;
  readonly time: Time;
}

/** A JWT-SVID, and its facts for the audit line. */
export interface IssuedToken extends ReturnType<typeof shownTerms> {
  readonly kind: 'token';
  readonly token: string;
  /** Seconds that are left. */
  readonly expiresIn: number;
  readonly spiffeId: string;
  readonly audiences: readonly string[];
  /** `jti` */
  readonly tokenId: string;
  /** `kid` of the key that signed it. */
  readonly keyId: string;
  /** Seconds since the epoch. */
  readonly notAfter: number;
}

export type TokenService = (request: TokenRequest, context: RequestContext) => Promise<Checked<IssuedToken>>;

/** Issues JWT-SVIDs to pods that prove themselves with their ServiceAccount token or their certificate. */
export function createTokenService(needs: TokenServiceNeeds): TokenService {
  const { policy } = needs;
  const nowSeconds = () => Math.floor(needs.time.now() / 1000);

  return async (request, context) => {
    const { span } = context;
    const authenticated = await authenticateIn(context, () => needs.authenticate(request.credential));
    if (!authenticated.ok) return authenticated;
    const caller = authenticated.value;
    const audiences = checkAudiences(request.audiences, policy);
    if (!audiences.ok) return audiences;

    const lookup = await inSpan(span, 'decide', () => lookUpCaller(caller, needs.pods));
    const now = nowSeconds();
    const identity = identifyCaller(caller, lookup, needs.identify, now, request.registration);
    if (!identity.ok) return identity;
    const { spiffeId, terms } = identity.value;
    const allowed = checkAllowed(
      audiences.value,
      terms?.audiences,
      `the registration ${terms?.registration}`,
    );
    if (!allowed.ok) return allowed;
    const expiresAt = expiryOf({
      now,
      lifetimeSeconds: Math.min(
        policy.lifetimeSeconds,
        terms?.maxTokenLifetimeSeconds ?? Number.POSITIVE_INFINITY,
      ),
      credentialEndsAt: caller.expiresAt,
    });
    if (!expiresAt.ok) return expiresAt;

    const clockProblem = needs.clockProblem();
    if (clockProblem !== undefined) return refuse('SigningUnavailable', clockProblem);
    const isForRs256 = audiences.value.some((audience) => policy.rs256Audiences.includes(audience));
    const algorithm = isForRs256 ? 'RS256' : policy.algorithm;
    const signable = needs.pool.jwtSignable(algorithm, now, policy.propagationSeconds);
    if (!signable.ok) return refuse('SigningUnavailable', signable.problem.message);
    const signer = signable.authority;
    try {
      await needs.pool.reserve(signer, expiresAt.value);
    } catch (error) {
      return cannotSign('SigningNotRecorded', messageOf(error));
    }
    const tokenId = needs.newId();
    const token = await inSpan(span, 'sign', () =>
      mintJwtSvid({
        signer,
        spiffeId,
        audiences: audiences.value,
        issuer: policy.issuer,
        now,
        expiresAt: expiresAt.value,
        id: tokenId,
      }),
    ).catch(unlessKeyUnavailable);
    if (token instanceof KubespiffeError) {
      return refuse(
        'SigningUnavailable',
        `the key of authority ${signer.id} cannot be used now: ${token.message}`,
      );
    }
    // The pool may have changed, or its view become too old, while this waited or the process stood still.
    const still = needs.pool.jwtSignable(algorithm, nowSeconds(), policy.propagationSeconds);
    if (!still.ok) return refuse('SigningUnavailable', still.problem.message);
    if (still.authority.kid !== signer.kid) return refuse('SigningUnavailable', 'another key signs now');
    return pass({
      kind: 'token',
      token,
      expiresIn: expiresAt.value - now,
      spiffeId,
      ...shownTerms(terms),
      audiences: audiences.value,
      tokenId,
      keyId: signer.kid,
      notAfter: expiresAt.value,
    });
  };
}
