import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { helpText, referenceText } from '../../signer/config/help.ts';
import type { Setting } from '../../signer/config/setting.ts';
import { flagOf, settingKeys, settings, variableOf } from '../../signer/config/settings.ts';

test('help names every flag, and no line is wider than a terminal', () => {
  const lines = helpText().split('\n');
  for (const key of settingKeys)
    assert.ok(
      lines.some((line) => line.startsWith(`  ${flagOf(key)} `)),
      key,
    );
  for (const line of lines) assert.ok(line.length <= 80, line);
});

test('docs/reference/configuration.md is what scripts/configuration-reference.ts writes', async () => {
  const path = new URL('../../docs/reference/configuration.md', import.meta.url);
  assert.equal(await readFile(path, 'utf8'), referenceText(), 'run: node scripts/configuration-reference.ts');
});

test('the default of every setting is a value that the setting takes', () => {
  for (const key of settingKeys) {
    const { type, default: text }: Setting<unknown> = settings[key];
    if (text !== undefined) assert.equal(type.parse(text).ok, true, key);
  }
});

test('a setting has three names', () => {
  assert.equal(flagOf('maxLifetime'), '--max-lifetime');
  assert.equal(variableOf('maxLifetime'), 'KUBESPIFFE_MAX_LIFETIME');
});
