import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createDiscovery, type Served } from '../../signer/kube/discovery.ts';
import { createFakeTime, settle } from './fake-time.ts';
import { type Answer, createScriptedApi } from './scripted-api.ts';

const both = ['podcertificaterequests', 'podcertificaterequests/status', 'clustertrustbundles'];

async function withDiscovery(
  versions: Record<string, readonly string[] | Answer>,
  body: (world: {
    discovery: ReturnType<typeof createDiscovery>;
    time: ReturnType<typeof createFakeTime>;
    api: ReturnType<typeof createScriptedApi>;
    changes: Served[];
    warnings: object[];
    stop: AbortController;
  }) => Promise<void>,
): Promise<void> {
  const time = createFakeTime();
  const api = createScriptedApi();
  api.answer = ({ path }) => {
    const known = versions[path.replace('/apis/certificates.k8s.io/', '')];
    if (known === undefined) return { status: 404 };
    return Array.isArray(known)
      ? { status: 200, body: { resources: known.map((name) => ({ name })) } }
      : (known as Answer);
  };
  const warnings: object[] = [];
  const discovery = createDiscovery({
    transport: api.transport,
    log: { warn: (fields) => warnings.push(fields), info: () => undefined },
    monotonic: time.monotonic,
    jitter: () => 0,
    timer: time.timer,
  });
  const changes: Served[] = [];
  discovery.onChange((served) => changes.push(served));
  const stop = new AbortController();
  const run = discovery.run(stop.signal);
  await settle();
  await body({ discovery, time, api, changes, warnings, stop });
  stop.abort();
  await run;
  assert.equal(time.pending(), 0);
}

describe('discovery', () => {
  const tables: [string, Record<string, readonly string[]>, Served][] = [
    ['v1 alone', { v1: both }, { podcertificaterequests: ['v1'], clustertrustbundles: ['v1'] }],
    [
      'v1 and v1beta1, v1 preferred',
      { v1beta1: both, v1: both },
      { podcertificaterequests: ['v1', 'v1beta1'], clustertrustbundles: ['v1', 'v1beta1'] },
    ],
    [
      'v1beta1 alone',
      { v1beta1: both },
      { podcertificaterequests: ['v1beta1'], clustertrustbundles: ['v1beta1'] },
    ],
    [
      'a version that is served for one of them only',
      { v1: ['certificatesigningrequests', 'clustertrustbundles'], v1beta1: both },
      { podcertificaterequests: ['v1beta1'], clustertrustbundles: ['v1', 'v1beta1'] },
    ],
    [
      'neither',
      { v1: ['certificatesigningrequests'] },
      { podcertificaterequests: [], clustertrustbundles: [] },
    ],
  ];
  for (const [what, versions, expected] of tables) {
    test(what, () =>
      withDiscovery(versions, async ({ discovery }) => assert.deepEqual(discovery.served(), expected)),
    );
  }

  test('warns once of each kind of trouble while discovery keeps failing', () =>
    withDiscovery({}, async ({ api, time, warnings }) => {
      const troubles: Answer[] = ['broken', { status: 503 }];
      api.answer = () => troubles[Math.ceil(api.requests.length / 2) % 2] ?? 'broken';
      await time.advance(600_000);
      assert.equal(warnings.length, 2);
    }));

  test('waits for a resource that is not served yet, and tells', async () => {
    const versions: Record<string, readonly string[]> = { v1: ['certificatesigningrequests'] };
    await withDiscovery(versions, async ({ discovery, time, changes, stop }) => {
      const waiting = discovery.whenServed('podcertificaterequests', stop.signal);
      await time.advance(60_000);
      versions.v1 = both;
      await time.advance(15_000);
      assert.deepEqual(await waiting, ['v1']);
      assert.equal(changes.length, 2);
    });
  });

  test('an API server that does not answer is asked again; what was known stays known', async () => {
    const versions: Record<string, readonly string[] | Answer> = { v1: { status: 500 } };
    await withDiscovery(versions, async ({ discovery, time, stop }) => {
      assert.equal(discovery.served(), undefined);
      versions.v1 = both;
      const waiting = discovery.whenServed('clustertrustbundles', stop.signal);
      await time.advance(5000);
      assert.deepEqual(await waiting, ['v1']);
      assert.deepEqual(discovery.served()?.clustertrustbundles, ['v1']);
      versions.v1 = { status: 500 };
      discovery.rediscover();
      await time.advance(5000);
      assert.deepEqual(discovery.served()?.clustertrustbundles, ['v1']);
    });
  });

  test('looks again at once when told so, and whoever waits gets the new answer', async () => {
    const versions: Record<string, readonly string[]> = { v1beta1: both };
    await withDiscovery(versions, async ({ discovery, stop }) => {
      delete versions.v1beta1;
      versions.v1 = both;
      discovery.rediscover();
      assert.deepEqual(await discovery.whenServed('podcertificaterequests', stop.signal), ['v1']);
    });
  });

  test('being told so a thousand times costs one look', () =>
    withDiscovery({ v1: both }, async ({ discovery, api }) => {
      const before = api.requests.length;
      for (let told = 0; told < 1000; told += 1) discovery.rediscover();
      await settle();
      assert.equal(api.requests.length - before, 2);
    }));

  test('asks seldom when all is there', () =>
    withDiscovery({ v1: both }, async ({ api, time }) => {
      await time.advance(3_600_000);
      assert.ok(api.requests.length <= 2 * 15, `${api.requests.length} in an hour`);
    }));

  test('nobody waits for ever after the end', () =>
    withDiscovery({}, async ({ discovery, stop }) => {
      const waiting = discovery.whenServed('podcertificaterequests', stop.signal);
      stop.abort();
      assert.deepEqual(await waiting, []);
    }));
});
