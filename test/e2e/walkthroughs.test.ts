import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { openPage, startBrowser } from '../contract/ui-browser.ts';
import { readPage } from '../docs/markdown.ts';
import { itFollows, type ReaderCluster, startReaderCluster } from './reader.ts';

const page = (name: string) => readPage(`docs/walkthroughs/${name}.md`);
const isCleanUp = (heading: string) => heading.endsWith('Clean up');
const firstSteps = await page('first-steps');

/** The lessons in their order, every command as it stands, on one cluster as `make cluster` starts it. */
describe('the walkthroughs', () => {
  let cluster: ReaderCluster;
  const at = () => cluster;

  before(async () => {
    cluster = await startReaderCluster();
    const aws = join(import.meta.dirname, 'aws.ts');
    await cluster.reader.program('aws', `exec ${process.execPath} ${aws} "$@"`);
  });
  after(() => cluster?.controlPlane.stop());

  const has = (heading: string) => !isCleanUp(heading);
  itFollows({ page: firstSteps, has, meanwhile: { '5. In the browser': seeClient } }, at);
  for (const name of ['two-teams', 'company-ca', 'services', 'cloud']) {
    describe(name, async () => itFollows({ page: await page(name) }, at));
  }
  describe('guides', async () => {
    const guide = async (name: string) => readPage(`docs/guides/${name}.md`);
    const only = (wanted: string) => (heading: string) => heading === wanted;
    const greeter = 'gRPC with SPIFFE IDs on both sides';
    itFollows({ page: await guide('greeter'), has: only(greeter) }, at);
    itFollows({ page: await guide('workload-api') }, at);
    const shown = 'What a pod holds';
    itFollows({ page: await guide('ui'), has: only(shown), meanwhile: { [shown]: seeOwn } }, at);
  });
  itFollows({ page: firstSteps, has: isCleanUp }, at);
});

/** What the guide to the web view asks of the person at the browser. The test of the page itself is elsewhere. */
async function seeOwn(line: string): Promise<void> {
  const [, address] = /^Forwarding from (127\.0\.0\.1:8090) /.exec(line) ?? assert.fail(line);
  const page = await fetch(`http://${address}/`);
  assert.equal(page.status, 200);
  assert.match(await page.text(), /<html/);
}

/** What the first lesson asks of the person at the browser. */
async function seeClient(url: string): Promise<void> {
  const browser = await startBrowser();
  try {
    const { page } = await openPage(browser, url);
    await page.getByRole('link', { name: 'Pods' }).click();
    const server = page.getByRole('link', { name: 'greeter/server', exact: true });
    await server.waitFor();
    await page.getByRole('searchbox').fill('greeter client');
    // The list moves when it is narrowed, and a click just then meets nothing.
    await server.waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'greeter/client', exact: true }).click();
    await page.getByRole('heading', { name: 'greeter/client', exact: true }).waitFor();
    await page.getByText('spiffe://example.org/ns/greeter/sa/client').first().waitFor();
    await page.getByRole('heading', { name: 'Certificate of the newest request' }).waitFor();
    await page.getByText('Kubelet renews it').first().waitFor();
    await page.getByRole('link', { name: 'Authorities' }).click();
    await page.getByRole('heading', { name: /kubespiffe\/kubespiffe-pool can sign/ }).waitFor();
    await page.getByText('first').first().waitFor();
  } finally {
    await browser.close();
  }
}
