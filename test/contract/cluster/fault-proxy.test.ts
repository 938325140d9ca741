import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';
import { Agent, type Dispatcher } from 'undici';
import { type ControlPlane, startControlPlane } from '../../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../../cluster/fault-proxy.ts';
import { waitFor } from '../../cluster/process.ts';

const configMaps = '/api/v1/namespaces/default/configmaps';

let controlPlane: ControlPlane;
let proxy: FaultProxy;
let token: string;
let agents: Agent[];

before(async () => {
  controlPlane = await startControlPlane();
  await controlPlane.kubectl([
    'create',
    'clusterrolebinding',
    'test',
    '--clusterrole=admin',
    '--serviceaccount=default:default',
  ]);
  proxy = await startFaultProxy({ url: controlPlane.url, authority: controlPlane.authority.certificate });
  const kubeconfig = await controlPlane.kubeconfigFor(
    { namespace: 'default', name: 'default' },
    { server: proxy.url, authority: proxy.authority },
  );
  assert.equal((await controlPlane.kubectl(['--kubeconfig', kubeconfig, 'get', 'pods'])).trim(), '');
  token = await readFile(kubeconfig.replace(/\.kubeconfig$/, '.token'), 'utf8');
  agents = [];
  proxy.forget();
});

afterEach(async () => {
  proxy.clear();
  proxy.thaw();
  proxy.refuseConnections(false);
  await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
  proxy.forget();
});

after(async () => {
  await proxy?.stop();
  await controlPlane?.stop();
});

function client(allowH2 = true): Agent {
  const agent = new Agent({ allowH2, connect: { ca: proxy.authority }, connections: 1 });
  agents.push(agent);
  return agent;
}

function get(agent: Agent, path: string, signal?: AbortSignal): Promise<Dispatcher.ResponseData> {
  const headers = { authorization: `Bearer ${token}` };
  return agent.request({ origin: proxy.url, path, method: 'GET', headers, signal: signal ?? null });
}

/** Opens a watch and keeps what it brings. */
async function watch(agent: Agent, query = '') {
  const answer = await get(agent, `${configMaps}?watch=1${query}`);
  const seen = { text: '', end: undefined as string | undefined };
  answer.body.on('data', (chunk: Buffer) => {
    seen.text += chunk.toString();
  });
  answer.body.on('end', () => {
    seen.end = 'in good order';
  });
  answer.body.on('error', (error) => {
    seen.end = error.message;
  });
  return seen;
}

for (const allowH2 of [true, false]) {
  test(`the fault proxy forwards requests and records them, HTTP/${allowH2 ? 2 : 1.1}`, async () => {
    const answer = await get(client(allowH2), configMaps);
    assert.equal(answer.statusCode, 200);
    assert.equal(((await answer.body.json()) as { kind: string }).kind, 'ConfigMapList');
    assert.ok(answer.headers.date);
    assert.deepEqual(
      proxy.requests.map(({ method, path, status }) => ({ method, path, status })),
      [{ method: 'GET', path: configMaps, status: 200 }],
    );
  });
}

test('the fault proxy answers matching requests itself, after letting some pass, for some times', async () => {
  const agent = client();
  const rule = proxy.add({
    path: '/configmaps',
    skip: 1,
    times: 1,
    fault: { kind: 'answer', status: 429, headers: { 'retry-after': '3' } },
  });
  const statuses: number[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    const answer = await get(agent, configMaps);
    statuses.push(answer.statusCode);
    const body = (await answer.body.json()) as { details?: { retryAfterSeconds: number } };
    if (answer.statusCode === 429) assert.equal(body.details?.retryAfterSeconds, 3);
  }
  assert.deepEqual(statuses, [200, 429, 200]);
  assert.equal(rule.hits(), 1);
});

test('the fault proxy delays a request', async () => {
  proxy.add({ fault: { kind: 'delay', ms: 300 } });
  const started = performance.now();
  await (await get(client(), configMaps)).body.dump();
  assert.ok(performance.now() - started >= 299);
});

