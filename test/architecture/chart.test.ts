import assert from 'node:assert/strict';
import { readdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { chartSchema, componentValue, readComponents } from '../../scripts/chart-schema.ts';

const manifests = join(import.meta.dirname, '../../manifests');
const chartFolder = join(manifests, 'chart');

const folders = (await readComponents()).map(({ folder }) => folder);

test('the schema of the chart has every setting and every component', async () => {
  assert.equal(
    await readFile(join(chartFolder, 'values.schema.json'), 'utf8'),
    await chartSchema(),
    'run: node scripts/chart-schema.ts',
  );
});

test('values.yaml lists every component, and each is off', async () => {
  const { components } = parse(await readFile(join(chartFolder, 'values.yaml'), 'utf8'));
  const wanted = folders.map((name) => [componentValue(name), false]);
  assert.deepEqual(Object.entries(components).toSorted(), wanted.toSorted(), 'add it to values.yaml');
});

test('the chart links to base, to the CRDs and to every component', async () => {
  const links = await readdir(join(chartFolder, 'files'));
  assert.deepEqual(
    links.toSorted(),
    ['base', 'crds', ...folders].toSorted(),
    'add a link: ln -s ../../NAME manifests/chart/files/',
  );
  for (const name of links)
    assert.equal(await realpath(join(chartFolder, 'files', name)), await realpath(join(manifests, name)));
});
