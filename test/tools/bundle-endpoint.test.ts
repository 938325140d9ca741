import 'reflect-metadata';
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchFromEndpoint } from '../../tools/bundle/endpoint.ts';
import { waitFor } from '../cluster/process.ts';
import {
  type ServerCredentials,
  serve,
  type TestEndpoint,
  webCredentials,
} from '../contract/bundle-endpoint.ts';

/** Servers that would keep whoever fetches a bundle for ever. */
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
      timeoutMs,
    });
    const tookMs = performance.now() - startedAt;
    assert.ok(!fetched.ok);
    await waitFor('the server to be left', () => isOver);
    return { reason: fetched.reason, tookMs };
  }

  it('says of a root that is not known what is wrong, and gives no advice about Node.js', async () => {
    const server = await serve(credentials, { '/bundle': { body: '{}' } });
    servers.push(server);
    const fetched = await fetchFromEndpoint({
      url: new URL(`${server.url}/bundle`),
      profile: { name: 'https_web' },
      maxRedirects: 0,
      timeoutMs: 10_000,
    });
    assert.ok(!fetched.ok);
    assert.match(fetched.reason, /^127\.0\.0\.1:\d+: self-signed certificate$/);
  });

  it('ends at the longest bundle that is read, however much comes', async () => {
    const { reason } = await fetchOf(' '.repeat(256 * 1024), 0, 60_000);
    assert.match(reason, /the answer is longer than 4194304 bytes/);
  });

  it('ends in time, although something comes all the while', async () => {
    const { reason, tookMs } = await fetchOf(' ', 20, 500);
    assert.match(reason, /did not answer in time/);
    assert.ok(tookMs < 5_000, `${tookMs} ms`);
  });
});
