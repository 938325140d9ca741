import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { crdReference } from '../../scripts/crd-reference.ts';
import { authorityStates } from '../../signer/authority/states.ts';
import { federationOutcomes } from '../../signer/observe/federation-outcomes.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { outcomes } from '../../signer/observe/reasons.ts';
import { refusals } from '../../signer/observe/refusals.ts';
import { rotationOutcomes } from '../../signer/observe/rotation-outcomes.ts';
import { checksOf } from '../../signer/readiness.ts';
import type { ListenerName } from '../../signer/token/endpoints.ts';
import { anchorOf, checkout, readPage, readPages, titlesBelow } from './markdown.ts';

const source = (path: string) => readFile(join(checkout, path), 'utf8');

test('docs/reference/crds.md is what scripts/crd-reference.ts writes', async () => {
  assert.equal(
    await source('docs/reference/crds.md'),
    await crdReference(),
    'run: node scripts/crd-reference.ts',
  );
});

/** The members of a union of string literals, one a line, as the source has them. */
async function membersOf(path: string, type: string): Promise<string[]> {
  const declaration = (await source(path)).split(`export type ${type} =`)[1]?.split(';\n\n')[0] ?? '';
  return [...declaration.matchAll(/^\s*\| '(\w+)'/gm)].flatMap(([, name]) => name ?? []);
}

test('every outcome of a request has its heading, and every heading its outcome', async () => {
  const page = await readPage('docs/reference/outcomes.md');
  assert.deepEqual(titlesBelow(page, 'Of requests').sort(), Object.keys(outcomes).sort());
});

test('the page of outcomes has the verdict of each, and whether it is reported on the pod', async () => {
  const { text } = await readPage('docs/reference/outcomes.md');
  for (const [reason, outcome] of Object.entries(outcomes)) {
    const paragraph = text.split(`\n### ${reason}\n\n`)[1]?.split('\n\n')[0] ?? '';
    const verdict = paragraph.split(/[.,;]/)[0]?.toLowerCase();
    assert.equal(verdict, outcome.verdict, reason);
    assert.equal(/\balarm\b/.test(paragraph), outcome.alarm, `${reason}: alarm`);
    if (outcome.event) assert.match(paragraph, /^\w+, Event/, reason);
    else assert.doesNotMatch(paragraph, /^\w+,( alarm,)? Event/, reason);
  }
});

test('every outcome is in the diagram of the life of a request, with its verdict', async () => {
  const { text } = await readPage('docs/reference/lifecycle.md');
  for (const [reason, { verdict }] of Object.entries(outcomes)) {
    assert.ok(text.includes(`${verdict}: ${reason}`), `${verdict}: ${reason}`);
  }
  const shown = [...text.matchAll(/\b(?:issue|deny|wait|drop): (\w+)/g)].flatMap(
    ([, reason]) => reason ?? [],
  );
  assert.deepEqual(
    shown.filter((reason) => !(reason in outcomes)),
    [],
  );
});

test('every refusal of the token endpoint has its heading, with its status, error and alarm', async () => {
  const page = await readPage('docs/reference/token-endpoint.md');
  assert.deepEqual(titlesBelow(page, 'Refusals'), Object.keys(refusals));
  for (const [code, { status, error, alarm }] of Object.entries(refusals)) {
    const paragraph = page.text.split(`\n### ${code}\n\n`)[1]?.split('\n\n')[0] ?? '';
    assert.ok(paragraph.startsWith(`${status} \`${error}\`. `), code);
    assert.equal(paragraph.includes('. Alarm. '), alarm, code);
  }
});

test('every problem of the pool has its heading', async () => {
  const page = await readPage('docs/reference/outcomes.md');
  const headings = titlesBelow(page, 'Problems of the pool');
  const problems = await membersOf('signer/authority/problem.ts', 'PoolProblemReason');
  assert.ok(problems.length >= 8);
  // Named as the outcome that it leads to, and described there.
  const missing = problems.filter((problem) => !headings.includes(problem) && !(problem in outcomes));
  assert.deepEqual(missing, []);
  assert.deepEqual(
    headings.filter((heading) => !problems.includes(heading)),
    [],
  );
});

