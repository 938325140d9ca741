import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import { rows } from '../../scripts/dashboard/panels.ts';
import { dashboard, dashboardManifest } from '../../scripts/dashboard.ts';
import { createMetrics, type Metrics } from '../../signer/observe/metrics.ts';
import { runCommand } from '../cluster/command.ts';
import { checkout } from '../docs/markdown.ts';
import { alertRows, inOrder, type Minute } from './alert-rows.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const manifest = (name: string) => readFile(join(checkout, 'manifests/monitoring', name), 'utf8');
const { spec } = parse(await manifest('rules.yaml')) as { spec: { groups: { rules: Rule[] }[] } };
const rules = spec.groups.flatMap((group) => group.rules);
const panels = Object.values(rows).flat();
/** As Grafana fills them in, with the shortest interval that it takes for scrapes a minute apart. */
const queriesOf = (queries: Readonly<Record<string, string>>) =>
  Object.values(queries).map((query) =>
    query.replaceAll('$__rate_interval', '4m').replaceAll('$signer', '.*'),
  );

/** What Prometheus adds to the series of a replica. */
const target = {
  instance: '10.244.1.17:9402',
  job: 'kubespiffe-signer-metrics',
  namespace: 'kubespiffe',
  pod: 'kubespiffe-signer-6c9d7b5f4-x2x9k',
};

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'monitoring-'));
  await writeFile(join(folder, 'rules.json'), JSON.stringify(spec));
});
after(() => rm(folder, { recursive: true }));

/** Runs tests of rules and queries, each with its series a minute apart. */
async function promtool(tests: readonly object[]): Promise<void> {
  assert.ok(tests.length > 0);
  const file = join(folder, `${crypto.randomUUID()}.json`);
  await writeFile(file, JSON.stringify({ rule_files: ['rules.json'], evaluation_interval: '1m', tests }));
  await runCommand('promtool', 'test', 'rules', file);
}

/** The series that Prometheus has of a replica to which this happened in each minute. `gone`: it was not there. */
async function record(minutes: readonly (Minute | 'gone')[]): Promise<{ series: string; values: string }[]> {
  const metrics = createMetrics({ version: '0.1.0' });
  const targetLabels = Object.entries(target).map(([label, value]) => `${label}="${value}"`);
  const values = new Map<string, string[]>();
  for (const [index, minute] of minutes.entries()) {
    if (minute === 'gone') continue;
    minute(metrics);
    for (const line of (await metrics.render()).split('\n')) {
      const [, name, labels, value = ''] = /^([a-z]\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (!name) continue;
      const series = `${name}{${[...targetLabels, ...(labels ? [labels] : [])].join(',')}}`;
      if (!values.has(series)) values.set(series, Array(minutes.length).fill('_'));
      values.get(series)?.splice(index, 1, value);
    }
  }
  return [...values].map(([series, each]) => ({ series, values: each.join(' ') }));
}

const repeated = <T>(times: number, value: T): T[] => Array(times).fill(value);
const minutesOf = (duration = '0m') => Number(/^(\d+)m$/.exec(duration)?.[1]);

test('promtool accepts the rules', async () => {
  await runCommand('promtool', 'check', 'rules', '--lint-fatal', join(folder, 'rules.json'));
});

test('every alert has a test', () => {
  assert.deepEqual(
    Object.keys(alertRows),
    rules.map(({ alert }) => alert),
  );
});

test('no alert is raised while everything is in order', async () => {
  const input_series = await record(repeated(60, inOrder));
  const alert_rule_test = rules.map(({ alert }) => ({ eval_time: '59m', alertname: alert, exp_alerts: [] }));
  await promtool([{ interval: '1m', input_series, alert_rule_test }]);
});

test('a missing admission policy raises no alert if another policy guards the requests', async () => {
  const input_series = await record(
    repeated(30, (metrics) => {
      metrics.admissionPolicyInForce.set({ request_admission: 'external' }, 0);
    }),
  );
  const alertname = 'KubespiffeAdmissionPolicyMissing';
  await promtool([
    { interval: '1m', input_series, alert_rule_test: [{ eval_time: '29m', alertname, exp_alerts: [] }] },
  ]);
});

for (const { alert, for: lasting, annotations } of rules) {
  test(`${alert} is raised by its problem, not before its time, and no other alert with it`, async () => {
    const { problem, labels = {} } = alertRows[alert] ?? assert.fail();
    const minute: Minute | 'gone' =
      problem === 'gone'
        ? problem
        : (metrics) => {
            inOrder(metrics);
            problem(metrics);
          };
    const input_series = await record([...repeated(10, inOrder), ...repeated(30, minute)]);
    const exp_labels = problem === 'gone' ? {} : { ...target, ...labels };
    const exp_annotations = {
      ...annotations,
      summary: annotations.summary.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) =>
        label in exp_labels ? String(Object(exp_labels)[label]) : assert.fail(label),
      ),
    };
    const none = (eval_time: string) => ({ eval_time, alertname: alert, exp_alerts: [] });
    const alert_rule_test = [
      none('9m'),
      ...(lasting ? [none(`${9 + minutesOf(lasting)}m`)] : []),
      ...rules.map((each) => ({
        eval_time: '39m',
        alertname: each.alert,
        exp_alerts: each.alert === alert ? [{ exp_labels, exp_annotations }] : [],
      })),
    ];
    await promtool([{ interval: '1m', input_series, alert_rule_test }]);
  });
}

