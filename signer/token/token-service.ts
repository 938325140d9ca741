import { randomUUID } from 'node:crypto';
import { jwtPropagationSeconds } from '../authority/jwt-signing.ts';
import type { PoolView } from '../authority/view.ts';
import { KubespiffeError, messageOf } from '../errors.ts';
import type { Store } from '../kube/store.ts';
import { pause } from '../kube/timer.ts';
import type { Transport } from '../kube/transport.ts';
import type { Pod } from '../kube/types.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { type ApiServerFacts, readApiServerFacts } from './api-server.ts';
import { createAuthenticator } from './authenticate.ts';
import { endpointIdOf } from './certificate.ts';
import { createIssuerKeys } from './issuer-keys.ts';
import { createLimiter } from './limiter.ts';
import { isHeardFrom, type LivePod } from './pods.ts';
import type { TokenReporter } from './report.ts';
import { createReviewCache } from './review-cache.ts';
import { createTokenService, type TokenService } from './service.ts';

/** What may be had from the token endpoint; docs/reference/configuration.md says what each is for. */
export interface TokenSettings {
  readonly audience: string | undefined;
  readonly serviceAccountIssuers: readonly string[];
  readonly issuer: string;
  readonly lifetimeSeconds: number;
  readonly algorithm: 'ES256' | 'RS256';
  readonly rs256Audiences: readonly string[];
  readonly allowedAudiences: readonly string[] | undefined;
  readonly maxAudiences: number;
  readonly propagationDelaySeconds: number;
  readonly refreshHintSeconds: number;
  readonly reviewCacheMs: number;
  readonly podRate: number;
}

export interface TokenServiceParts {
  readonly settings: TokenSettings;
  readonly trustDomain: string;
  readonly transport: Transport;
  /** Our own credential for the API server. */
  readonly authorization: () => Promise<string | undefined>;
  readonly pods: Store<LivePod>;
  readonly project: (raw: Pod) => LivePod;
  readonly pool: PoolView;
  readonly clockFault: () => string | undefined;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly tell: TokenReporter;
  /** Is told why there is no service yet. */
  readonly onWaiting: (reason: string) => void;
  readonly now: () => number;
  readonly monotonic: () => number;
}

const retryMs = 1_000;
/** Tokens a second whose key the API server does not publish. */
const unpublishedKeysPerSecond = 10;

/**
 * Joins the parts of the token service, as soon as the API server has said whose tokens they are.
 *
 * @returns undefined when the signal comes before.
 * @throws KubespiffeError CONFIG_INVALID for an audience that must not be ours.
 */
export async function learnTokenService(
  parts: TokenServiceParts,
  signal: AbortSignal,
): Promise<TokenService | undefined> {
  const { settings, trustDomain, transport, pods, monotonic, log } = parts;
  const audience = settings.audience ?? endpointIdOf(trustDomain).uri;
  const hearsOfPods = () => isHeardFrom(pods, monotonic());
  const cache = createReviewCache({ lifetimeMs: settings.reviewCacheMs, monotonic });
  pods.subscribe(({ type, object, previous }) => {
    // Whatever ends a pod ends what was known of its tokens.
    const isOver = type === 'delete' || object.finished !== undefined || object.deletesAt !== undefined;
    if (previous && (isOver || previous.uid !== object.uid)) cache.forgetPod(previous.uid);
  });
  const facts = await learnFacts(audience, parts, signal);
  if (!facts) return undefined;
  log.info({ audience, issuer: settings.issuer }, 'the token endpoint takes ServiceAccount tokens');

  return createTokenService({
    authenticate: createAuthenticator({
      transport,
      keys: createIssuerKeys({ transport, monotonic, log }),
      cache,
      unpublishedKeys: createLimiter({ perSecond: unpublishedKeysPerSecond, monotonic }),
      policy: { audience, issuers: facts.issuers },
      hearsOfPods,
      now: parts.now,
      onReview: (result) => parts.metrics.tokenReviews.inc({ result }),
    }),
    pods: { pods, project: parts.project, hearsOfPods, transport },
    pool: parts.pool,
    clockFault: parts.clockFault,
    podLimits: createLimiter({ perSecond: settings.podRate, monotonic }),
    policy: {
      trustDomain,
      issuer: settings.issuer,
      lifetimeSeconds: settings.lifetimeSeconds,
      algorithm: settings.algorithm,
      rs256Audiences: new Set(settings.rs256Audiences),
      propagationSeconds: jwtPropagationSeconds({
        refreshHintSeconds: settings.refreshHintSeconds,
        jwksMaxAgeSeconds: settings.refreshHintSeconds,
        delaySeconds: settings.propagationDelaySeconds,
      }),
      audiences: {
        most: settings.maxAudiences,
        allowed: settings.allowedAudiences,
        forbidden: new Set([...facts.audiences, audience]),
      },
    },
    tell: parts.tell,
    newId: randomUUID,
    now: parts.now,
    monotonic,
  });
}

async function learnFacts(
  audience: string,
  parts: TokenServiceParts,
  signal: AbortSignal,
): Promise<ApiServerFacts | undefined> {
  const { transport, authorization, settings, log } = parts;
  let lastFault: string | undefined;
  while (!signal.aborted) {
    try {
      const furtherIssuers = settings.serviceAccountIssuers;
      return await readApiServerFacts({ transport, authorization, furtherIssuers, audience });
    } catch (error) {
      if (error instanceof KubespiffeError && error.code === 'CONFIG_INVALID') throw error;
      const fault = messageOf(error);
      if (fault !== lastFault)
        log.warn({ error: fault }, 'the issuer of ServiceAccount tokens is not known yet');
      lastFault = fault;
      parts.onWaiting(`the issuer of ServiceAccount tokens is not known yet: ${fault}`);
      await pause(retryMs, signal);
    }
  }
  return undefined;
}
