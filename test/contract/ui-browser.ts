import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Browser, chromium, type Page } from 'playwright-core';
import { launcher } from '../tools/run.ts';

const images = join(import.meta.dirname, '../../docs/images');

/** Debian's Chromium, without the sandbox that root cannot have: the pages are ours. */
export const startBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: '/usr/bin/chromium-headless-shell', args: ['--no-sandbox'] });

/** A running `kubespiffe ui`. */
export interface RunningUi {
  /** As it was printed. */
  readonly url: string;
  stop(): Promise<number | null>;
}

export async function startUi(args: readonly string[]): Promise<RunningUi> {
  const child = spawn(launcher, ['ui', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const [url] = await Promise.race([
    once(createInterface(child.stdout), 'line'),
    closed.then(([code]) => Promise.reject(new Error(`kubespiffe ui ended with ${code}`))),
  ]);
  return {
    url,
    async stop() {
      child.kill('SIGTERM');
      return (await closed)[0];
    },
  };
}

/** A page that notes what must not happen: an error, a refusal by the policy of the page, or a load from elsewhere. */
export async function openPage(
  browser: Browser,
  url: string,
  options: { width?: number; colorScheme?: 'light' | 'dark' } = {},
): Promise<{ page: Page; wrong: string[] }> {
  const { width = 960, colorScheme = 'light' } = options;
  const context = await browser.newContext({ viewport: { width, height: 600 }, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(error.message));
  page.on('console', (line) => {
    if (line.type() === 'error') wrong.push(line.text());
  });
  page.on('request', (request) => {
    if (new URL(request.url()).hostname !== '127.0.0.1') wrong.push(request.url());
  });
  await page.goto(url);
  return { page, wrong };
}

/** With UI_TEST_SCREENSHOTS=1, the picture in the documentation is made anew. */
export async function screenshot(page: Page, name: string): Promise<void> {
  if (process.env.UI_TEST_SCREENSHOTS !== '1') return;
  await page.screenshot({ path: join(images, name), type: 'png' });
}
