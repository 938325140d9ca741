import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { showsCommands } from '../contract/page-commands.ts';
import { checkout, readPage, readPages } from './markdown.ts';

test('each page with commands has a row that says which tests run them, or why none does', async () => {
  const { text } = await readPage('docs/development.md');
  const section = text.split('\n## Commands in the pages\n')[1]?.split('\n## ')[0] ?? '';
  const rows = [...section.matchAll(/^\| \[([^\]]+)\]\(\S+\) \|(.*)\|(.*)\|(.*)\|$/gm)].map(
    ([, name = '', ...cells]) => ({ page: name === 'README.md' ? name : `docs/${name}`, cells }),
  );
  const shown = (await readPages()).filter(showsCommands).map(({ path }) => path);
  assert.deepEqual(rows.map(({ page }) => page).sort(), shown.sort());
  for (const { page, cells } of rows) {
    assert.ok(
      cells.some((cell) => cell.trim() !== ''),
      page,
    );
    const [asTheyStand = [], same = []] = cells.map((cell) => [...cell.matchAll(/`(test\/[^`]+)`/g)]);
    for (const [, file = ''] of asTheyStand) {
      const source = await readFile(join(checkout, file), 'utf8');
      assert.ok(
        source.includes(page) || source.includes(`${dirname(page)}/$`),
        `${file} does not name ${page}`,
      );
    }
    for (const [, file = ''] of same) await readFile(join(checkout, file), 'utf8');
  }
});