test('every outcome of federation has its heading, and the condition that it sets', async () => {
  const page = await readPage('docs/reference/outcomes.md');
  assert.deepEqual(titlesBelow(page, 'Of federation').sort(), Object.keys(federationOutcomes).sort());
  for (const [reason, { condition }] of Object.entries(federationOutcomes)) {
    const paragraph = page.text.split(`\n### ${reason}\n\n`)[1]?.split('\n\n')[0] ?? '';
    if (condition !== 'none') assert.ok(paragraph.includes(`\`${condition}\` is True`), reason);
  }
});

test('every outcome of a rotation has its heading', async () => {
  const page = await readPage('docs/reference/outcomes.md');
  assert.deepEqual(titlesBelow(page, 'Of rotation').sort(), Object.keys(rotationOutcomes).sort());
});

test('every readiness check and every error code has its heading', async () => {
  const page = await readPage('docs/reference/outcomes.md');
  // Checks of a configured listener, and of a replica that is shutting down.
  const occasional: Record<ListenerName | 'running', true> = {
    ...{ 'token-endpoint': true, 'bundle-web': true, 'bundle-spiffe': true },
    running: true,
  };
  const ofSigner = checksOf([{ name: 'spiffe' }]).map((check) => check.replace('spiffe/', ''));
  const checks = [...ofSigner, ...Object.keys(occasional)];
  assert.deepEqual(titlesBelow(page, 'Readiness checks').sort(), checks.sort());
  // Everything else that the wiring sets would be a line that no page explains.
  const wiring = await Promise.all(
    ['main', 'optional-parts', 'life'].map((name) => source(`signer/${name}.ts`)),
  );
  const set = [...wiring.join('').matchAll(/health\.set\('([\w-]+)'/g)].map(([, name]) => name ?? '');
  assert.ok(set.length > 0);
  assert.deepEqual(
    set.filter((name) => !checks.includes(name)),
    [],
  );
  assert.deepEqual(
    titlesBelow(page, 'Error codes').sort(),
    (await membersOf('spiffe/errors.ts', 'ErrorCode')).sort(),
  );
});

test('every metric has its row, with its type and its labels', async () => {
  const { text } = await readPage('docs/reference/metrics.md');
  const metrics = createMetrics();
  const rendered = await metrics.render();
  const types = [...rendered.matchAll(/^# TYPE (kubespiffe_\S+) (\S+)$/gm)];
  assert.ok(types.length > 10);
  const instruments = Object.values(metrics).filter(
    (each): each is { name: string; labelNames: string[] } =>
      typeof each === 'object' && 'labelNames' in each,
  );
  assert.deepEqual(instruments.map(({ name }) => name).sort(), types.map(([, name]) => name).sort());
  for (const [, name, type] of types) {
    const labels = instruments.find((each) => each.name === name)?.labelNames.join(', ');
    const row = `| \`${name}\` | ${type} | ${labels ? `${labels} ` : ''}|`;
    assert.ok(text.includes(row), row);
  }
  const named = new Set([...text.matchAll(/kubespiffe_\w+/g)].map(([name]) => name));
  const known = new Set(types.map(([, name]) => name));
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  );
});

test('the queries for the objectives use metrics, buckets and reasons that exist', async () => {
  const { text } = await readPage('docs/reference/objectives.md');
  const metrics = createMetrics();
  metrics.issuanceLatency.observe({ outcome: 'issue' }, 0);
  metrics.tokenSeconds.observe({ outcome: 'issue' }, 0);
  const rendered = await metrics.render();
  const buckets = [...text.matchAll(/(kubespiffe_\w+_bucket)\{(le="[\d.]+")\}/g)];
  assert.ok(buckets.length >= 2);
  for (const [query, name = '', bucket = ''] of buckets) {
    assert.ok(
      rendered.split('\n').some((line) => line.startsWith(`${name}{`) && line.includes(bucket)),
      query,
    );
  }
  for (const [name] of text.matchAll(/kubespiffe_\w+/g)) {
    assert.ok(rendered.includes(name.replace(/_(bucket|count)$/, '')), name);
  }
  const [, asked = ''] = /reason=~"([\w|]+)"/.exec(text) ?? [];
  const bugs = Object.entries(outcomes).filter(([, { owner }]) => owner === 'kubespiffe');
  assert.deepEqual(asked.split('|').sort(), bugs.map(([reason]) => reason).sort());
});

/** What a Prometheus rule is; see the reference of its configuration, Alerting rules. */
interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const alarmsIn = (table: Readonly<Record<string, { readonly alarm: boolean }>>) =>
  Object.keys(table).filter((reason) => table[reason]?.alarm);

test('the alerts are rules that Prometheus accepts, over metrics, labels and states that exist', async () => {
  const { spec } = parse(await source('manifests/monitoring/rules.yaml')) as {
    spec: { groups: { name: string; rules: AlertRule[] }[] };
  };
  const rules = spec.groups.flatMap((group) => group.rules);
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);

  const rendered = await createMetrics().render();
  const { text } = await readPage('docs/reference/metrics.md');
  const alarms = { ...outcomes, ...refusals };
  for (const { alert, expr, annotations, for: lasting, ...others } of rules) {
    assert.match(alert, /^Kubespiffe[A-Z]\w+$/);
    assert.deepEqual(others, {}, alert);
    assert.match(annotations.summary, /^\S.+\.$/, alert);
    assert.match(lasting ?? '1m', /^\d+[smh]$/, alert);
    const [selector = '', metric = '', condition = ''] = /(kubespiffe_\w+)(\{[^}]*\})?/.exec(expr) ?? [];
    assert.ok(rendered.includes(`# TYPE ${metric} `), `${alert}: ${metric}`);
    assert.ok(expr.indexOf('kubespiffe_', expr.indexOf(selector) + selector.length) < 0, alert);
    const row = text.split('\n').find((line) => line.startsWith(`| \`${metric}\` |`)) ?? '';
    const labels =
      row
        .split('|')[3]
        ?.split(',')
        .map((label) => label.trim()) ?? [];
    const shown = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].flatMap(([, label]) => label ?? []);
    for (const label of shown) assert.ok(['instance', ...labels].includes(label), `${alert}: ${label}`);
    for (const [, label = '', , values = ''] of condition.matchAll(/(\w+)(=~?)"([\w|]+)"/g)) {
      assert.ok(labels.includes(label), `${alert}: ${label}`);
      const known = label === 'reason' ? Object.keys(alarms) : row + authorityStates.join();
      assert.deepEqual(
        values.split('|').filter((value) => !known.includes(value)),
        [],
        alert,
      );
    }
  }
  const asked = (metric: string) =>
    rules
      .filter(({ expr }) => expr.startsWith(`increase(${metric}{`))
      .flatMap(({ expr }) => /reason=~"([\w|]+)"/.exec(expr)?.[1]?.split('|') ?? []);
  assert.deepEqual(asked('kubespiffe_issuance_total').sort(), alarmsIn(outcomes).sort());
  assert.deepEqual(asked('kubespiffe_tokens_total').sort(), alarmsIn(refusals).sort());
  assert.deepEqual(asked('kubespiffe_x509_svids_total').sort(), alarmsIn(refusals).sort());
});

