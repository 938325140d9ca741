import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { helpText, referenceText } from '../../signer/config/help.ts';
import { createTable, table } from '../../signer/config/table.ts';

test('help names every flag, and no line is wider than a terminal', () => {
  const lines = helpText(table).split('\n');
  const named = new Set(lines.flatMap((line) => line.match(/^ {2}--.+/)?.[0].match(/--[-a-z0-9]+/g) ?? []));
  assert.deepEqual(
    [...table.byFlag.keys()].filter((flag) => !named.has(flag)),
    [],
  );
  for (const line of lines) assert.ok(line.length <= 80, line);
});

test('docs/reference/configuration.md is what scripts/configuration-reference.ts writes', async () => {
  const path = new URL('../../docs/reference/configuration.md', import.meta.url);
  assert.equal(
    await readFile(path, 'utf8'),
    referenceText(table),
    'run: node scripts/configuration-reference.ts',
  );
});

test('the configuration reference has one heading for a setting and a row for each signer that has it', () => {
  const two = createTable({
    spiffe: { settings: ['maxLifetime'] },
    'service-dns': { settings: ['maxLifetime'], different: { maxLifetime: { default: '12h' } } },
  });
  const [, section = ''] = referenceText(two).split('\n### maxLifetime\n');
  assert.match(section, /^\| `--spiffe-max-lifetime`, `--max-lifetime` \|.*\| `24h` \|$/m);
  assert.match(
    section,
    /^\| `--service-dns-max-lifetime` \| `KUBESPIFFE_SERVICE_DNS_MAX_LIFETIME` \|.*\| `12h` \|$/m,
  );
});

test('the default of every setting is a valid value', () => {
  for (const { key, setting } of table.entries) {
    const { type, default: text } = setting;
    if (text !== undefined) assert.equal(type.parse(text).ok, true, key);
  }
});

test('a setting has three names, one of a signer three with it and, for spiffe, three without', () => {
  const namesAt = (path: string) => table.byPath.get(path)?.entry.names;
  const shared = { path: 'logLevel', flag: '--log-level', variable: 'KUBESPIFFE_LOG_LEVEL' };
  assert.deepEqual(namesAt('logLevel'), [shared]);
  assert.deepEqual(namesAt('maxLifetime'), [
    {
      path: 'signers.spiffe.maxLifetime',
      flag: '--spiffe-max-lifetime',
      variable: 'KUBESPIFFE_SPIFFE_MAX_LIFETIME',
    },
    { path: 'maxLifetime', flag: '--max-lifetime', variable: 'KUBESPIFFE_MAX_LIFETIME' },
  ]);
});

test('no name means two settings', () => {
  const names = table.entries.flatMap((entry) => entry.names);
  for (const map of [table.byFlag, table.byVariable, table.byPath]) assert.equal(map.size, names.length);
});
