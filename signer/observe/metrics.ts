import type { Counter as CounterOf, Gauge as GaugeOf, Histogram as HistogramOf } from 'prom-client';
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Histogram from 'prom-client/lib/histogram.js';
import Registry from 'prom-client/lib/registry.js';
import { registerProcessMetrics } from './process-metrics.ts';

// From one fast status write (5 ms) past kubelet's first retry (0.4 s) to what only an outage explains.
const latencyBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1, 2.5, 5, 10, 30];
// A request is whole seconds old by its creationTimestamp; the cleaner removes it after 15 to 20 minutes.
const ageBuckets = [1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1200];

/** The metrics of one registry. A label's values come from fixed sets, never from a pod's or a user's names. */
function instruments(registry: Registry) {
  const define = <L extends string>(name: string, help: string, labelNames: readonly L[]) => ({
    name: `kubespiffe_${name}`,
    help,
    labelNames,
    registers: [registry],
  });
  const counter = <L extends string = never>(name: string, help: string, ...labels: L[]): CounterOf<L> =>
    new Counter(define(name, help, labels));
  const gauge = <L extends string = never>(name: string, help: string, ...labels: L[]): GaugeOf<L> =>
    new Gauge(define(name, help, labels));
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    buckets: number[],
    ...labels: L[]
  ): HistogramOf<L> => new Histogram({ ...define(name, help, labels), buckets });
  return {
    /** `reason` is a code of reasons.ts. */
    issuance: counter(
      'issuance_total',
      'Decisions on pod certificate requests.',
      'outcome',
      'reason',
      'signer',
    ),
    certificates: counter(
      'certificates_total',
      'Certificates for pods, by the authority that signed them.',
      'authority',
      'signer',
    ),
    issuanceLatency: histogram(
      'issuance_latency_seconds',
      'From first sight of a request to the confirmed write of its status.',
      latencyBuckets,
      'outcome',
      'signer',
    ),
    requestAgeAtFirstSight: histogram(
      'request_age_at_first_sight_seconds',
      "How old a request was, by the API server's clock, when it was first seen.",
      ageBuckets,
      'signer',
    ),
    queueDepth: gauge('queue_depth', 'Requests queued for a worker.', 'signer'),
    oldestPending: gauge('oldest_pending_seconds', 'Since the oldest open request was first seen.', 'signer'),
    pendingRequests: gauge('pending_requests', 'Requests that have no terminal condition yet.', 'signer'),
    /** `ready`: true, false, or unknown before its status was written. */
    registrations: gauge('registrations', 'Registrations that this signer uses.', 'resource', 'ready'),
    /** `cause`: closed, expired, error, silent, as the reflector names them. */
    watchRestarts: counter(
      'watch_restarts_total',
      'Watches that had to be opened again.',
      'resource',
      'cause',
    ),
    /** `state` is one of authority/states.ts. */
    authorityExpiry: gauge(
      'authority_expiry_timestamp_seconds',
      'When an authority, or anything above it in its chain, ends.',
      'authority',
      'state',
      'signer',
    ),
    /** `step`: a verb of `kubespiffe ca`, or blocked. */
    rotationStep: gauge(
      'rotation_step_timestamp_seconds',
      'When the next step of a rotation is due, or since when it is.',
      'kind',
      'step',
      'signer',
    ),
    rotationSteps: counter(
      'rotation_steps_total',
      'Steps of rotations that this replica took.',
      'kind',
      'step',
      'signer',
    ),
    /** `code`: the HTTP status, or `error` when there was no answer. */
    apiRequests: counter('api_requests_total', 'Requests to the API server.', 'verb', 'resource', 'code'),
    apiRequestSeconds: histogram(
      'api_request_seconds',
      'Duration of requests to the API server, watches excluded.',
      latencyBuckets,
      'verb',
      'resource',
    ),
    keySignSeconds: histogram(
      'key_sign_seconds',
      'Duration of signatures by keys outside of the pool, those that only probe a key among them.',
      latencyBuckets,
      'backend',
      'outcome',
    ),
    unreadableRequests: counter(
      'unreadable_requests_total',
      'Alarm: requests that the API server could read and the signer could not.',
      'signer',
    ),
    statusRejected: counter(
      'status_rejected_total',
      'Alarm: status writes that the API server found invalid.',
      'signer',
    ),
    takeovers: counter('takeovers_total', 'Requests answered by a replica other than their owner.', 'signer'),
    answeredElsewhere: counter(
      'answered_elsewhere_total',
      'Answers that came too late, because another replica had answered.',
      'signer',
    ),
    clockSkew: gauge('clock_skew_seconds', "Own clock minus the API server's."),
    ready: gauge('ready', '1 while every readiness check passes.'),
    /** `request_admission`: the setting, policy or external. */
    admissionPolicyInForce: gauge(
      'admission_policy_in_force',
      '1 while the admission policy lets only nodes create requests.',
      'request_admission',
    ),
    /** `kind`: x509, or jwt where the token endpoint is on. */
    canSign: gauge('can_sign', '1 while certificates, or JWT-SVIDs, can be signed.', 'kind', 'signer'),
    missingPermissions: gauge(
      'missing_permissions',
      'Rights at the API server that the signer needs and does not have.',
    ),
    poolConfirmedAge: gauge(
      'pool_confirmed_age_seconds',
      'Since the API server last confirmed the view of the pool.',
      'signer',
    ),
    /** `state` is one of configmap-publisher.ts. */
    rootsConfigMaps: gauge(
      'roots_configmaps',
      'Namespaces that want the roots as a ConfigMap, by state.',
      'state',
      'signer',
    ),
    /** `reason` is `Issued` or a code of the token endpoint's table of refusals. */
    tokens: counter('tokens_total', 'Answers to requests for JWT-SVIDs.', 'outcome', 'reason'),
    tokenSeconds: histogram(
      'token_seconds',
      'From a request for a JWT-SVID to its answer.',
      latencyBuckets,
      'outcome',
    ),
    x509Svids: counter(
      'x509_svids_total',
      'Answers to requests for X509-SVIDs over HTTP.',
      'outcome',
      'reason',
    ),
    x509SvidSeconds: histogram(
      'x509_svid_seconds',
      'From a request for an X509-SVID over HTTP to its answer.',
      latencyBuckets,
      'outcome',
    ),
    /** For documents, unknown paths, and what is no request. */
    otherRefusals: counter(
      'other_refusals_total',
      'Refused requests that were for no SVID, by the listener they came to.',
      'listener',
      'reason',
    ),
    /** `cause`: handshake; rate, address or full: over a limit. */
    connectionsCut: counter(
      'connections_cut_total',
      'Connections that were closed before a request, by listener and cause.',
      'listener',
      'cause',
    ),
    tokenReviews: counter(
      'token_reviews_total',
      'ServiceAccount tokens by the result of their TokenReview; cached: an earlier one counted.',
      'result',
    ),
    /** `peer`: a trust domain with a FederatedTrustDomain. `reason` is a code of federation-outcomes.ts. */
    federationAttempts: counter(
      'federation_attempts_total',
      'Attempts to get the bundle of another trust domain.',
      'peer',
      'reason',
    ),
    federationBundleAge: gauge(
      'federation_bundle_age_seconds',
      'Since the bundle of another trust domain was last confirmed, or its FederatedTrustDomain was created.',
      'peer',
      'resource',
    ),
    /** `use`: x509-svid or jwt-svid. */
    federationKeys: gauge('federation_keys', 'Keys held of another trust domain.', 'peer', 'resource', 'use'),
    /** `condition`: BundleInvalid or Unreachable. There is no series where it is False. */
    federationProblem: gauge(
      'federation_problem',
      'Whether a FederatedTrustDomain has a condition that says why its last attempt failed.',
      'peer',
      'resource',
      'condition',
    ),
    /** `outcome`: recorded, or exported. */
    spans: counter(
      'spans_total',
      'Spans of traces that were recorded, and those that the collector has taken.',
      'outcome',
    ),
    /** `stream`: log or audit. */
    outputLinesDropped: counter(
      'output_lines_dropped_total',
      'Log and audit lines dropped because standard output was blocked.',
      'stream',
    ),
    buildInfo: gauge('build_info', 'The running version, as labels; always 1.', 'version', 'node'),
  };
}

type Instruments = ReturnType<typeof instruments>;

export interface Metrics extends Readonly<Instruments> {
  /** Has gauges set that show a state rather than count events, whenever the metrics are rendered: nothing polls. */
  beforeRender(refresh: () => void): void;
  /** The content type of `render`. */
  readonly contentType: string;
  /** All metrics in the Prometheus text format. */
  render(): Promise<string>;
}

/** Makes the metrics in a registry of their own, so that several signers fit into one process (tests). */
export function createMetrics(build: { version: string } = { version: 'unknown' }): Metrics {
  const registry = new Registry();
  const metrics = instruments(registry);
  registerProcessMetrics(registry);
  metrics.buildInfo.set({ version: build.version, node: process.versions.node }, 1);
  for (const stream of ['log', 'audit']) metrics.outputLinesDropped.inc({ stream }, 0);
  const refreshers: (() => void)[] = [];
  return {
    ...metrics,
    contentType: registry.contentType,
    beforeRender: (refresh) => void refreshers.push(refresh),
    render() {
      for (const refresh of refreshers) refresh();
      return registry.metrics();
    },
  };
}
