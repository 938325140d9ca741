import assert from 'node:assert/strict';
import dns from 'node:dns';
import { after, afterEach, before, describe, test } from 'node:test';
import { createServerClock } from '../../signer/kube/clock.ts';
import { createDiscovery } from '../../signer/kube/discovery.ts';
import { createInformer } from '../../signer/kube/informer.ts';
import { type RestartCause, runReflector } from '../../signer/kube/reflector.ts';
import { clusterTrustBundles, podCertificateRequests } from '../../signer/kube/resources.ts';
import { createStore, type Store } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { ObjectMeta } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { run } from '../tools/run.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { createAccount, expectSuccess, type ProxiedClient, startProxiedClient } from './kube-client.ts';
import { startSigner } from './signer-process.ts';

const configMaps = '/api/v1/namespaces/default/configmaps';
const query = { labelSelector: 'test=reflector' };
/** Pages of lists, and not the question for the version alone. */
const lists = { path: /configmaps\?.*limit=\d{2}/, watch: false } as const;

let controlPlane: ControlPlane;
let client: ProxiedClient;
let written = 0;

before(async () => {
  controlPlane = await startControlPlane({ controllers: false, betaApis: true });
  await createAccount(controlPlane, 'follower');
});
after(() => controlPlane?.stop());
afterEach(async () => {
  await client?.stop();
});

interface Kept {
  readonly value: string;
}

/** Writes an object as administrator, past the proxy. */
async function write(name: string): Promise<string> {
  written += 1;
  const value = String(written);
  const metadata = { name, labels: { test: 'reflector' } };
  const created = await controlPlane.request('POST', configMaps, { metadata, data: { value } });
  if (created.status === 409) {
    expectSuccess(await controlPlane.request('PATCH', `${configMaps}/${name}`, { data: { value } }));
  } else expectSuccess(created);
  return value;
}

async function remove(name: string): Promise<void> {
  expectSuccess(await controlPlane.request('DELETE', `${configMaps}/${name}`));
}

interface Following {
  readonly store: Store<Kept>;
  readonly restarts: RestartCause[];
  /** Waits until the store holds this value. */
  sees(name: string, value: string | undefined): Promise<unknown>;
}

/** Follows the objects through the proxy while `body` runs, and in the end holds the store to the server's list. */
async function following(
  body: (following: Following) => Promise<void>,
  { host, ...options }: { silentAfterMs?: number; host?: 'localhost' } = {},
): Promise<void> {
  client = await startProxiedClient(controlPlane, 'follower', host);
  const store = createStore<Kept>({ time: realTime });
  const restarts: RestartCause[] = [];
  const stop = new AbortController();
  const run = runReflector<Kept>(
    {
      time: realTime,
      transport: client.transport,
      locate: async () => ({ path: configMaps, query }),
      store,
      fields: true,
      project: (raw) => ({ value: (raw as { data: { value: string } }).data.value }),
      log: { warn: () => undefined, debug: () => undefined },
      onRestart: (cause) => restarts.push(cause),
      resource: 'configmaps',
      ...options,
    },
    stop.signal,
  );
  const sees = (name: string, value: string | undefined) =>
    waitFor(`${name} = ${value}`, () => store.get(`default/${name}`)?.value === value, {
      everyMs: 20,
    });
  try {
    await waitFor('the first list', () => store.isSynced(), { everyMs: 20 });
    await waitFor('the first watch', () => client.proxy.watches().length === 1, { everyMs: 20 });
    await body({ store, restarts, sees });
    await sees('last', await write('last'));
    const { body: listed } = await controlPlane.request(
      'GET',
      `${configMaps}?labelSelector=test%3Dreflector`,
    );
    const { items } = listed as { items: { metadata: { name: string }; data: Kept }[] };
    const expected = new Map(items.map(({ metadata, data }) => [metadata.name, data.value]));
    for (const [name, value] of expected) assert.equal(store.get(`default/${name}`)?.value, value, name);
    assert.equal(store.size, expected.size);
  } finally {
    const abortedAt = performance.now();
    stop.abort();
    await run;
    assert.ok(performance.now() - abortedAt < 5_000, 'it stops at once');
  }
}

