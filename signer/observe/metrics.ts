import type { Counter as CounterOf, Gauge as GaugeOf, Histogram as HistogramOf } from 'prom-client';
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Histogram from 'prom-client/lib/histogram.js';
import Registry from 'prom-client/lib/registry.js';
import { registerProcessMetrics } from './process-metrics.ts';

/** Every metric of the signer. A label's values come from fixed sets, never from a pod's or a user's names. */
export interface Metrics {
  /** Final and waiting decisions; `reason` is a code of reasons.ts. */
  readonly issuance: CounterOf<'outcome' | 'reason' | 'signer'>;
  /** Seconds from our first sight of a request to the confirmed write of its status. */
  readonly issuanceLatency: HistogramOf<'outcome'>;
  /** Seconds that a request was old, by the API server's clock, when we first saw it. */
  readonly requestAgeAtFirstSight: HistogramOf;
  readonly queueDepth: GaugeOf;
  /** Seconds since the oldest request still open was first seen; 0 when there is none. */
  readonly oldestPending: GaugeOf;
  readonly pendingRequests: GaugeOf;
  /** `cause`: closed, expired, error, silent … as the reflector names them. */
  readonly watchRestarts: CounterOf<'resource' | 'cause'>;
  /** Epoch seconds at which an authority, or anything above it in its chain, ends; `state` is one of authority/states.ts. */
  readonly authorityExpiry: GaugeOf<'authority' | 'state'>;
  /** `code`: the HTTP status, or `error` when there was no answer. */
  readonly apiRequests: CounterOf<'verb' | 'resource' | 'code'>;
  readonly apiRequestSeconds: HistogramOf<'verb' | 'resource'>;
  /** Alarm: requests that the API server could read and we could not. Any value above 0 is a bug of ours. */
  readonly unreadableRequests: CounterOf;
  /** Alarm: status writes that the API server found invalid. Any value above 0 is a bug of ours. */
  readonly statusRejected: CounterOf;
  /** Requests answered by a replica other than their owner. */
  readonly takeovers: CounterOf;
  /** Answers of ours that came too late: another replica had answered. */
  readonly answeredElsewhere: CounterOf;
  /** Our clock minus the API server's, in seconds. */
  readonly clockSkew: GaugeOf;
  /** 1 while every readiness check passes. */
  readonly ready: GaugeOf;
  /** 1 while the admission policy lets nobody but nodes create requests. */
  readonly admissionPolicyInForce: GaugeOf;
  /** 1 while this can be signed. `kind`: x509, or jwt where the token endpoint is on. */
  readonly canSign: GaugeOf<'kind'>;
  /** Rights that the signer needs and does not have at the API server. */
  readonly missingPermissions: GaugeOf;
  /** Seconds since our view of the pool was last confirmed by the API server. */
  readonly poolConfirmedAge: GaugeOf;
  /** Namespaces that take the roots as a ConfigMap; `state` is one of configmap-publisher.ts. */
  readonly rootsConfigMaps: GaugeOf<'state'>;
  /** Answers to requests for JWT-SVIDs; `reason` is `Issued` or a code of the token endpoint's table of refusals. */
  readonly tokens: CounterOf<'outcome' | 'reason'>;
  /** Seconds from the whole request to the answer. */
  readonly tokenSeconds: HistogramOf<'outcome'>;
  /** The same of requests for X509-SVIDs at the token endpoint. */
  readonly x509Svids: CounterOf<'outcome' | 'reason'>;
  readonly x509SvidSeconds: HistogramOf<'outcome'>;
  /** Refusals of what was for no SVID: documents, unknown paths, what is no request. `reason` as above. */
  readonly otherRefusals: CounterOf<'listener' | 'reason'>;
  /** Connections closed before a request. `cause`: handshake; rate, address or full: over a limit. */
  readonly connectionsCut: CounterOf<'listener' | 'cause'>;
  /** How the API server's word on a ServiceAccount token was had. */
  readonly tokenReviews: CounterOf<'result'>;
  /** Lines that standard output did not take in time. `stream`: log or audit. */
  readonly outputLinesDropped: CounterOf<'stream'>;
  readonly buildInfo: GaugeOf<'version' | 'node'>;
  /** Has gauges set that tell a state rather than count events, whenever the metrics are rendered: nothing polls. */
  beforeRender(refresh: () => void): void;
  /** The content type of `render`. */
  readonly contentType: string;
  /** All metrics in the Prometheus text format. */
  render(): Promise<string>;
}

// From one fast status write (5 ms) past kubelet's first retry (0.4 s) to what only an outage explains.
const latencyBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1, 2.5, 5, 10, 30];
// A request is whole seconds old by its creationTimestamp; the cleaner removes it after 15 to 20 minutes.
const ageBuckets = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1200];

