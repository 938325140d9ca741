import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { isShell, pageCommands } from '../contract/page-commands.ts';
import { blocksOf, checkout, type Page, readPage, readPages } from './markdown.ts';

interface Row {
  readonly page: Page;
  /** Sources of the tests that run commands of the page as they stand. */
  readonly tests: readonly string[];
  /** Why some of its commands are not run. */
  readonly reason: string;
}

/** `sh by-hand`: no test runs this block as it stands. */
const isByHand = ({ info }: { info: string }) => info === 'by-hand';

describe('the commands of each page', () => {
  let rows: Row[];
  before(async () => {
    const { text } = await readPage('docs/development.md');
    const section = text.split('\n## Commands in the pages\n')[1]?.split('\n## ')[0] ?? '';
    rows = await Promise.all(
      [...section.matchAll(/^\| \[([^\]]+)\]\(\S+\) \|(.*)\|(.*)\|$/gm)].map(
        async ([, name = '', run = '', reason = '']) => {
          const page = await readPage(name === 'README.md' ? name : `docs/${name}`);
          const files = [...run.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => join(checkout, file));
          const tests = await Promise.all(files.map((file) => readFile(file, 'utf8')));
          return { page, tests, reason: reason.trim() };
        },
      ),
    );
  });

  it('have a row in docs/development.md', async () => {
    const shown = (await readPages()).filter((page) => blocksOf(page).some(isShell));
    assert.deepEqual(rows.map(({ page }) => page.path).sort(), shown.map(({ path }) => path).sort());
  });

  it('are run by a test that names their heading, or are marked `sh by-hand`', () => {
    const names = (source: string, { path }: Page, heading: string) =>
      (source.includes(`'${path}'`) || source.includes(`${dirname(path)}/$`)) &&
      (source.includes(`'${heading}'`) || source.includes('itFollows({'));
    const unrun = rows.flatMap(({ page, tests }) => {
      const listed = pageCommands.filter((each) => each.page === page.path);
      return blocksOf(page)
        .filter((block) => isShell(block) && !isByHand(block))
        .filter(({ heading }) => !tests.some((source) => names(source, page, heading)))
        .filter(({ heading, code }) => {
          const below = blocksOf(page).filter((each) => each.heading === heading && isShell(each));
          const at = below.findIndex((each) => each.code === code);
          return !listed.some((each) => each.heading === heading && (each.block ?? 0) === at);
        })
        .map(({ heading, code }) => `${page.path}, ${heading}: ${code}`);
    });
    assert.deepEqual(unrun, []);
  });

  it('have a reason where they are marked `sh by-hand`, and only there', () => {
    for (const { page, reason } of rows) {
      assert.equal(reason !== '', blocksOf(page).some(isByHand), page.path);
    }
  });
});
