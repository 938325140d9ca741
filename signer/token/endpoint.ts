import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  discoveryDocument,
  jwksDocument,
  publishedAlgorithms,
  rootsPem,
  spiffeBundleDocument,
} from '../authority/documents.ts';
import { jwtPropagationSeconds } from '../authority/jwt-signing.ts';
import type { Authority } from '../authority/pool.ts';
import type { PoolView } from '../authority/view.ts';
import { KubespiffeError, messageOf } from '../errors.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Store } from '../kube/store.ts';
import { pause } from '../kube/timer.ts';
import type { Transport } from '../kube/transport.ts';
import type { Pod } from '../kube/types.ts';
import type { Audit } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { type ApiServerFacts, readApiServerFacts } from './api-server.ts';
import { createAuthenticator } from './authenticate.ts';
import { type EndpointCertificate, endpointIdOf, makeEndpointCertificate } from './certificate.ts';
import { createIssuerKeys } from './issuer-keys.ts';
import { createLimiter } from './limiter.ts';
import { openApiDocument } from './openapi.ts';
import { paths } from './paths.ts';
import type { LivePod } from './pods.ts';
import { alwaysServed, createServed } from './published.ts';
import { createTokenReporter } from './report.ts';
import { createReviewCache } from './review-cache.ts';
import { createTokenServer, tlsOptions } from './server.ts';
import { createTokenService } from './service.ts';

/** The settings of the endpoint; docs/reference/configuration.md says what each is for. */
export interface TokenEndpointSettings {
  readonly address: { readonly host: string; readonly port: number };
  readonly audience: string | undefined;
  readonly serviceAccountIssuers: readonly string[];
  readonly names: readonly string[];
  readonly minTlsVersion: 'TLSv1.2' | 'TLSv1.3';
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
  readonly addressRate: number;
}