/** Makes the metrics in a registry of their own, so that several signers fit into one process (tests). */
export function createMetrics(build: { version: string } = { version: 'unknown' }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const refreshers: (() => void)[] = [];

  function counter<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
  ): CounterOf<L> {
    return new Counter<L>({ name, help, labelNames, registers });
  }
  function gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []): GaugeOf<L> {
    return new Gauge<L>({ name, help, labelNames, registers });
  }
  function histogram<L extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly L[] = [],
  ): HistogramOf<L> {
    return new Histogram<L>({ name, help, buckets, labelNames, registers });
  }

  const buildInfo = gauge('kubespiffe_build_info', 'The running version, as labels; always 1.', [
    'version',
    'node',
  ]);
  buildInfo.set({ version: build.version, node: process.versions.node }, 1);
  registerProcessMetrics(registry);
  const outputLinesDropped = counter(
    'kubespiffe_output_lines_dropped_total',
    'Log and audit lines dropped because standard output was blocked.',
    ['stream'],
  );
  for (const stream of ['log', 'audit']) outputLinesDropped.inc({ stream }, 0);

  return {
    outputLinesDropped,
    issuance: counter('kubespiffe_issuance_total', 'Decisions on pod certificate requests.', [
      'outcome',
      'reason',
      'signer',
    ]),
    issuanceLatency: histogram(
      'kubespiffe_issuance_latency_seconds',
      'From first sight of a request to the confirmed write of its status.',
      latencyBuckets,
      ['outcome'],
    ),
    requestAgeAtFirstSight: histogram(
      'kubespiffe_request_age_at_first_sight_seconds',
      "How old a request was, by the API server's clock, when it was first seen.",
      ageBuckets,
    ),
    queueDepth: gauge('kubespiffe_queue_depth', 'Requests queued for a worker.'),
    oldestPending: gauge(
      'kubespiffe_oldest_pending_seconds',
      'Since the oldest open request was first seen.',
    ),
    pendingRequests: gauge('kubespiffe_pending_requests', 'Requests that have no terminal condition yet.'),
    watchRestarts: counter('kubespiffe_watch_restarts_total', 'Watches that had to be opened again.', [
      'resource',
      'cause',
    ]),
    authorityExpiry: gauge(
      'kubespiffe_authority_expiry_timestamp_seconds',
      'When an authority, or anything above it in its chain, ends.',
      ['authority', 'state'],
    ),
    apiRequests: counter('kubespiffe_api_requests_total', 'Requests to the API server.', [
      'verb',
      'resource',
      'code',
    ]),
    apiRequestSeconds: histogram(
      'kubespiffe_api_request_seconds',
      'Duration of requests to the API server, watches excluded.',
      latencyBuckets,
      ['verb', 'resource'],
    ),
    unreadableRequests: counter(
      'kubespiffe_unreadable_requests_total',
      'Alarm: requests that the API server could read and the signer could not.',
    ),
    statusRejected: counter(
      'kubespiffe_status_rejected_total',
      'Alarm: status writes that the API server found invalid.',
    ),
    takeovers: counter(
      'kubespiffe_takeovers_total',
      'Requests answered by a replica other than their owner.',
    ),
    answeredElsewhere: counter(
      'kubespiffe_answered_elsewhere_total',
      'Answers that came too late, because another replica had answered.',
    ),
    clockSkew: gauge('kubespiffe_clock_skew_seconds', "Own clock minus the API server's."),
    ready: gauge('kubespiffe_ready', '1 while every readiness check passes.'),
    admissionPolicyInForce: gauge(
      'kubespiffe_admission_policy_in_force',
      '1 while the admission policy lets nobody but nodes create requests.',
    ),
    canSign: gauge('kubespiffe_can_sign', '1 while certificates, or JWT-SVIDs, can be signed.', ['kind']),
    missingPermissions: gauge(
      'kubespiffe_missing_permissions',
      'Rights at the API server that the signer needs and does not have.',
    ),
    poolConfirmedAge: gauge(
      'kubespiffe_pool_confirmed_age_seconds',
      'Since the API server last confirmed the view of the pool.',
    ),
    rootsConfigMaps: gauge(
      'kubespiffe_roots_configmaps',
      'Namespaces that take the roots as a ConfigMap, by how it stands with them.',
      ['state'],
    ),
    tokens: counter('kubespiffe_tokens_total', 'Answers to requests for JWT-SVIDs.', ['outcome', 'reason']),
    tokenSeconds: histogram(
      'kubespiffe_token_seconds',
      'From a request for a JWT-SVID to its answer.',
      latencyBuckets,
      ['outcome'],
    ),
    x509Svids: counter('kubespiffe_x509_svids_total', 'Answers to requests for X509-SVIDs over HTTP.', [
      'outcome',
      'reason',
    ]),
    x509SvidSeconds: histogram(
      'kubespiffe_x509_svid_seconds',
      'From a request for an X509-SVID over HTTP to its answer.',
      latencyBuckets,
      ['outcome'],
    ),
    otherRefusals: counter(
      'kubespiffe_other_refusals_total',
      'Refused requests that were for no SVID, by the listener they came to.',
      ['listener', 'reason'],
    ),
    connectionsCut: counter(
      'kubespiffe_connections_cut_total',
      'Connections that were closed before a request, by listener and cause.',
      ['listener', 'cause'],
    ),
    tokenReviews: counter(
      'kubespiffe_token_reviews_total',
      "ServiceAccount tokens by how the API server's word on them was had.",
      ['result'],
    ),
    buildInfo,
    contentType: registry.contentType,
    beforeRender: (refresh) => void refreshers.push(refresh),
    render() {
      for (const refresh of refreshers) refresh();
      return registry.metrics();
    },
  };
}
