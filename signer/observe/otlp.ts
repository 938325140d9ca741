import { once } from 'node:events';
import { type Span as OtelSpan, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ExportResultCode, parseTraceParent } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  RandomIdGenerator,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Time } from '../kube/time.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { NewSpan, Span } from './span.ts';

/** Spans that wait to be exported; further ones are dropped. At most 2 MB or so. */
const maxWaiting = 2048;
const longestAttribute = 1024;
/** How long an export may take with all its retries, in milliseconds. */
const exportTimeoutMs = 5_000;

export interface TracesNeeds {
  /** OTLP over HTTP without the path, such as `http://collector:4318`. */
  readonly endpoint: string;
  /** Share of the traces that begin here, 0 to 1. A caller decides for the traces that it began. */
  readonly ratio: number;
  readonly version: string;
  readonly replica: string;
  readonly metrics: Pick<Metrics, 'spans'>;
  readonly log: Log<'info' | 'warn'>;
  readonly time: Time;
}

/**
 * Records spans with the SDK of OpenTelemetry, and exports them over OTLP to a collector. Loaded only where traces are
 * configured. Nothing ever waits for the collector: spans that it does not take in time are lost, and counted.
 */
export function createTraces(needs: TracesNeeds) {
  const { metrics, time } = needs;
  for (const outcome of ['recorded', 'exported']) metrics.spans.inc({ outcome }, 0);
  const random = new RandomIdGenerator();
  /** Taken by the SDK at once, when it starts the span. */
  let wantedTraceId: string | undefined;
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'kubespiffe-signer',
      'service.version': needs.version,
      'service.instance.id': needs.replica,
    }).merge(detectResources({ detectors: [envDetector] })),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(needs.ratio) }),
    spanLimits: { attributeValueLengthLimit: longestAttribute },
    idGenerator: {
      generateTraceId: () => wantedTraceId ?? random.generateTraceId(),
      generateSpanId: random.generateSpanId,
    },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: counted(
          new OTLPTraceExporter({
            url: `${needs.endpoint.replace(/\/$/, '')}/v1/traces`,
            timeoutMillis: exportTimeoutMs,
          }),
          needs,
        ),
        maxQueueSize: maxWaiting,
      }),
    ],
  });
  const tracer = provider.getTracer('kubespiffe', needs.version);

  /** @param atMs epoch milliseconds, with fractions. The same clock for all spans of a trace. */
  function spanOf(span: OtelSpan, atMs: () => number): Span {
    const parent = trace.setSpan(ROOT_CONTEXT, span);
    return {
      traceId: span.spanContext().traceId,
      child: (name) => spanOf(tracer.startSpan(name, { startTime: atMs() }, parent), atMs),
      set: (attributes) => void span.setAttributes(attributes),
      fail: (problem) =>
        void span.setStatus({ code: SpanStatusCode.ERROR, message: problem.slice(0, longestAttribute) }),
      end() {
        span.end(atMs());
        metrics.spans.inc({ outcome: 'recorded' });
      },
    };
  }

  return {
    startSpan({ name, kind, startedAt, attributes, traceId, traceparent }: NewSpan): Span | undefined {
      const offsetMs = time.now() - time.monotonic();
      const options = {
        kind: kind === 'server' ? SpanKind.SERVER : SpanKind.INTERNAL,
        startTime: offsetMs + startedAt,
        attributes,
      };
      const caller = traceparent === undefined ? null : parseTraceParent(traceparent);
      wantedTraceId = traceId;
      const span = tracer.startSpan(
        name,
        options,
        caller ? trace.setSpanContext(ROOT_CONTEXT, { ...caller, isRemote: true }) : ROOT_CONTEXT,
      );
      wantedTraceId = undefined;
      return span.isRecording() ? spanOf(span, () => offsetMs + time.monotonic()) : undefined;
    },
    /** Exports spans until the signal. */
    async run(signal: AbortSignal): Promise<void> {
      if (!signal.aborted) await once(signal, 'abort');
      // What cannot be exported now is lost, and counted.
      await provider.shutdown().catch(() => undefined);
    },
  };
}

export type Traces = ReturnType<typeof createTraces>;

/** Counts what the collector has taken, and logs when it begins or ends to fail. */
function counted(exporter: SpanExporter, { endpoint, metrics, log }: TracesNeeds): SpanExporter {
  let isFailing = false;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const isFailed = result.code !== ExportResultCode.SUCCESS;
        if (!isFailed) metrics.spans.inc({ outcome: 'exported' }, spans.length);
        if (isFailed && !isFailing)
          log.warn(
            { endpoint, error: result.error?.message },
            'the collector does not accept traces; certificates and tokens are still issued',
          );
        if (isFailing && !isFailed) log.info({ endpoint }, 'the collector accepts traces again');
        isFailing = isFailed;
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}
