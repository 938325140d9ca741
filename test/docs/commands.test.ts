import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { clusterCommands, isShell } from '../contract/page-commands.ts';
import { poolCommands } from '../contract/pool-commands.ts';
import { tokenCommands } from '../contract/token-commands.ts';
import { type Block, blocksBelow, blocksOf, checkout, type Page, readPage, readPages } from './markdown.ts';
import { standInCommands } from './stand-in-commands.ts';

interface Row {
  readonly page: Page;
  /** Sources of the tests that run commands of the page as they stand. */
  readonly tests: readonly string[];
}

/** The block is in a list of commands that a test runs. */
const isListed = (page: Page, { heading, code }: Block): boolean =>
  [...clusterCommands, ...poolCommands, ...tokenCommands, ...standInCommands].some((each) => {
    if (each.page !== page.path || each.heading !== heading) return false;
    return blocksBelow(page, heading).filter(isShell)[each.block ?? 0]?.code === code;
  });

/** The source of a test names the block by its heading, or follows the whole page. */
const names =
  ({ path }: Page, { heading }: Block) =>
  (source: string): boolean =>
    (source.includes(`'${path}'`) || source.includes(`${dirname(path)}/$`)) &&
    (source.includes(`'${heading}'`) || source.includes('itFollows({'));

/** Commands without their comments. The same command in two pages is run once. */
const linesOf = (code: string): string[] =>
  code.split('\n').flatMap(
    (line) =>
      line
        .replace(/(^|\s+)# .*$/, '')
        .replace(/^bin\//, '')
        .trim() || [],
  );

describe('the commands of each page', () => {
  let rows: Row[];
  before(async () => {
    const { text } = await readPage('docs/development.md');
    const section = text.split('\n## Commands in the pages\n')[1]?.split('\n## ')[0] ?? '';
    rows = await Promise.all(
      [...section.matchAll(/^\| \[([^\]]+)\]\(\S+\) \|(.*)\|$/gm)].map(async ([, name = '', run = '']) => {
        const page = await readPage(name === 'README.md' ? name : `docs/${name}`);
        const files = [...run.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => join(checkout, file));
        const tests = await Promise.all(files.map((file) => readFile(file, 'utf8')));
        return { page, tests };
      }),
    );
  });

  it('the commands of each page have a row in docs/development.md', async () => {
    const shown = (await readPages()).filter((page) => blocksOf(page).some(isShell));
    assert.deepEqual(rows.map(({ page }) => page.path).sort(), shown.map(({ path }) => path).sort());
  });

  it('only a page that puts kubespiffe on the PATH calls it by this name', async () => {
    const silent = (await readPages()).filter(
      (page) =>
        blocksOf(page).some((block) => isShell(block) && /^kubespiffe /m.test(block.code)) &&
        !/\[on your PATH\]\(\S*\bcli\.md\)|^export PATH=\$PWD\/bin:\$PATH$/m.test(page.text),
    );
    assert.deepEqual(
      silent.map(({ path }) => path),
      [],
    );
  });

  it('the commands of each page are run by a test that names their heading', async () => {
    const blocks = (await readPages()).flatMap((page) => {
      const { tests } = rows.find((row) => row.page.path === page.path) ?? { tests: [] };
      return blocksOf(page)
        .filter(isShell)
        .map((block) => ({ page, ...block, isRun: isListed(page, block) || tests.some(names(page, block)) }));
    });
    const ran = new Set(blocks.filter(({ isRun }) => isRun).flatMap(({ code }) => linesOf(code)));
    const left = blocks.filter(({ isRun, code }) => !isRun && !linesOf(code).every((line) => ran.has(line)));
    assert.deepEqual(
      left.map(({ page, heading, code }) => `${page.path}, ${heading}: ${code}`),
      [],
    );
  });
});
