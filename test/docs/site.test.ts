import assert from 'node:assert/strict';
import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { buildSite } from '../../scripts/site.ts';
import { startBrowser } from '../contract/ui-browser.ts';
import { checkout, readPages } from './markdown.ts';

describe('the documentation as a site', () => {
  let folder: string;
  let site: string;
  let browser: Browser;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'site-'));
    site = join(folder, 'site');
    await buildSite(site);
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A page of the site, read from the disk. Everything else that it loads is noted, and so are its errors. */
  async function open(path: string): Promise<{ page: Page; wrong: string[] }> {
    const page = await browser.newPage();
    const wrong: string[] = [];
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('request', (request) => {
      if (!/^(file|data):/.test(request.url())) wrong.push(request.url());
    });
    await page.goto(pathToFileURL(join(site, path)).href);
    return { page, wrong };
  }

  it('the site has every page, and each of its links leads to a file and an anchor', async () => {
    const pages = await readPages();
    for (const { path } of pages) await access(join(site, path.replace(/\.md$/, '.html')));
    const files = (await readdir(site, { recursive: true })).filter((path) => path.endsWith('.html'));
    const texts = new Map(
      await Promise.all(
        files.map(async (path) => [join(site, path), await readFile(join(site, path), 'utf8')] as const),
      ),
    );
    let followed = 0;
    for (const [path, text] of texts) {
      for (const [, target = ''] of text.matchAll(/ (?:href|src)="([^"]*)"/g)) {
        if (/^(https?|data|mailto):/.test(target)) continue;
        const [file = '', anchor = ''] = decodeURI(target).split('#');
        const to = file === '' ? path : join(dirname(path), file.replace(/\?.*/, ''));
        await assert.doesNotReject(access(to), `${path}: ${target}`);
        if (anchor !== '') assert.ok(texts.get(to)?.includes(` id="${anchor}"`), `${path}: ${target}`);
        followed += 1;
      }
    }
    assert.ok(followed > 1_000);
  });

  it('the site is read and searched without a server and without a network, and names its version', async () => {
    const { version } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8'));
    const { page, wrong } = await open('index.html');
    assert.match(await page.title(), new RegExp(`kubespiffe ${version.replaceAll('.', '\\.')}`));
    await page.locator('pre.mermaid svg').waitFor();
    await page.getByRole('textbox', { name: 'Search' }).fill('NodeMismatch');
    await page.keyboard.press('Enter');
    await page
      .locator('#search-results')
      .getByRole('link', { name: /outcome/i })
      .first()
      .click();
    await page.getByRole('heading', { name: 'NodeMismatch' }).waitFor();
    assert.deepEqual(wrong, []);
  });

  it('the site draws every diagram', async () => {
    const withDiagrams = (await readPages()).filter(({ text }) => text.includes('```mermaid'));
    assert.ok(withDiagrams.length > 1);
    for (const { path, text } of withDiagrams) {
      const { page, wrong } = await open(path.replace(/\.md$/, '.html'));
      const drawn = page.locator('pre.mermaid svg');
      await drawn.first().waitFor();
      assert.equal(await drawn.count(), text.split('```mermaid').length - 1, path);
      assert.equal(await page.getByText('Syntax error').count(), 0, path);
      assert.deepEqual(wrong, []);
      await page.close();
    }
  });

  it('the site is not built if a link leads to no page or to no heading', async () => {
    const other = join(folder, 'checkout');
    await mkdir(join(other, 'docs/reference'), { recursive: true });
    await writeFile(join(other, 'docs/reference/pool.md'), '# Pool\n');
    for (const link of ['docs/reference/missing.md', 'docs/reference/pool.md#missing']) {
      await writeFile(join(other, 'README.md'), `# Title\n\n[link](${link})\n`);
      await assert.rejects(buildSite(join(folder, 'refused'), other), (error: { stderr: string }) => {
        assert.match(error.stderr, /README\.md:3: WARNING:.*missing/);
        return true;
      });
    }
  });
});
