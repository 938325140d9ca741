import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { goBinary } from './go-binary.ts';
import { freePorts } from './ports.ts';
import { startChild, waitFor } from './process.ts';
import { makeStateFolder, removeStateFolder } from './state-folder.ts';

/** A span as the collector got it. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server. */
  readonly kind: number;
  /** Nanoseconds since the epoch. */
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Code 2 is an error. */
  readonly status: { readonly code?: number; readonly message?: string };
  readonly resource: Readonly<Record<string, string>>;
}

type Wire = readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];

/** OpenTelemetry's collector on this machine, which writes the spans that it gets to a file. */
export interface Collector {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Everything that it got, as it wrote it. */
  output(): Promise<string>;
  spans(): Promise<CollectedSpan[]>;
  remove(): Promise<void>;
}

/** The collector, built from its Go modules. */
export function collectorBinary(): Promise<string> {
  const folder = join(import.meta.dirname, 'collector');
  return goBinary({ name: 'collector', folder, title: "OpenTelemetry's collector" });
}

export async function startCollector(): Promise<Collector> {
  const binary = await collectorBinary();
  const folder = await makeStateFolder();
  const [port = 0] = await freePorts(1);
  const file = join(folder, 'traces.json');
  const config = join(folder, 'config.yaml');
  await writeFile(
    config,
    JSON.stringify({
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { file: { path: file, append: true, flush_interval: '100ms' } },
      service: {
        telemetry: { metrics: { level: 'none' } },
        pipelines: { traces: { receivers: ['otlp'], exporters: ['file'] } },
      },
    }),
  );
  let child: ReturnType<typeof startChild>;
  const output = () => readFile(file, 'utf8').catch(() => '');

  async function start(): Promise<void> {
    child = startChild('collector', [binary, '--config', `file:${config}`], {
      logFile: join(folder, 'collector.log'),
    });
    await waitFor('the collector to listen', () => isListening(port), { needs: [child] });
  }

  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    start,
    stop: () => child.stop(),
    output,
    spans: async () => spansIn(await output()),
    async remove() {
      await child.stop();
      await removeStateFolder(folder);
    },
  };
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Reads spans from lines with one OTLP request each, in JSON. The last line may be incomplete. */
function spansIn(text: string): CollectedSpan[] {
  const lines = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean);
  return lines.flatMap((line) =>
    JSON.parse(line).resourceSpans.flatMap(
      (from: {
        resource: { attributes: Wire };
        scopeSpans: { spans: (Omit<CollectedSpan, 'attributes'> & { attributes?: Wire })[] }[];
      }) =>
        from.scopeSpans.flatMap(({ spans }) =>
          spans.map((span) => ({
            ...span,
            parentSpanId: span.parentSpanId ?? '',
            attributes: textOf(span.attributes),
            resource: textOf(from.resource.attributes),
          })),
        ),
    ),
  );
}

function textOf(attributes: Wire = []): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? '']));
}