test('the fault proxy breaks the connection before the server saw the request, or after it has answered', async () => {
  for (const when of ['before', 'after'] as const) {
    const rule = proxy.add({ path: '/configmaps', times: 1, fault: { kind: 'reset', when } });
    const agent = client();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ metadata: { name: `made-${when}` } });
    await assert.rejects(
      agent.request({ origin: proxy.url, path: configMaps, method: 'POST', headers, body }),
    );
    rule.remove();
    const found = await controlPlane.request('GET', `${configMaps}/made-${when}`);
    assert.equal(found.status, when === 'after' ? 200 : 404, when);
  }
});

test('the fault proxy cuts a watch in the middle of an event', async () => {
  proxy.add({ watch: true, fault: { kind: 'cut', afterEvents: 1 } });
  const seen = await watch(client());
  await controlPlane.request('POST', configMaps, { metadata: { name: 'cut' } });
  await waitFor('the end of the watch', () => seen.end);
  const [whole = '', half = ''] = seen.text.split('\n');
  assert.equal(JSON.parse(whole).type, 'ADDED');
  assert.ok(half.length > 10);
  assert.throws(() => JSON.parse(half));
  assert.notEqual(seen.end, 'in good order');
});

test('the fault proxy holds a watch silent while other requests on the connection are served', async () => {
  const agent = client();
  const seen = await watch(agent, '&fieldSelector=metadata.name=silent');
  await waitFor('the watch', () => proxy.watches().length === 1);
  await controlPlane.request('POST', configMaps, { metadata: { name: 'silent' } });
  await waitFor('the first event', () => seen.text.includes('ADDED'));
  proxy.watches()[0]?.silence();
  await controlPlane.request('DELETE', `${configMaps}/silent`);
  const other = await watch(agent, '&fieldSelector=metadata.name=loud');
  await controlPlane.request('POST', configMaps, { metadata: { name: 'loud' } });
  await waitFor('the event of the other watch', () => other.text.includes('ADDED'));
  assert.ok(!seen.text.includes('DELETED'));
  assert.equal(seen.end, undefined);
  assert.deepEqual(proxy.connections().open, 1);
});

test('the fault proxy opens a watch that stays silent from the beginning, and ends one normally', async () => {
  proxy.add({ watch: true, times: 1, fault: { kind: 'silent', afterEvents: 0 } });
  const silent = await watch(client());
  const good = await watch(client());
  await waitFor('events', () => good.text !== '');
  assert.equal(silent.text, '');
  proxy.watches()[1]?.send('{"type":"ERROR","object":{"kind":"Status","code":410}}\n');
  proxy.watches()[1]?.end();
  await waitFor('the end', () => good.end);
  assert.equal(good.end, 'in good order');
  assert.match(good.text, /"code":410/);
});

test('the fault proxy freezes all bytes, refuses and resets connections', async () => {
  const agent = client();
  await (await get(agent, configMaps)).body.dump();
  proxy.freeze();
  let answered = false;
  const pending = get(agent, configMaps).then((answer) => {
    answered = true;
    return answer.body.dump();
  });
  await controlPlane.request('GET', '/readyz');
  assert.equal(answered, false);
  proxy.thaw();
  await pending;

  proxy.refuseConnections(true);
  proxy.resetConnections();
  await assert.rejects(get(client(), configMaps));
  proxy.refuseConnections(false);
  await (await get(client(), configMaps)).body.dump();
});

test('the fault proxy breaks the connections of its clients when the API server dies', async () => {
  const seen = await watch(client());
  await waitFor('events', () => seen.text !== '');
  await controlPlane.killApiServer();
  await waitFor('the end of the watch', () => seen.end);
  await assert.rejects(get(client(), configMaps));
  await controlPlane.startApiServer();
  assert.equal((await get(client(), configMaps)).statusCode, 200);
});