describe('reflector on a real API server', () => {
  test('the reflector lists in pages and follows changes over one connection', async () => {
    const names = Array.from({ length: 1100 }, (_, number) => `many-${number}`);
    const next = names.values();
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        for (const name of next) await write(name);
      }),
    );
    await following(async ({ store, sees }) => {
      assert.ok(store.size >= 1100);
      assert.equal(client.proxy.count(lists), 3);
      await sees('many-7', await write('many-7'));
      await remove('many-8');
      await sees('many-8', undefined);
      assert.equal(client.proxy.watches().length, 1);
      assert.ok(client.proxy.connections().total <= 2);
    });
    await controlPlane.kubectl(['delete', 'configmaps', '--selector', 'test=reflector', '--wait=false']);
  });

  test('the reflector survives kill -9 of the API server during the watch, with changes before and after', () =>
    following(async ({ sees, restarts }) => {
      await write('a');
      await write('gone');
      await sees('gone', String(written));
      await remove('gone');
      await controlPlane.killApiServer();
      await controlPlane.startApiServer();
      await sees('b', await write('b'));
      await sees('gone', undefined);
      assert.ok(restarts.length > 0);
      assert.equal(client.proxy.connections().open, 2);
    }));

  test('the reflector survives that the name of the server cannot be resolved, at the start and later', async (t) => {
    const lookup = dns.lookup;
    let inVain = 0;
    const failing = ((...given: Parameters<typeof lookup>) => {
      if (given[0] !== 'localhost') return lookup(...given);
      inVain += 1;
      const answer = given.at(-1) as unknown as (error: Error) => void;
      return setImmediate(answer, Object.assign(new Error('getaddrinfo EAI_AGAIN'), { code: 'EAI_AGAIN' }));
    }) as unknown as typeof lookup;
    const resolver = t.mock.method(dns, 'lookup', failing);
    const failsTwice = async () => {
      inVain = 0;
      await waitFor('two failures', () => inVain >= 2);
      resolver.mock.mockImplementation(lookup);
    };
    const atStart = failsTwice();
    await following(
      async ({ sees }) => {
        await sees('a', await write('a'));
        resolver.mock.mockImplementation(failing);
        client.proxy.resetConnections();
        const value = await write('a');
        await failsTwice();
        await sees('a', value);
      },
      { host: 'localhost' },
    );
    await atStart;
  });

  test('the reflector survives a watch that is cut in the middle of an event', () =>
    following(async ({ sees, restarts }) => {
      await sees('a', await write('a'));
      client.proxy.watches()[0]?.cutMidEvent();
      await sees('a', await write('a'));
      assert.ok(restarts.includes('error'));
      assert.equal(client.proxy.count(lists), 1, 'no second list');
    }));

  test('the reflector resumes a watch that ended normally without a list', () =>
    following(async ({ sees }) => {
      await sees('a', await write('a'));
      client.proxy.watches()[0]?.end();
      await sees('a', await write('a'));
      assert.equal(client.proxy.count(lists), 1);
    }));

  test('the reflector cuts a watch that is held silent by a peer that still answers pings', () =>
    following(
      async ({ sees, restarts }) => {
        await sees('a', await write('a'));
        client.proxy.watches()[0]?.silence();
        const startedAt = performance.now();
        await sees('a', await write('a'));
        assert.ok(performance.now() - startedAt > 1000);
        assert.ok(restarts.includes('silent'));
      },
      { silentAfterMs: 2000 },
    ));

  test('the reflector follows etcd that was restored from a backup while watches are not answered', () =>
    following(async ({ store, restarts, sees }) => {
      const before = await write('a');
      await sees('a', before);
      await controlPlane.etcd.save();
      for (let round = 0; round < 20; round += 1) await write('a');
      await write('lost');
      await sees('lost', String(written));
      const rule = client.proxy.add({ watch: true, fault: { kind: 'hang' } });
      client.proxy.watches()[0]?.end();
      await waitFor('the watch to be asked for again', () => rule.hits() > 0);
      await controlPlane.killApiServer();
      await controlPlane.etcd.putBack();
      await controlPlane.startApiServer();
      rule.remove();
      await sees('a', before);
      await sees('after', await write('after'));
      assert.equal(store.get('default/lost'), undefined);
      assert.ok(!restarts.includes('silent'), 'found before the watch was silent for long');
    }));

  test('the reflector lists again after a watch from a version that the server has not reached', () =>
    following(
      async ({ sees, restarts }) => {
        await sees('a', await write('a'));
        const { body } = await controlPlane.request('GET', `${configMaps}?limit=1`);
        const { resourceVersion } = (body as { metadata: { resourceVersion: string } }).metadata;
        const object = { metadata: { resourceVersion: String(Number(resourceVersion) + 1_000) } };
        const rule = client.proxy.add({
          path: /limit=1(&|$)/,
          fault: { kind: 'answer', status: 200, body: JSON.stringify(object) },
        });
        client.proxy.watches()[0]?.send(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
        client.proxy.watches()[0]?.end();
        await waitFor('the version to be asked for', () => rule.hits() > 0);
        await sees('a', await write('a'));
        assert.ok(restarts.includes('silent'));
      },
      { silentAfterMs: 2000 },
    ));

  test('the reflector lists again after a line that is not an event', () =>
    following(async ({ sees, restarts }) => {
      client.proxy.watches()[0]?.send('{"type":"ADDED","obj\n');
      await sees('a', await write('a'));
      assert.ok(restarts.includes('error'));
    }));

  test('the reflector lists again when its version is too old: 410 as an event, and as an answer', () =>
    following(async ({ sees, restarts }) => {
      const error = { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } };
      client.proxy.watches()[0]?.send(`${JSON.stringify(error)}\n`);
      await sees('a', await write('a'));
      await waitFor('the watch', () => client.proxy.watches().length === 1);
      const rule = client.proxy.add({ watch: true, times: 1, fault: { kind: 'answer', status: 410 } });
      client.proxy.watches()[0]?.end();
      await sees('a', await write('a'));
      assert.equal(rule.hits(), 1);
      assert.equal(restarts.filter((cause) => cause === 'expired').length, 2);
    }));

  test('the reflector waits after a 429 with Retry-After, and backs off from 500s', () =>
    following(async ({ sees }) => {
      await sees('a', await write('a'));
      client.proxy.add({
        watch: true,
        times: 1,
        fault: { kind: 'answer', status: 429, headers: { 'retry-after': '2' } },
      });
      client.proxy.add({ watch: true, skip: 0, times: 4, fault: { kind: 'answer', status: 500 } });
      client.proxy.forget();
      client.proxy.watches()[0]?.end();
      await sees('a', await write('a'));
      const watches = client.proxy.requests.filter(({ path }) => path.includes('watch='));
      const [first, second] = watches;
      assert.ok(first && second && second.at - first.at >= 2000, 'Retry-After was kept');
    }));

  test('the reflector survives connections that are reset again and again', () =>
    following(async ({ sees }) => {
      for (let round = 0; round < 5; round += 1) {
        client.proxy.resetConnections();
        await sees('a', await write('a'));
      }
      assert.ok(client.proxy.connections().open <= 2);
    }));

  test('the reflector survives a lost route, on which nothing answers, not even pings', () =>
    following(async ({ sees }) => {
      await sees('a', await write('a'));
      client.proxy.freeze();
      const value = await write('a');
      const call = client.transport.request({ method: 'GET', path: configMaps, retry: 'none' });
      await assert.rejects(call, { code: 'API_UNREACHABLE' });
      // What was frozen never comes back: a new connection has to be made, which happens by itself.
      await waitFor('the dead connections to be given up', () => client.proxy.connections().total > 2);
      client.proxy.thaw();
      await sees('a', value);
    }));

  test('the reflector reads its token again after a 401, and continues', () =>
    following(async ({ sees }) => {
      await sees('a', await write('a'));
      const before = await client.credentials.authorization();
      await controlPlane.rotateToken(client.kubeconfig);
      const refusal = client.proxy.add({ times: 1, path: /reread/, fault: { kind: 'answer', status: 401 } });
      const answer = await client.transport
        .request({ method: 'GET', path: `${configMaps}/reread`, retry: 'none' })
        .then(
          () => assert.fail('there is no such object'),
          (error: { status: number }) => error.status,
        );
      assert.equal(answer, 404);
      assert.equal(refusal.hits(), 1);
      assert.notEqual(await client.credentials.authorization(), before);
    }));
});

