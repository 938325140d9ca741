import 'reflect-metadata';
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchFromEndpoint } from '../../client/bundle-endpoint.ts';
import { startConnectProxy } from '../cluster/connect-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import {
  type ServerCredentials,
  serve,
  type TestEndpoint,
  webCredentials,
} from '../contract/bundle-endpoint.ts';

/** Servers whose answer never ends. */
describe('fetching a bundle', () => {
  let credentials: ServerCredentials;
  const servers: TestEndpoint[] = [];
  before(async () => {
    credentials = await webCredentials();
  });
  after(() => Promise.all(servers.map((server) => server.close())));

  /** @returns what came of it, and whether the server may stop sending. */
  async function fetchOf(chunk: string, everyMs: number, timeoutMs: number) {
    let isOver = false;
    async function* body() {
      try {
        for (;;) {
          yield chunk;
          await sleep(everyMs);
        }
      } finally {
        isOver = true;
      }
    }
    const server = await serve(credentials, { '/bundle': { body } });
    servers.push(server);
    const startedAt = performance.now();
    const fetched = await fetchFromEndpoint({
      url: new URL(`${server.url}/bundle`),
      profile: { name: 'https_web', rootsPem: credentials.cert },
      maxRedirects: 0,
      env: {},
      timeoutMs,
    });
    const tookMs = performance.now() - startedAt;
    assert.ok(!fetched.ok);
    await waitFor('the server to be left', () => isOver);
    return { reason: fetched.reason, tookMs };
  }

  it('fetching a bundle uses the proxy of the environment, and does not report its password', async () => {
    const { key, cert } = await webCredentials({ address: '192.0.2.1' });
    const server = await serve({ key, cert }, { '/bundle': { body: '{}' } });
    servers.push(server);
    const { port } = new URL(server.url);
    const proxy = await startConnectProxy(Number(port), { password: 'me:s3cr3t' });
    const fetchThrough = (login: string, noProxy = '') =>
      fetchFromEndpoint({
        url: new URL(`https://192.0.2.1:${port}/bundle`),
        profile: { name: 'https_web', rootsPem: cert },
        maxRedirects: 0,
        timeoutMs: noProxy === '' ? 10_000 : 500,
        env: { https_proxy: `http://${login}@${proxy.address}`, NO_PROXY: noProxy },
      });
    const fetched = await fetchThrough('me:s3cr3t');
    assert.equal(fetched.ok && fetched.value.toString(), '{}');
    assert.deepEqual(proxy.asked, [{ authority: `192.0.2.1:${port}`, isAllowed: true }]);
    const refused = await fetchThrough('s3cr3t:no');
    assert.ok(!refused.ok);
    assert.match(
      refused.reason,
      new RegExp(`: proxy http://${proxy.address} refused a tunnel to .*: 407; give`),
    );
    assert.doesNotMatch(refused.reason, /s3cr3t/);
    await fetchThrough('me:s3cr3t', '192.0.2.0/24');
    assert.equal(proxy.asked.length, 2, 'NO_PROXY names the address');
    await proxy.stop();
  });

  it('fetching a bundle reports what is wrong with an unknown root, and gives no advice about Node.js', async () => {
    const server = await serve(credentials, { '/bundle': { body: '{}' } });
    servers.push(server);
    const fetched = await fetchFromEndpoint({
      url: new URL(`${server.url}/bundle`),
      profile: { name: 'https_web' },
      maxRedirects: 0,
      env: {},
      timeoutMs: 10_000,
    });
    assert.ok(!fetched.ok);
    assert.match(fetched.reason, /^127\.0\.0\.1:\d+: self-signed certificate$/);
  });

  it('fetching a bundle ends at the maximum length of a bundle, for any length of the answer', async () => {
    const { reason } = await fetchOf(' '.repeat(256 * 1024), 0, 60_000);
    assert.match(reason, /the answer is longer than 4194304 bytes/);
  });

  it('fetching a bundle ends in time, although bytes keep coming', async () => {
    const { reason, tookMs } = await fetchOf(' ', 20, 500);
    assert.match(reason, /did not answer in time/);
    assert.ok(tookMs < 5_000, `${tookMs} ms`);
  });
});
