import { randomUUID } from 'node:crypto';
import { reserveNothing } from '../signer/authority/reservations.ts';
import { ApiStatusError } from '../signer/kube/api-error.ts';
import type { Time } from '../signer/kube/time.ts';
import type { ApiRequest, Transport } from '../signer/kube/transport.ts';
import { createCertificateAuthenticator } from '../signer/token/caller/authenticate-certificate.ts';
import { createForbiddenAudiences } from '../signer/token/svid/audiences.ts';
import { createTokenService, type TokenService } from '../signer/token/svid/jwt-service.ts';
import { ownAudiences } from '../spiffe/infrastructure.ts';
import type { Authorities } from './authorities.ts';
import type { ServiceAccountTokens } from './service-account-token.ts';
import { identifyIn, type Workloads } from './workloads.ts';

const maxAudiences = 10;
/** In seconds. Receivers allow for clocks that are a minute apart, so a shorter lifetime would show nothing. */
const tokenLifetimes = { min: 60, max: 3_600 } as const;

/** How long JWT-SVIDs live: as long as certificates, within bounds. In seconds. */
export function tokenLifetimeFor(certificateSeconds: number): number {
  return Math.min(Math.max(certificateSeconds, tokenLifetimes.min), tokenLifetimes.max);
}

/** What the token endpoint of a signer issues, decided by the same code, for the workloads of this machine. */
export function createDevTokenService(needs: {
  readonly trustDomain: string;
  readonly issuer: string;
  readonly lifetimeSeconds: number;
  readonly authorities: Authorities;
  readonly workloads: Workloads;
  readonly tokens: ServiceAccountTokens;
  readonly time: Time;
}): TokenService {
  const { trustDomain, issuer, authorities, workloads, tokens, time } = needs;
  const byCertificate = createCertificateAuthenticator({
    pool: authorities,
    trustDomain,
    podLimits: { take: () => 0 },
    time,
  });
  return createTokenService({
    authenticate: async (credential) =>
      credential.kind === 'token' ? tokens.verify(credential.token) : byCertificate(credential.der),
    identify: identifyIn(trustDomain),
    pods: {
      pods: workloads.pods,
      // The store is no copy here: what is in it is all there is.
      hearsOfPods: () => true,
      seenLive: { get: () => true, set: () => undefined, size: 0 },
      transport: noApiServer,
    },
    pool: { jwtSignable: authorities.jwtSignable, reserve: reserveNothing },
    clockProblem: () => undefined,
    policy: {
      issuer,
      lifetimeSeconds: tokenLifetimeFor(needs.lifetimeSeconds),
      algorithm: 'ES256',
      rs256Audiences: [],
      allowedAudiences: undefined,
      maxAudiences,
      propagationSeconds: 0,
      isForbidden: createForbiddenAudiences(() => Object.values(ownAudiences(trustDomain))),
    },
    newId: randomUUID,
    time,
  });
}

/** Asked for a pod that the store does not have. */
const noApiServer: Pick<Transport, 'request'> = {
  async request({ method, path }: ApiRequest) {
    const body = { reason: 'NotFound', details: { name: path.split('/').at(-1) ?? '' } };
    throw new ApiStatusError({ method, path }, { status: 404, body, retryAfterMs: undefined });
  },
};