test('every alert has its runbook, with what it means, what to look at, what to do, and what shows it', async () => {
  const page = await readPage('docs/operations/alerts.md');
  const { spec } = parse(await source('manifests/monitoring/rules.yaml')) as {
    spec: { groups: { rules: AlertRule[] }[] };
  };
  const rules = spec.groups.flatMap((group) => group.rules);
  const alerts = rules.map(({ alert }) => alert);
  assert.deepEqual(titlesBelow(page, 'The alerts'), alerts);
  for (const { alert, annotations } of rules) {
    assert.equal(annotations.runbook, `docs/operations/alerts.md#${anchorOf(alert)}`);
    const runbook = page.text.split(`\n### ${alert}\n\n`)[1]?.split('\n### ')[0] ?? '';
    const parts = [...runbook.matchAll(/^\*\*(.+?)\.\*\*/gm)].map(([, part]) => part);
    assert.deepEqual(parts, ['Means', 'Look at', 'Do', 'Shown by'], alert);
    const [, files = ''] = runbook.split('**Shown by.**');
    const shown = [...files.matchAll(/`(test\/[\w/.-]+\.test\.ts)`/g)].flatMap(([, file]) => file ?? []);
    assert.ok(shown.length > 0, alert);
    for (const file of shown) await assert.doesNotReject(access(join(checkout, file)), `${alert}: ${file}`);
  }
});

