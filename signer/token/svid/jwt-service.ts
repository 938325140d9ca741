import type { JwtSigningAlgorithm } from '../../../spiffe/jwt-algorithms.ts';
import type { PoolView } from '../../authority/view.ts';
import type { Caller } from '../caller/caller.ts';
import { decideOnPod, lookUpPod } from '../caller/pods.ts';
import type { Limiter } from '../limiter.ts';
import { type Checked, pass, refuse } from '../refusals.ts';
import type { JwtSvidFacts, TokenReporter } from '../report.ts';
import { type Answer, answering, type Issue } from './answering.ts';
import { type AudiencePolicy, checkAudiences } from './audiences.ts';
import type { Credential, TokenRequest } from './exchange.ts';
import { expiryOf, mintJwtSvid } from './mint-jwt.ts';

export interface TokenPolicy {
  readonly trustDomain: string;
  /** `iss` of what is issued. */
  readonly issuer: string;
  readonly lifetimeSeconds: number;
  /** What signs, but for the audiences below. */
  readonly algorithm: JwtSigningAlgorithm;
  /** Audiences whose verifiers know RS256 only. */
  readonly rs256Audiences: ReadonlySet<string>;
  /** How long a key must have been published before it signs. */
  readonly propagationSeconds: number;
  readonly audiences: AudiencePolicy;
}

export interface TokenServiceNeeds {
  /** Whose credential it is. */
  readonly authenticate: (credential: Credential) => Promise<Checked<Caller>>;
  readonly pods: Parameters<typeof lookUpPod>[1];
  readonly pool: Pick<PoolView, 'jwtSignable'>;
  /** Why the clock may not be used, or undefined. */
  readonly clockFault: () => string | undefined;
  readonly podLimits: Pick<Limiter, 'take'>;
  readonly policy: TokenPolicy;
  readonly tell: TokenReporter;
  readonly newId: () => string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly monotonic: () => number;
}

/** A JWT-SVID and its remaining life in seconds. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresIn: number;
  readonly spiffeId: string;
}

export type TokenService = Answer<TokenRequest, IssuedToken>;

/** Gives JWT-SVIDs to pods that prove themselves with their ServiceAccount token or their certificate. */
export function createTokenService(needs: TokenServiceNeeds): TokenService {
  const { policy, monotonic } = needs;

  const issue: Issue<TokenRequest, IssuedToken, JwtSvidFacts> = async (request, known) => {
    const authenticated = await needs.authenticate(request.credential);
    if (!authenticated.ok) return authenticated;
    const caller = authenticated.value;
    known(caller);
    if (needs.podLimits.take(caller.pod.uid) > 0) return refuse('PodLimited');
    const audiences = checkAudiences(request.audiences, policy.audiences);
    if (!audiences.ok) return audiences;

    const lookup = await lookUpPod(caller, needs.pods);
    const now = Math.floor(needs.now() / 1000);
    const spiffeId = decideOnPod(caller, lookup, policy, now);
    if (!spiffeId.ok) return spiffeId;
    const expiresAt = expiryOf({
      now,
      lifetimeSeconds: policy.lifetimeSeconds,
      credentialEndsAt: caller.expiresAt,
    });
    if (!expiresAt.ok) return expiresAt;

    const clockFault = needs.clockFault();
    if (clockFault !== undefined) return refuse('SigningUnavailable', clockFault);
    const isForRs256 = audiences.value.some((audience) => policy.rs256Audiences.has(audience));
    const algorithm = isForRs256 ? 'RS256' : policy.algorithm;
    const signable = needs.pool.jwtSignable(algorithm, now, policy.propagationSeconds);
    if (!signable.ok) return refuse('SigningUnavailable', signable.problem.message);
    const signer = signable.authority;
    const minted = await mintJwtSvid({
      signer,
      spiffeId: spiffeId.value,
      audiences: audiences.value,
      issuer: policy.issuer,
      now,
      expiresAt: expiresAt.value,
      id: needs.newId(),
    });
    const { uri } = spiffeId.value;
    return pass({
      given: { token: minted.token, expiresIn: minted.expiresAt - now, spiffeId: uri },
      facts: {
        spiffeId: uri,
        audiences: audiences.value,
        tokenId: minted.id,
        keyId: signer.kid,
        notAfter: minted.expiresAt,
      },
    });
  };

  return answering({ issue, tell: (told) => needs.tell({ event: 'token', ...told }), monotonic });
}
