import { randomUUID } from 'node:crypto';
import type { PoolView } from '../authority/view.ts';
import type { TokenConfig } from '../config/endpoints.ts';
import { jwtPropagationOf } from '../config/rotation.ts';
import type { Identify } from '../identity/identify.ts';
import { createLimiter } from '../kube/limiter.ts';
import type { PodFacts, PodReader } from '../kube/pods.ts';
import type { Store } from '../kube/store.ts';
import type { Time } from '../kube/time.ts';
import type { Transport } from '../kube/transport.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { PublicationView } from '../trust/publication.ts';
import { rootsPem } from '../trust/published-documents.ts';
import { learnApiServerFacts } from './caller/api-server.ts';
import { createAuthenticator } from './caller/authenticate.ts';
import { createCertificateAuthenticator } from './caller/authenticate-certificate.ts';
import type { Credential } from './caller/credential.ts';
import { createIssuerKeys } from './caller/issuer-keys.ts';
import { createIssuers } from './caller/issuers.ts';
import { isHeardFrom } from './caller/pods.ts';
import { createRecent } from './caller/recent.ts';
import { createReviewCache, type ReviewCache } from './caller/review-cache.ts';
import { createServed } from './http/published.ts';
import { createForbiddenAudiences } from './svid/audiences.ts';
import { createFederatedWith } from './svid/federated-with.ts';
import { createTokenService } from './svid/jwt-service.ts';
import { createX509Service, type X509ServiceNeeds } from './svid/x509-service.ts';

export interface ServiceParts {
  readonly settings: TokenConfig;
  readonly trustDomain: string;
  readonly transport: Transport;
  /** Our own credential for the API server. */
  readonly authorization: () => Promise<string | undefined>;
  readonly pods: Store<PodFacts>;
  readonly podReader?: PodReader;
  readonly pool: PoolView;
  /** What the documents are made from. */
  readonly publication: PublicationView;
  /** The authority that may sign certificates now, with everything that has to hold before, or why there is none. */
  readonly authority: X509ServiceNeeds['authority'];
  readonly profile: X509ServiceNeeds['profile'];
  readonly identify: Identify;
  /** Which bundles of federated trust domains a caller gets whose registration names none. */
  readonly federateByDefault: 'all' | 'none';
  readonly clockProblem: () => string | undefined;
  /** Receives the reason why there is no service yet. */
  readonly onWaiting: (reason: string) => void;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly time: Time;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** Tokens a second whose key the API server does not publish. */
const unpublishedKeysPerSecond = 10;

/** What the token endpoint issues. */
export type Services = ReturnType<typeof joinServices>;

/**
 * Joins the parts of the services, once the issuer of ServiceAccount tokens is known.
 *
 * @returns undefined if the signal is aborted first.
 * @throws KubespiffeError CONFIG_INVALID for an audience that must not be ours.
 */
export async function learnServices(parts: ServiceParts, signal: AbortSignal): Promise<Services | undefined> {
  const { settings, pods, log, time } = parts;
  const { audiences } = settings;
  const cache = createReviewCache({ lifetimeMs: settings.reviewCacheMs, time });
  pods.subscribe(({ type, object, previous }) => {
    // When a pod ends, earlier reviews of its tokens no longer count.
    const isOver = type === 'delete' || object.finished !== undefined || object.deletesAt !== undefined;
    if (previous && (isOver || previous.uid !== object.uid)) cache.forgetPod(previous.uid);
  });
  const needs = { ...parts, furtherIssuers: settings.serviceAccountIssuers, audiences };
  const facts = await learnApiServerFacts(needs, signal);
  if (!facts) return undefined;
  log.info({ audience: audiences.token, issuer: settings.issuer }, 'the token endpoint issues JWT-SVIDs');
  if (settings.x509) log.info({ audience: audiences.x509 }, 'the token endpoint issues X509-SVIDs');
  return joinServices(parts, createIssuers({ ...needs, facts }), cache);
}

function joinServices(parts: ServiceParts, issuers: ReturnType<typeof createIssuers>, cache: ReviewCache) {
  const { settings, trustDomain, transport, pods, pool, time } = parts;
  const { monotonic } = time;
  const { audiences } = settings;
  const hearsOfPods = () => isHeardFrom(pods, monotonic());
  const keys = createIssuerKeys({ transport, time, log: parts.log });
  const unpublishedKeys = createLimiter({ perSecond: unpublishedKeysPerSecond, time });
  const podLimits = createLimiter({ perSecond: settings.podRate, time });
  const authenticatorFor = (audience: string, remembered: ReviewCache) =>
    createAuthenticator({
      transport,
      keys,
      cache: remembered,
      unpublishedKeys,
      podLimits,
      audience,
      issuers,
      hearsOfPods,
      time,
      onReview: (result) => parts.metrics.tokenReviews.inc({ result }),
    });
  const byToken = authenticatorFor(audiences.token, cache);
  const byCertificate = createCertificateAuthenticator({ pool, trustDomain, podLimits, time });
  const common = {
    pods: {
      pods,
      hearsOfPods,
      seenLive: createRecent<true>({ lifetimeMs: settings.reviewCacheMs, time }),
      transport,
      ...(parts.podReader && { reader: parts.podReader }),
    },
    identify: parts.identify,
    time,
  };
  const { x509 } = settings;
  const roots = createServed(parts.publication.current, (current) =>
    rootsPem(current.pool, current.siblings),
  );

  const authenticate = async (credential: Credential) =>
    credential.kind === 'token' ? byToken(credential.token) : byCertificate(credential.der);

  return {
    federatedWith: createFederatedWith({ ...common, authenticate, byDefault: parts.federateByDefault }),
    jwtSvid: createTokenService({
      ...common,
      authenticate,
      pool,
      clockProblem: parts.clockProblem,
      policy: {
        ...settings,
        propagationSeconds: jwtPropagationOf(settings),
        isForbidden: createForbiddenAudiences(() => [...issuers.audiences, ...Object.values(audiences)]),
      },
      newId: randomUUID,
    }),
    x509Svid:
      x509 &&
      createX509Service({
        ...common,
        // A certificate lives longer than a JWT-SVID and is seldom requested, so neither an earlier review of the token
        // nor the cache of the pods counts.
        authenticate: authenticatorFor(audiences.x509, createReviewCache({ lifetimeMs: 0, time })),
        pods: { ...common.pods, hearsOfPods: () => false },
        authority: parts.authority,
        reserve: pool.reserve,
        roots: () => roots()?.bytes.toString(),
        profile: parts.profile,
        lifetimeSeconds: x509.lifetimeSeconds,
        randomBytes: parts.randomBytes,
      }),
  };
}
