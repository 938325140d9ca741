import { createByteBuffer } from '../../client/byte-buffer.ts';
import type { JsonReader } from '../../signer/kube/json-reader.ts';
import type { Transport } from '../../signer/kube/transport.ts';

/** One series of a metric. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The series of the metrics that the checks read, by the name of the metric. */
export type MetricLines = (name: MetricName) => readonly Series[];

/** What the metrics of an API server show of its configuration. */
const names = [
  'kubernetes_feature_enabled',
  'apiserver_admission_controller_admission_duration_seconds_count',
  'apiserver_storage_transformation_operations_total',
  'apiserver_encryption_config_controller_last_config_info',
] as const;
type MetricName = (typeof names)[number];

/** Reads the metrics of the API server that answers. Only a few lines of some megabytes are kept. */
export async function readMetrics(api: Transport): Promise<MetricLines> {
  const { body } = await api.request<string>({
    ...{ method: 'GET', path: '/metrics', accept: 'text/plain', resource: 'metrics', timeoutMs: 30_000 },
    reader: textReader,
  });
  const lines = body.split('\n').filter((line) => names.some((name) => line.startsWith(`${name}{`)));
  const series = lines.map(readSeries);
  return (name) => series.flatMap((each) => (each.name === name ? [each] : []));
}

/** `name{label="value",…} 1`. Labels of these metrics have no escaped characters but the backslash and the quote. */
function readSeries(line: string): Series & { readonly name: string } {
  const [, name = '', labels = '', value = ''] = /^(\w+)\{(.*)\} (\S+)/.exec(line) ?? [];
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return {
    name,
    labels: Object.fromEntries(
      pairs.map(([, label = '', text = '']) => [label, text.replace(/\\(.)/g, '$1')]),
    ),
    value: Number(value),
  };
}

function textReader(): JsonReader {
  const bytes = createByteBuffer();
  return { push: (chunk) => bytes.append(chunk), end: () => bytes.text() };
}
