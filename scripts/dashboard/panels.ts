// What the dashboard shows. Each legend and query is checked against the metrics that the signer has.

export interface Panel {
  readonly title: string;
  /** A unit of Grafana. */
  readonly unit: string;
  /** What the title leaves open. */
  readonly about?: string;
  /** Queries by their legends. */
  readonly queries: Readonly<Record<string, string>>;
  /** One number for each query now, instead of a graph. */
  readonly now?: true;
}

const rate = (series: string) => `rate(${series}[$__rate_interval])`;
const quantile = (share: number, metric: string, by: string, labels = '') =>
  `histogram_quantile(${share}, sum by (le, ${by}) (${rate(`${metric}_bucket${labels}`)}))`;
/** Our processes among all that Prometheus scrapes. */
const ours = (query: string) => `${query} and on (job, instance) kubespiffe_build_info`;
const signer = 'signer=~"$signer"';

/** Every replica follows all requests, so a state of the cluster is the greatest that one of them reports. */
export const rows: Readonly<Record<string, readonly Panel[]>> = {
  Now: [
    {
      title: 'Replicas ready',
      unit: 'short',
      queries: { ready: 'sum(kubespiffe_ready)', running: 'count(kubespiffe_ready)' },
      now: true,
    },
    {
      title: 'Replicas that can sign',
      unit: 'short',
      queries: { '{{kind}} {{signer}}': `sum by (kind, signer) (kubespiffe_can_sign{${signer}})` },
      now: true,
    },
    {
      title: 'Requests without an answer',
      unit: 'short',
      queries: { '{{signer}}': `max by (signer) (kubespiffe_pending_requests{${signer}})` },
      now: true,
    },
    {
      title: 'Until a CA ends',
      unit: 's',
      queries: {
        '{{signer}} {{authority}} ({{state}})': `min by (signer, authority, state) (kubespiffe_authority_expiry_timestamp_seconds{${signer}}) - time()`,
      },
      now: true,
    },
  ],
  Certificates: [
    {
      title: 'Certificates issued',
      unit: 'ops',
      queries: {
        '{{signer}} by {{authority}}': `sum by (signer, authority) (${rate(`kubespiffe_certificates_total{${signer}}`)})`,
      },
    },
    {
      title: 'Decisions other than to issue',
      unit: 'ops',
      about: 'docs/reference/outcomes.md explains each reason.',
      queries: {
        '{{outcome}}: {{reason}}': `sum by (outcome, reason) (${rate(`kubespiffe_issuance_total{outcome!="issue", ${signer}}`)})`,
      },
    },
    {
      title: 'Time to issue',
      unit: 's',
      about: 'From first sight of a request to the confirmed write.',
      queries: {
        'p50 {{signer}}': quantile(
          0.5,
          'kubespiffe_issuance_latency_seconds',
          'signer',
          `{outcome="issue", ${signer}}`,
        ),
        'p99 {{signer}}': quantile(
          0.99,
          'kubespiffe_issuance_latency_seconds',
          'signer',
          `{outcome="issue", ${signer}}`,
        ),
      },
    },
    {
      title: 'Answered within 0.4 s',
      unit: 'percentunit',
      about: 'An objective: docs/reference/objectives.md.',
      queries: {
        '{{signer}}': `sum by (signer) (${rate(`kubespiffe_issuance_latency_seconds_bucket{le="0.4", ${signer}}`)}) / sum by (signer) (${rate(`kubespiffe_issuance_latency_seconds_count{${signer}}`)})`,
      },
    },
    {
      title: 'Oldest request without an answer',
      unit: 's',
      queries: { '{{signer}}': `max by (signer) (kubespiffe_oldest_pending_seconds{${signer}})` },
    },
    {
      title: 'Queue, and answers by another replica',
      unit: 'short',
      queries: {
        'queued {{signer}}': `sum by (signer) (kubespiffe_queue_depth{${signer}})`,
        'takeovers {{signer}}': `sum by (signer) (increase(kubespiffe_takeovers_total{${signer}}[$__rate_interval]))`,
        'answered elsewhere {{signer}}': `sum by (signer) (increase(kubespiffe_answered_elsewhere_total{${signer}}[$__rate_interval]))`,
      },
    },
    {
      title: 'Age of requests at first sight, p99',
      unit: 's',
      about: 'High after a time without a running replica.',
      queries: {
        '{{signer}}': quantile(
          0.99,
          'kubespiffe_request_age_at_first_sight_seconds',
          'signer',
          `{${signer}}`,
        ),
      },
    },
    {
      title: 'Registrations',
      unit: 'short',
      queries: { '{{resource}} ready={{ready}}': 'max by (resource, ready) (kubespiffe_registrations)' },
    },
  ],
  'CAs and roots': [
    {
      title: 'Until the next step of a rotation',
      unit: 's',
      about: 'Negative while a step is due. blocked: it needs a person.',
      queries: {
        '{{signer}} {{kind}}: {{step}}': `min by (signer, kind, step) (kubespiffe_rotation_step_timestamp_seconds{${signer}}) - time()`,
      },
    },
    {
      title: 'Steps of rotations taken in a day',
      unit: 'short',
      queries: {
        '{{signer}} {{kind}}: {{step}}': `sum by (signer, kind, step) (increase(kubespiffe_rotation_steps_total{${signer}}[1d]))`,
      },
    },
    {
      title: 'Age of the confirmed pool',
      unit: 's',
      about: 'Above 30 s nothing is signed.',
      queries: {
        '{{instance}} {{signer}}': `max by (instance, signer) (kubespiffe_pool_confirmed_age_seconds{${signer}})`,
      },
    },
    {
      title: 'Signatures by keys outside of the pool, p99',
      unit: 's',
      queries: {
        '{{backend}} {{outcome}}': quantile(0.99, 'kubespiffe_key_sign_seconds', 'backend, outcome'),
      },
    },
    {
      title: 'Namespaces with the roots as a ConfigMap',
      unit: 'short',
      queries: {
        '{{signer}} {{state}}': `max by (signer, state) (kubespiffe_roots_configmaps{${signer}})`,
      },
    },
  ],
  'Token endpoint': [
    {
      title: 'JWT-SVIDs',
      unit: 'ops',
      queries: { '{{outcome}}': `sum by (outcome) (${rate('kubespiffe_tokens_total')})` },
    },
    {
      title: 'X509-SVIDs over HTTP',
      unit: 'ops',
      queries: { '{{outcome}}': `sum by (outcome) (${rate('kubespiffe_x509_svids_total')})` },
    },
    {
      title: 'Time to answer, p99',
      unit: 's',
      queries: {
        'JWT-SVID {{outcome}}': quantile(0.99, 'kubespiffe_token_seconds', 'outcome'),
        'X509-SVID {{outcome}}': quantile(0.99, 'kubespiffe_x509_svid_seconds', 'outcome'),
      },
    },
    {
      title: 'Refusals',
      unit: 'ops',
      about: 'docs/reference/token-endpoint.md explains each reason.',
      queries: {
        'JWT-SVID: {{reason}}': `sum by (reason) (${rate('kubespiffe_tokens_total{outcome!="issue"}')})`,
        'X509-SVID: {{reason}}': `sum by (reason) (${rate('kubespiffe_x509_svids_total{outcome!="issue"}')})`,
        '{{listener}}: {{reason}}': `sum by (listener, reason) (${rate('kubespiffe_other_refusals_total')})`,
      },
    },
    {
      title: 'Connections closed before a request',
      unit: 'ops',
      queries: {
        '{{listener}}: {{cause}}': `sum by (listener, cause) (${rate('kubespiffe_connections_cut_total')})`,
      },
    },
    {
      title: 'ServiceAccount tokens by how they were verified',
      unit: 'ops',
      queries: { '{{result}}': `sum by (result) (${rate('kubespiffe_token_reviews_total')})` },
    },
  ],
  Federation: [
    {
      title: 'Since the bundle of a peer was confirmed',
      unit: 's',
      queries: {
        '{{peer}} {{resource}}': 'min by (peer, resource) (kubespiffe_federation_bundle_age_seconds)',
      },
    },
    {
      title: 'Keys held of peers',
      unit: 'short',
      queries: {
        '{{peer}} {{resource}} {{use}}': 'max by (peer, resource, use) (kubespiffe_federation_keys)',
      },
    },
    {
      title: 'Peers whose bundle is refused, or cannot be fetched',
      unit: 'short',
      queries: {
        '{{peer}} {{resource}} {{condition}}':
          'max by (peer, resource, condition) (kubespiffe_federation_problem)',
      },
    },
    {
      title: 'Attempts to get bundles',
      unit: 'ops',
      queries: { '{{reason}}': `sum by (reason) (${rate('kubespiffe_federation_attempts_total')})` },
    },
  ],
  'API server and process': [
    {
      title: 'Requests to the API server',
      unit: 'reqps',
      queries: {
        '{{verb}} {{resource}} {{code}}': `sum by (verb, resource, code) (${rate('kubespiffe_api_requests_total')})`,
      },
    },
    {
      title: 'Duration of requests to the API server, p99',
      unit: 's',
      queries: {
        '{{verb}} {{resource}}': quantile(0.99, 'kubespiffe_api_request_seconds', 'verb, resource'),
      },
    },
    {
      title: 'Watches opened again, except by the server',
      unit: 'ops',
      queries: {
        '{{resource}} {{cause}}': `sum by (resource, cause) (${rate('kubespiffe_watch_restarts_total{cause!="closed"}')})`,
      },
    },
    {
      title: 'Clock minus that of the API server',
      unit: 's',
      queries: { '{{instance}}': 'kubespiffe_clock_skew_seconds' },
    },
    {
      title: 'CPU',
      unit: 'short',
      about: 'Cores in use.',
      queries: { '{{instance}}': ours(rate('process_cpu_seconds_total')) },
    },
    {
      title: 'Resident memory',
      unit: 'bytes',
      queries: { '{{instance}}': ours('process_resident_memory_bytes') },
    },
    {
      title: 'Event loop in use',
      unit: 'percentunit',
      queries: { '{{instance}}': ours('nodejs_eventloop_utilization_ratio') },
    },
    {
      title: 'Log and audit lines dropped',
      unit: 'short',
      queries: {
        '{{instance}} {{stream}}': 'increase(kubespiffe_output_lines_dropped_total[$__rate_interval])',
      },
    },
    {
      title: 'Spans recorded and exported',
      unit: 'ops',
      about: 'Only with tracesEndpoint. What is recorded and not exported is lost.',
      queries: { '{{outcome}}': `sum by (outcome) (${rate('kubespiffe_spans_total')})` },
    },
  ],
};