export interface TokenEndpointNeeds {
  readonly settings: TokenEndpointSettings;
  readonly trustDomain: string;
  readonly transport: Transport;
  /** Our own credential for the API server. */
  readonly authorization: () => Promise<string | undefined>;
  readonly pods: Store<LivePod>;
  readonly project: (raw: Pod) => LivePod;
  readonly pool: PoolView;
  /** The authority that may sign certificates now, with everything that has to hold before, or why there is none. */
  readonly authority: () => { ok: true; authority: Authority } | { ok: false; detail: string };
  readonly clockFault: () => string | undefined;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly audit: Audit;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Says whether the endpoint serves, and why not. */
  readonly onState: (serves: boolean, reason: string) => void;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** The server sends a bookmark about once a minute: after more silence than this a watch may be dead. */
const heardWithinMs = 90_000;
const retryMs = 1_000;
const certificateCheckMs = 5_000;
/** After the signal the endpoint still serves for so long: the Service needs some time to send callers elsewhere. */
const lingerMs = 2_000;
/** Tokens a second whose key the API server does not publish. */
const unpublishedKeysPerSecond = 10;

/**
 * The token endpoint: pods exchange their ServiceAccount token for a JWT-SVID there, and everybody reads what verifies
 * it. It listens once it knows the API server's issuer and has a certificate of its own.
 *
 * @returns what runs until the signal is aborted, serves a moment longer, and then drains. It throws CONFIG_INVALID for
 *   an audience that must not be ours, and whatever listening throws.
 */
export function createTokenEndpoint(needs: TokenEndpointNeeds): { run(signal: AbortSignal): Promise<void> } {
  const { settings, trustDomain, transport, pods, pool, log, monotonic } = needs;
  const audience = settings.audience ?? endpointIdOf(trustDomain).uri;
  const seconds = () => Math.floor(needs.now() / 1000);
  const hearsOfPods = () => pods.isSynced() && monotonic() - pods.lastContact() < heardWithinMs;
  const cache = createReviewCache({ lifetimeMs: settings.reviewCacheMs, monotonic });
  pods.subscribe(({ type, object, previous }) => {
    // Whatever ends a pod ends what was known of its tokens.
    const isOver = type === 'delete' || object.finished !== undefined || object.deletesAt !== undefined;
    if (previous && (isOver || previous.uid !== object.uid)) cache.forgetPod(previous.uid);
  });

  async function learnFacts(signal: AbortSignal): Promise<ApiServerFacts | undefined> {
    let lastFault: string | undefined;
    while (!signal.aborted) {
      try {
        return await readApiServerFacts({
          transport,
          authorization: needs.authorization,
          furtherIssuers: settings.serviceAccountIssuers,
          audience,
        });
      } catch (error) {
        if (error instanceof KubespiffeError && error.code === 'CONFIG_INVALID') throw error;
        const fault = messageOf(error);
        if (fault !== lastFault)
          log.warn({ error: fault }, 'the issuer of ServiceAccount tokens is not known yet');
        lastFault = fault;
        needs.onState(false, `the issuer of ServiceAccount tokens is not known yet: ${fault}`);
        await pause(retryMs, signal);
      }
    }
    return undefined;
  }

  /** Makes the first certificate, as soon as one can be signed. */
  async function firstCertificate(signal: AbortSignal): Promise<EndpointCertificate | undefined> {
    while (!signal.aborted) {
      const usable = needs.authority();
      if (usable.ok) return makeCertificate(usable.authority);
      needs.onState(false, `there is no certificate for the endpoint yet: ${usable.detail}`);
      await pause(retryMs, signal);
    }
    return undefined;
  }

  function makeCertificate(authority: Authority): Promise<EndpointCertificate> {
    return makeEndpointCertificate({
      authority,
      trustDomain,
      dnsNames: settings.names,
      now: seconds(),
      randomBytes: needs.randomBytes,
    });
  }

  function createService(facts: ApiServerFacts, tell: ReturnType<typeof createTokenReporter>) {
    return createTokenService({
      authenticate: createAuthenticator({
        transport,
        keys: createIssuerKeys({ transport, monotonic, log }),
        cache,
        unpublishedKeys: createLimiter({ perSecond: unpublishedKeysPerSecond, monotonic }),
        policy: { audience, issuers: facts.issuers },
        hearsOfPods,
        now: needs.now,
        onReview: (result) => needs.metrics.tokenReviews.inc({ result }),
      }),
      pods: { pods, project: needs.project, hearsOfPods, transport },
      pool,
      clockFault: needs.clockFault,
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
      tell,
      newId: randomUUID,
      now: needs.now,
      monotonic,
    });
  }

  const documents = {
    discovery: createServed(pool.current, (current) =>
      discoveryDocument({
        issuer: settings.issuer,
        jwksUri: `${settings.issuer}${paths.keys}`,
        algorithms: publishedAlgorithms(current),
      }),
    ),
    keys: createServed(pool.current, jwksDocument),
    bundle: createServed(pool.current, (current) =>
      spiffeBundleDocument(current, settings.refreshHintSeconds),
    ),
    roots: createServed(pool.current, rootsPem),
    openApi: alwaysServed(openApiDocument()),
  };

  /** Renews the certificate in time, and when another authority signs. Open connections keep theirs. */
  async function keepCertificate(
    first: EndpointCertificate,
    use: (certificate: EndpointCertificate) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let current = first;
    while (!signal.aborted) {
      await pause(certificateCheckMs, signal);
      const usable = needs.authority();
      const isDue = seconds() >= current.renewAt;
      if (!usable.ok || (!isDue && usable.authority.id === current.authorityId)) continue;
      current = await makeCertificate(usable.authority);
      use(current);
      log.info(
        { authority: current.authorityId, notAfter: current.notAfter },
        'the endpoint has a new certificate',
      );
    }
  }

  return {
    async run(signal) {
      const facts = await learnFacts(signal);
      const certificate = await firstCertificate(signal);
      if (!facts || !certificate) return;
      const tell = createTokenReporter(needs);
      const tlsOf = (shown: EndpointCertificate) => tlsOptions(shown, settings.minTlsVersion);
      const { app, server } = createTokenServer({
        tls: tlsOf(certificate),
        documents,
        maxAgeSeconds: settings.refreshHintSeconds,
        answer: createService(facts, tell),
        addressLimits: createLimiter({ perSecond: settings.addressRate, monotonic }),
        onRefusal: (outcome, address, startedAt) =>
          tell({ address, elapsedMs: monotonic() - startedAt, outcome }),
        onError: (error) => log.error({ error: messageOf(error) }, 'the token endpoint failed'),
        monotonic,
      });
      await app.ready();
      server.listen(settings.address.port, ...(settings.address.host ? [settings.address.host] : []));
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      log.info({ port, audience, issuer: settings.issuer }, 'the token endpoint listens');
      needs.onState(true, `listens on port ${port}`);
      try {
        const use = (renewed: EndpointCertificate) => server.setSecureContext(tlsOf(renewed));
        await keepCertificate(certificate, use, signal);
        await pause(lingerMs);
      } finally {
        needs.onState(false, 'draining');
        await app.close();
      }
    },
  };
}
