import { messageOf } from '../../spiffe/errors.ts';
import type { EndpointConfig } from '../config/endpoints.ts';
import type { EventRecorder } from '../kube/events.ts';
import { createLimiter } from '../kube/limiter.ts';
import type { Audit } from '../observe/audit.ts';
import type { RefusalCode } from '../observe/refusals.ts';
import type { StartSpan } from '../observe/span.ts';
import { addBundleRoutes, createBundles } from './http/bundle-routes.ts';
import { filedCertificates, ownCertificates } from './http/certificate-source.ts';
import { addDocumentRoutes, createDocuments, openApiOf } from './http/document-routes.ts';
import { addDocuments } from './http/document-scope.ts';
import { createHttp, type Http } from './http/http.ts';
import { runListener } from './http/listener.ts';
import { describeRoutes } from './http/openapi.ts';
import { svidAt } from './http/paths.ts';
import type { tlsOptions } from './http/tls.ts';
import { addTokenRoutes } from './http/token-routes.ts';
import { addX509Routes } from './http/x509-routes.ts';
import { createTokenReporter } from './report.ts';
import { learnServices, type ServiceParts, type Services } from './services.ts';

export interface EndpointNeeds extends Omit<ServiceParts, 'settings' | 'onWaiting'> {
  readonly settings: EndpointConfig;
  /** JSON of the bundles of federated trust domains by their names; undefined while they are not known. */
  readonly peers: () => ReadonlyMap<string, string> | undefined;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly audit: Audit;
  /** Undefined where traces are off. */
  readonly startSpan?: StartSpan | undefined;
  /** Says whether a listener serves, and why not. */
  readonly onState: (listener: ListenerName, serves: boolean, reason: string) => void;
}

/** The listeners; each is configured by settings of its own. */
export type ListenerName = 'token-endpoint' | 'bundle-web' | 'bundle-spiffe';

/** Clients of all kinds fetch bundles; Mozilla's intermediate configuration allows TLS 1.2 and 1.3. */
const bundleTlsVersion = 'TLSv1.2';

/**
 * The HTTPS listeners: the token endpoint, where pods exchange their ServiceAccount token for an SVID and everyone may read
 * what verifies it, and the two kinds of bundle endpoint, which only serve documents.
 *
 * @returns the listeners that are configured, each of which runs until the signal is aborted, serves a moment longer,
 *   and then drains. They throw CONFIG_INVALID for an audience that must not be ours, and the errors of listen().
 */
export function createEndpoints(
  needs: EndpointNeeds,
): readonly { readonly name: ListenerName; run(signal: AbortSignal): Promise<void> }[] {
  const { settings, log, metrics, time } = needs;
  const { token, bundleWeb, bundleSpiffe } = settings;
  const report = createTokenReporter(needs);
  const { refreshHintSeconds } = settings;
  const documents = createDocuments(needs.publication, settings);
  const own = () => ownCertificates({ ...needs, reserve: needs.pool.reserve, dnsNames: settings.names });

  /** The HTTP side of one listener, with the documents that all of them serve. */
  async function createListener(
    listener: ListenerName,
    tls: ReturnType<typeof tlsOptions>,
    services?: Services,
  ): Promise<Http> {
    // Starts at zero, as the alarms in report.ts do. InternalError is the only alarm outside of SVID requests.
    metrics.otherRefusals.inc({ listener, reason: 'InternalError' satisfies RefusalCode }, 0);
    const ofAddress = () => createLimiter({ perSecond: settings.addressRate, time });
    const http = createHttp({
      tls,
      addressLimits: ofAddress(),
      connectionRate: ofAddress(),
      report: (context, outcome) =>
        report({ listener, svid: services && svidAt.get(context.path) }, context, outcome),
      onCut: (cause) => metrics.connectionsCut.inc({ listener, cause }),
      onError: (error) => log.error({ error: messageOf(error) }, 'the endpoint failed'),
      startSpan: needs.startSpan,
      time,
    });
    if (services) await describeRoutes(http.app);
    const openApi = services && { openApi: openApiOf(http) };
    await addDocuments(http, (scope) => {
      addDocumentRoutes(scope, { ...documents, ...openApi }, refreshHintSeconds);
      if (!services) return;
      // The token endpoint alone has the bundles of others: they are for our own workloads.
      const bundles = createBundles({ ...needs, refreshHintSeconds });
      addBundleRoutes(scope, bundles, services.federatedWith, refreshHintSeconds);
    });
    if (!services) return http;
    addTokenRoutes(http, services.jwtSvid);
    if (services.x509Svid) addX509Routes(http, services.x509Svid);
    return http;
  }

  function listener(
    name: ListenerName,
    more: Pick<
      Parameters<typeof runListener>[0],
      'address' | 'minTlsVersion' | 'asksForCertificates' | 'certificates'
    >,
    prepare: (onWaiting: (reason: string) => void, signal: AbortSignal) => Promise<Services | undefined>,
  ) {
    const onState = (serves: boolean, reason: string) => needs.onState(name, serves, reason);
    return {
      name,
      async run(signal: AbortSignal): Promise<void> {
        const services = await prepare((reason) => onState(false, reason), signal);
        if (signal.aborted) return;
        const create = (tls: ReturnType<typeof tlsOptions>) => createListener(name, tls, services);
        await runListener({ ...more, name, create, log, time, onState }, signal);
      },
    };
  }
  const nothing = async () => undefined;

  return [
    token &&
      listener(
        'token-endpoint',
        { ...token, asksForCertificates: token.clientCertificates, certificates: own() },
        (onWaiting, signal) => learnServices({ ...needs, settings: token, onWaiting }, signal),
      ),
    bundleWeb &&
      listener(
        'bundle-web',
        {
          ...bundleWeb,
          minTlsVersion: bundleTlsVersion,
          certificates: filedCertificates({ ...needs, ...bundleWeb }),
        },
        nothing,
      ),
    bundleSpiffe &&
      listener(
        'bundle-spiffe',
        { ...bundleSpiffe, minTlsVersion: bundleTlsVersion, certificates: own() },
        nothing,
      ),
  ].filter((one) => one !== undefined);
}
