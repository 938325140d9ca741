import 'reflect-metadata';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Credentials } from '../../signer/kube/credentials.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createTransport } from '../../signer/kube/transport.ts';
import { openOfAnyVersion } from '../../tools/http1.ts';
import { startConnectProxy } from '../cluster/connect-proxy.ts';
import { serve, webCredentials } from '../contract/bundle-endpoint.ts';
import { answer, startWireServer } from '../kube/h2-server.ts';

const transportTo = (credentials: Credentials) =>
  createTransport({ credentials, time: realTime, open: openOfAnyVersion });

const credentialsFor = (server: string, proxy: string, ca?: string): Credentials => ({
  server: new URL(server),
  tls: ca === undefined ? {} : { ca },
  authorization: async () => undefined,
  invalidate: () => undefined,
  namespace: undefined,
  proxy: { url: new URL(proxy) },
});

async function get(credentials: Credentials): Promise<unknown> {
  const transport = transportTo(credentials);
  try {
    return (await transport.request({ method: 'GET', path: '/version' })).body;
  } finally {
    await transport.close();
  }
}

for (const [what, http1Only, version, most] of [
  ['over HTTP/2 if it speaks that, on one connection', false, '2.0', 1],
  ['over HTTP/1.1 if it speaks nothing else, on six connections at most', true, '1.1', 7],
] as const) {
  test(`a server is reached ${what}`, async (t) => {
    const server = await startWireServer({ http1Only });
    t.after(() => server.stop());
    server.handle = (request, response) => answer(response, 200, { version: request.httpVersion });
    const transport = transportTo(server.credentials());
    t.after(() => transport.close());
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => transport.request<{ version: string }>({ method: 'GET', path: '/x' })),
    );
    assert.deepEqual([...new Set(answers.map(({ body }) => body.version))], [version]);
    // A first one may have shown which versions the server speaks.
    assert.ok(server.connections() <= most, `${server.connections()} connections`);
  });
}

test('a server that speaks HTTP/1.1 alone is reached through a tunnel', async () => {
  const { key, cert } = await webCredentials({ address: '192.0.2.1' });
  const server = await serve({ key, cert }, { '/version': { body: '{"major":"1"}' } });
  const { port } = new URL(server.url);
  const proxy = await startConnectProxy(Number(port));
  const body = await get(credentialsFor(`https://192.0.2.1:${port}`, `http://${proxy.address}`, cert));
  assert.deepEqual(body, { major: '1' });
  await proxy.stop();
  await server.close();
});

test('a proxy for a server of plain http gets its whole URL', async () => {
  const proxy = createServer(({ url, headers }, response) => {
    response.end(JSON.stringify({ url, host: headers.host, login: headers['proxy-authorization'] }));
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const seen = await get(credentialsFor('http://kube.example:8001', `http://me:pass@127.0.0.1:${port}`));
  assert.deepEqual(seen, {
    url: 'http://kube.example:8001/version',
    host: 'kube.example:8001',
    login: `Basic ${Buffer.from('me:pass').toString('base64')}`,
  });
  proxy.closeAllConnections();
  proxy.close();
});