describe('discovery on a real API server', () => {
  test('discovery finds both versions, v1 first, and loses one that is not served any more', async () => {
    client = await startProxiedClient(controlPlane, 'follower');
    const discovery = createDiscovery({
      time: realTime,
      transport: client.transport,
      log: { warn: () => undefined, info: () => undefined },
    });
    const requests = discovery.find(podCertificateRequests);
    const bundles = discovery.find(clusterTrustBundles);
    const stop = new AbortController();
    const run = discovery.run(stop.signal);
    assert.deepEqual(await requests.whenServed(stop.signal), ['v1', 'v1beta1']);
    assert.deepEqual(bundles.versions(), ['v1', 'v1beta1']);

    client.proxy.add({
      path: /certificates.k8s.io\/v1$/,
      fault: { kind: 'answer', status: 404, body: '404 page not found' },
    });
    discovery.rediscover();
    assert.deepEqual(await requests.whenServed(stop.signal), ['v1beta1']);
    client.proxy.clear();
    stop.abort();
    await run;
  });

  test('a version that the real server does not know is a plain 404', async () => {
    client = await startProxiedClient(controlPlane, 'follower');
    for (const path of [
      '/apis/certificates.k8s.io/v7',
      '/apis/certificates.k8s.io/v7/podcertificaterequests',
    ]) {
      const error = await client.transport.request({ method: 'GET', path }).then(
        () => assert.fail('it should not be served'),
        (reason: { status: number; details?: { name?: string } }) => reason,
      );
      assert.equal(error.status, 404);
      assert.equal(error.details?.name, undefined);
    }
  });
});

