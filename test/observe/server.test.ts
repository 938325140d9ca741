import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { createHealth } from '../../signer/observe/health.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { serveObservability } from '../../signer/observe/server.ts';
import { waitFor } from '../cluster/process.ts';

async function start(expected: string[] = ['pool', 'clock']) {
  const stop = new AbortController();
  const health = createHealth(expected);
  const metrics = createMetrics();
  const address = { host: '127.0.0.1', port: 0 };
  const server = await serveObservability({ address, metrics, health, signal: stop.signal });
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(server.url + path, init);
    return { status: response.status, headers: response.headers, body: await response.text() };
  };
  return { server, health, metrics, get, stop: () => stop.abort() };
}

test('readyz names each check and its reason while one of them fails', async () => {
  const { server, health, get, stop } = await start();
  health.set('pool', false, 'PoolEmpty: pool.authorities has no entry; run kubespiffe ca create');
  health.set('clock', true, '3 ms ahead of the API server');
  const answer = await get('/readyz');
  assert.equal(answer.status, 503);
  assert.equal(
    answer.body,
    '[-]pool PoolEmpty: pool.authorities has no entry; run kubespiffe ca create\n' +
      '[+]clock 3 ms ahead of the API server\nreadyz check failed\n',
  );
  stop();
  await server.closed;
});

test('readyz is short when all is well, and long on ?verbose', async () => {
  const { server, health, get, stop } = await start(['pool']);
  health.set('pool', true, 'authority a1 signs');
  assert.deepEqual(await get('/readyz').then(({ status, body }) => [status, body]), [200, 'ok\n']);
  const verbose = await get('/readyz?verbose');
  assert.equal(verbose.body, '[+]pool authority a1 signs\nreadyz check passed\n');
  stop();
  await server.closed;
});

test('readyz ignores the checks that its query excludes, and no others', async () => {
  const { server, health, get, stop } = await start(['spiffe/pool', 'clock', 'caches']);
  health.set('spiffe/pool', false, 'AuthorityExpiring: 40 min left');
  health.set('clock', true, 'well');
  health.set('caches', true, 'filled');
  assert.equal((await get('/readyz')).status, 503);
  assert.equal((await get('/readyz?exclude=pool')).status, 200);
  const verbose = await get('/readyz?exclude=pool&verbose');
  assert.match(verbose.body, /^\[\+\]spiffe\/pool excluded: AuthorityExpiring: 40 min left$/m);
  health.set('clock', false, '4 min slow');
  assert.equal((await get('/readyz?exclude=pool')).status, 503);
  assert.equal((await get('/readyz?exclude=pool&exclude=clock')).status, 200);
  assert.equal((await get('/readyz?exclude=poo&exclude=clock')).status, 503);
  stop();
  await server.closed;
});

test('livez answers while the replica is not ready', async () => {
  const { server, health, get, stop } = await start();
  health.set('pool', false, 'PoolEmpty');
  assert.deepEqual(await get('/livez').then(({ status, body }) => [status, body]), [200, 'ok\n']);
  assert.match((await get('/livez?verbose')).body, /^\[\+\]event-loop turning$/m);
  stop();
  await server.closed;
});

test('metrics are served in the text format, with the current states', async () => {
  const { server, metrics, get, stop } = await start();
  metrics.takeovers.inc({ signer: 'a' });
  metrics.beforeRender(() => metrics.queueDepth.inc());
  await get('/metrics');
  const answer = await get('/metrics');
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.match(answer.body, /^kubespiffe_takeovers_total\{signer="a"\} 1$/m);
  assert.match(answer.body, /^kubespiffe_queue_depth 2$/m);
  assert.match(answer.body, /^kubespiffe_ready 0$/m);
  stop();
  await server.closed;
});

test('a request for an unknown path is refused with a hint', async () => {
  const { server, get, stop } = await start();
  assert.deepEqual(await get('/').then(({ status, body }) => [status, body]), [
    404,
    'try /metrics, /livez or /readyz\n',
  ]);
  const post = await get('/metrics', { method: 'POST', body: 'x'.repeat(100_000) });
  assert.equal(post.status, 405);
  assert.equal(post.headers.get('allow'), 'GET, HEAD');
  stop();
  await server.closed;
});

test('a request with oversized headers is refused', async () => {
  const { server, get, stop } = await start();
  const answer = await get('/livez', { headers: { 'x-big': 'x'.repeat(10_000) } });
  assert.equal(answer.status, 431);
  stop();
  await server.closed;
});

test('the abort closes the server at once, open connections included', async () => {
  const { server, stop } = await start();
  const idle = connect(server.port, '127.0.0.1');
  idle.on('error', () => {});
  await once(idle, 'connect');
  stop();
  await server.closed;
  if (!idle.destroyed) await once(idle, 'close');
});

test('an address in use is reported by the server of metrics and health', async () => {
  const { server, health, metrics, stop } = await start();
  const again = { host: '127.0.0.1', port: server.port };
  await assert.rejects(
    serveObservability({ address: again, metrics, health, signal: new AbortController().signal }),
    { code: 'EADDRINUSE' },
  );
  stop();
  await server.closed;
});

for (const { held, holds } of [
  { held: 'without a request', holds: '' },
  { held: 'that were used once', holds: 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n' },
]) {
  test(`a probe is answered while 200 connections ${held} are open`, async () => {
    const { server, get, stop } = await start();
    const open = new Set<Socket>();
    for (let opened = 0; opened < 200; opened += 1) {
      const socket = connect(server.port, '127.0.0.1');
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => open.delete(socket));
      await once(socket, 'connect');
      if (holds === '') continue;
      socket.write(holds);
      await once(socket, 'data');
    }
    assert.equal((await get('/livez')).status, 200);
    await waitFor('the oldest connections to be closed', async () => open.size <= 64);
    for (const socket of open) socket.destroy();
    stop();
    await server.closed;
  });
}