/** Values of labels that queries ask for, or that all series of a kind may have. */
const examples: Readonly<Record<string, readonly string[]>> = {
  outcome: ['issue', 'deny'],
  cause: ['closed', 'error'],
};

/** The signer's own metrics, without those of the process. */
const instrumentsOf = (metrics: Metrics) =>
  Object.values(metrics).filter(
    (each): each is Metrics['tokens'] & { name: string; labelNames: string[] } =>
      typeof each === 'object' && 'labelNames' in each,
  );

/** Every metric has a series, and every counter counts. */
const everything: Minute = (metrics) => {
  for (const index of [0, 1]) {
    for (const instrument of instrumentsOf(metrics)) {
      const labels = Object.fromEntries(
        instrument.labelNames.map((label) => [label, examples[label]?.[index] ?? 'example']),
      ) as never;
      if ('observe' in instrument) (instrument as unknown as Metrics['tokenSeconds']).observe(labels, 0.02);
      else instrument.inc(labels);
    }
  }
};

test('every query of the dashboard finds the series of a signer', async () => {
  const input_series = await record(repeated(10, everything));
  const promql_expr_test = panels.flatMap(({ queries }) =>
    queriesOf(queries).map((query) => ({
      expr: `count(${query}) > bool 0`,
      eval_time: '9m',
      exp_samples: [{ labels: '{}', value: 1 }],
    })),
  );
  await promtool([{ interval: '1m', input_series, promql_expr_test }]);
});

test('alerts and panels name metrics and labels that the signer has', async () => {
  const metrics = createMetrics();
  const known = new Map<string, readonly string[]>();
  for (const [, name = '', type] of (await metrics.render()).matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const labels = instrumentsOf(metrics).find((each) => each.name === name)?.labelNames ?? [];
    known.set(name, [...labels, ...Object.keys(target)]);
    if (type !== 'histogram') continue;
    known.set(`${name}_bucket`, [...labels, ...Object.keys(target), 'le']);
    known.set(`${name}_count`, [...labels, ...Object.keys(target)]);
  }
  const asked = [
    ...rules.map(({ alert, expr, annotations }) => ({
      place: alert,
      query: expr,
      shown: [...annotations.summary.matchAll(/\$labels\.(\w+)/g)],
    })),
    ...panels.flatMap(({ title, queries }) =>
      Object.entries(queries).map(([legend, query]) => ({
        place: title,
        query,
        shown: [...legend.matchAll(/\{\{(\w+)\}\}/g)],
      })),
    ),
  ];
  for (const { place, query, shown } of asked) {
    const series = [...query.matchAll(/\b((?:kubespiffe|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)];
    assert.ok(series.length > 0, place);
    const grouped = [...query.matchAll(/\b(?:by|on) \(([\w, ]+)\)/g)].flatMap(
      ([, list]) => list?.split(', ') ?? [],
    );
    for (const [, name = '', matchers = ''] of series) {
      const labels = known.get(name) ?? assert.fail(`${place}: there is no ${name}`);
      const matched = [...matchers.matchAll(/(\w+)(?:=~?|!=)"/g)].flatMap(([, label]) => label ?? []);
      for (const label of [...matched, ...grouped])
        assert.ok(labels.includes(label), `${place}: ${name} has no label ${label}`);
      // A sum has only the labels that it is grouped by.
      const left = grouped.length > 0 && !/ on \(/.test(query) ? grouped : labels;
      for (const [, label = ''] of shown)
        assert.ok(left.includes(label), `${place}: ${name} shows no ${label}`);
    }
  }
});

test('every metric is in a panel or an alert', () => {
  const shown = [
    ...panels.flatMap(({ queries }) => Object.values(queries)),
    ...rules.map(({ expr }) => expr),
  ];
  const missing = instrumentsOf(createMetrics())
    .map(({ name }) => name)
    .filter((name) => !shown.some((query) => query.includes(name)));
  // These count reasons that kubespiffe_issuance_total has too.
  assert.deepEqual(missing, ['kubespiffe_unreadable_requests_total', 'kubespiffe_status_rejected_total']);
});

test('the dashboard is what scripts/dashboard.ts writes, as a ConfigMap that holds it whole', async () => {
  const text = await manifest('dashboard.yaml');
  assert.equal(text, dashboardManifest(), 'run: node scripts/dashboard.ts');
  const { data } = parse(text) as { data: Record<string, string> };
  assert.deepEqual(JSON.parse(data['kubespiffe.json'] ?? ''), dashboard());
});