/** The rows of the table of folders: what stands between backticks in their first cells. */
async function placesInTheHouse(): Promise<string[]> {
  const { text } = await readPage('docs/development.md');
  const rows = text.split('\n## The house\n')[1]?.split('\n## ')[0] ?? '';
  return [...rows.matchAll(/^\| (`.+?`) \|/gm)].flatMap(([, places = '']) =>
    [...places.matchAll(/`([\w./-]+)`/g)].map(([, name = '']) => name.replace(/\/$/, '')),
  );
}

test('docs/development.md has a row for every folder with code and for every file of signer/ itself', async () => {
  const top = (await readdir(checkout, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && !/^\.|^node_modules$|^dist$/.test(entry.name))
    .map(({ name }) => name);
  const program = ['signer', 'spiffe', 'client', 'workload', 'dev', 'tools'];
  const files = await Promise.all(
    program.map((folder) => readdir(join(checkout, folder), { recursive: true })),
  );
  const withCode = files.flatMap((names, index) =>
    names.filter((name) => /\.tsx?$/.test(name)).map((name) => dirname(join(program[index] ?? '', name))),
  );
  const inSigner = (await readdir(join(checkout, 'signer'))).filter((name) => name.endsWith('.ts'));
  const expected = new Set([...top, ...withCode, ...inSigner.map((name) => `signer/${name}`)]);
  // Its files and folders have rows of their own.
  expected.delete('signer');
  assert.deepEqual((await placesInTheHouse()).sort(), [...expected].sort());
});

test('every dependency has its reason, where it belongs', async () => {
  const { text } = await readPage('docs/reference/dependencies.md');
  const manifest = JSON.parse(await source('package.json')) as Record<string, Record<string, string>>;
  const kinds = {
    'At run time': 'dependencies',
    'For development': 'devDependencies',
    Optional: 'optionalDependencies',
  };
  for (const [title, kind] of Object.entries(kinds)) {
    const section = text.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '';
    const rows = [...section.matchAll(/^\| `([^`]+)` \| \S.+\|$/gm)].flatMap(([, name]) => name ?? []);
    assert.deepEqual(rows.sort(), Object.keys(manifest[kind] ?? {}).sort(), title);
  }
});

test('every link within the repository has a target', async () => {
  const pages = await readPages();
  const byPath = new Map(pages.map((page) => [page.path, page]));
  for (const { path, text } of pages) {
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [file = '', anchor] = target.split('#', 2);
      const resolved = file === '' ? path : normalize(join(dirname(path), file));
      await assert.doesNotReject(access(join(checkout, resolved)), `${path}: ${target}`);
      if (anchor === undefined) continue;
      const anchors = byPath.get(resolved)?.headings.map(({ title }) => anchorOf(title)) ?? [];
      assert.ok(anchors.includes(anchor), `${path}: ${target}`);
    }
  }
});