describe('an informer of a custom resource on a real API server', () => {
  const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const names = { plural: 'gadgets', singular: 'gadget', kind: 'Gadget' };
  const crd = {
    metadata: { name: 'gadgets.example.org' },
    spec: {
      group: 'example.org',
      scope: 'Namespaced',
      names,
      versions: [
        {
          name: 'v1alpha1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } },
            },
          },
        },
      ],
    },
  };
  const gadgets = '/apis/example.org/v1alpha1/namespaces/default/gadgets';

  test('an informer of a CRD is empty and synced without it, and follows its objects while it is installed', async () => {
    client = await startProxiedClient(controlPlane, 'follower');
    const log = { warn: () => undefined, info: () => undefined, debug: () => undefined };
    const needs = {
      transport: client.transport,
      log,
      time: realTime,
    };
    const discovery = createDiscovery(needs);
    const informer = createInformer(
      { ...needs, discovery },
      {
        resource: { group: 'example.org', versions: ['v1', 'v1alpha1'], name: 'gadgets', mayBeMissing: true },
        fields: { metadata: true, spec: true },
        project: (gadget: { metadata: ObjectMeta; spec: { size: number } }, version) =>
          `${version} ${gadget.spec.size}`,
      },
    );
    const stop = new AbortController();
    const running = Promise.all([discovery.run(stop.signal), informer.run(stop.signal)]);
    const has = (size: string | undefined) =>
      waitFor(`the gadget to be ${size}`, () => informer.store.get('default/a') === size);
    try {
      await informer.synced;
      assert.deepEqual([informer.isMissing(), informer.store.size], [true, 0]);

      expectSuccess(await controlPlane.request('POST', crds, crd));
      await waitFor('the CRD to be served', async () => {
        const object = {
          apiVersion: 'example.org/v1alpha1',
          kind: 'Gadget',
          metadata: { name: 'a' },
          spec: { size: 1 },
        };
        return (await controlPlane.request('POST', gadgets, object)).status === 201;
      });
      await has('v1alpha1 1');
      expectSuccess(await controlPlane.request('PATCH', `${gadgets}/a`, { spec: { size: 2 } }));
      await has('v1alpha1 2');

      expectSuccess(await controlPlane.request('DELETE', `${crds}/gadgets.example.org`));
      await has(undefined);
      await waitFor('the resource to be missing', () => informer.isMissing());
      assert.equal(informer.store.isSynced(), true);
    } finally {
      stop.abort();
      await running;
    }
  });
});

describe('transport on a real API server', () => {
  test('the server clock is read to a fraction of a second, and follows when it is set', async () => {
    client = await startProxiedClient(controlPlane, 'follower');
    const clock = createServerClock(realTime);
    client.transport.onDate(clock.observe);
    const ask = () => client.transport.request({ method: 'GET', path: '/version' });
    for (let asked = 0; asked < 50; asked += 1) await ask();
    assert.ok(Math.abs(clock.skewMs() ?? Number.NaN) <= 600, `${clock.skewMs()}`);
    assert.equal(clock.problem(), undefined);
    client.proxy.shiftClock(240_000);
    await ask();
    assert.equal(clock.problem(), undefined, 'one Date alone is not believed');
    await ask();
    assert.match(clock.problem() ?? '', /s (fast|slow); at most/);
    client.proxy.shiftClock(0);
    await ask();
    await ask();
    assert.equal(clock.problem(), undefined);
  });

  test('five hundred writes at once go over one connection, each once', async () => {
    client = await startProxiedClient(controlPlane, 'follower');
    const metadata = { generateName: 'burst-', labels: { test: 'burst' } };
    await Promise.all(
      Array.from({ length: 500 }, () =>
        client.transport.request({ method: 'POST', path: configMaps, body: { metadata }, discardBody: true }),
      ),
    );
    assert.equal(client.proxy.connections().total, 1);
    const { body } = await controlPlane.request('GET', `${configMaps}?labelSelector=test%3Dburst`);
    assert.equal((body as { items: unknown[] }).items.length, 500);
  });

  test('an API server without HTTP/2 is refused by the signer in log and readiness, and used by commands', async (t) => {
    const kubeconfig = await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
    await controlPlane.killApiServer();
    await controlPlane.startApiServer({ apiServerFlags: ['--disable-http2-serving'] });
    const signer = await startSigner({ kubeconfig });
    t.after(() => signer.child.stop());
    const refusal = /does not speak HTTP\/2, which is required: remove --disable-http2-serving/;
    await waitFor('the log', () => signer.lines().some(({ error }) => refusal.test(String(error))));
    await waitFor('the readiness', async () => {
      const { ok, text } = await signer.readiness();
      return !ok && refusal.test(text);
    });
    const { code, stdout } = await run(['ca', 'show', '--kubeconfig', kubeconfig]);
    assert.deepEqual([code, /Signs from/.test(stdout)], [0, true], stdout);
  });
});
