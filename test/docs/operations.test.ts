import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { checks } from '../../tools/doctor/run.ts';
import { checkout, readPage, readPages } from './markdown.ts';

const source = (path: string) => readFile(join(checkout, path), 'utf8');

/** The cells of the rows of all tables in a text, without headings. */
function rowsOf(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'));
  const bodies = lines.filter(
    (line, at) => !/^\|[-|]+$/.test(line) && !/^\|[-|]+$/.test(lines[at + 1] ?? ''),
  );
  return bodies.map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What a cell names: each file of tests, and the titles after it. */
function testsIn(cell: string): { file: string; titles: string[] }[] {
  return cell
    .split(/(?=`test\/)/)
    .filter((part) => part.startsWith('`test/'))
    .map((part) => {
      const [, file = '', rest = ''] = /^`([^`]+)`(.*)$/.exec(part) ?? [];
      return { file, titles: [...rest.matchAll(/"([^"]+)"/g)].map(([, title = '']) => title) };
    });
}

test('each row of the table of disasters names a test that exists, or says that no test rehearses it', async () => {
  const { text } = await readPage('docs/operations/disasters.md');
  const rows = rowsOf(text);
  assert.ok(rows.length > 30);
  for (const row of rows) {
    const [what = '', , , rehearsed = ''] = row;
    assert.equal(row.length, 4, what);
    if (testsIn(rehearsed).length === 0) assert.match(rehearsed, /^nothing/, what);
  }
});

test('every title of a test that a page of operations quotes is in its file', async () => {
  const pages = (await readPages()).filter(({ path }) => path.startsWith('docs/operations/'));
  const named = pages.flatMap(({ text }) => rowsOf(text).flatMap((row) => testsIn(row.at(-1) ?? '')));
  assert.ok(named.length > 30);
  for (const { file, titles } of named) {
    const content = await source(file);
    for (const title of titles) assert.ok(content.includes(title), `${file}: ${title}`);
  }
});

test('the checklist has every check of doctor, and no other', async () => {
  const { text } = await readPage('docs/operations/checklist.md');
  const [, verified = ''] = text.split('\n## Verified by doctor\n');
  const [section = ''] = verified.split('\n## ');
  assert.deepEqual(
    rowsOf(section).map(([name]) => name),
    Object.keys(checks).map((name) => `\`${name}\``),
  );
});

test('every NetworkPolicy of the manifests has its row, with the port that it opens', async () => {
  const { text } = await readPage('docs/operations/network.md');
  const files = await Promise.all(
    (await readdir(join(checkout, 'manifests'))).map(async (folder) => ({
      policy: await source(`manifests/${folder}/network-policy.yaml`).catch(() => undefined),
      // The Deployment of the base, or the patch of a component.
      ports: await source(
        `manifests/${folder}/${folder === 'base' ? 'deployment' : 'kustomization'}.yaml`,
      ).catch(() => ''),
    })),
  );
  const policies = files.filter(({ policy }) => policy !== undefined);
  assert.ok(policies.length >= 4);
  for (const { policy = '', ports } of policies) {
    const { metadata, spec } = parse(policy);
    const [{ port }] = spec.ingress[0].ports;
    const [, number] = new RegExp(`name: ${port}\\s+containerPort: (\\d+)`).exec(ports) ?? [];
    const row = rowsOf(text).find(([, name = '']) => name.startsWith(`\`${metadata.name}\``));
    assert.ok(row?.[0]?.startsWith(`\`${port}\`, ${number} TCP`), `${metadata.name}: ${port}, ${number}`);
  }
});
