import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createDiscovery } from '../../signer/kube/discovery.ts';
import {
  type ApiResource,
  clusterTrustBundles,
  podCertificateRequests,
} from '../../signer/kube/resources.ts';
import { createFakeTime, settle } from './fake-time.ts';
import { type Answer, createScriptedApi } from './scripted-api.ts';

const both = ['podcertificaterequests', 'podcertificaterequests/status', 'clustertrustbundles'];
const certificates = '/apis/certificates.k8s.io';
const registrations: ApiResource = {
  group: 'kubespiffe.io',
  versions: ['v1alpha1'],
  name: 'workloadregistrations',
  mayBeMissing: true,
};

/** @param served the names of the resources, or an answer, by the path of the group version. */
async function withDiscovery(
  served: Record<string, readonly string[] | Answer>,
  body: (world: {
    requests: ReturnType<typeof find>;
    bundles: ReturnType<typeof find>;
    discovery: ReturnType<typeof createDiscovery>;
    time: ReturnType<typeof createFakeTime>;
    api: ReturnType<typeof createScriptedApi>;
    found: object[];
    warnings: object[];
    stop: AbortController;
  }) => Promise<void>,
): Promise<void> {
  const time = createFakeTime();
  const api = createScriptedApi();
  api.answer = ({ path }) => {
    const known = served[path];
    if (known === undefined) return { status: 404 };
    return Array.isArray(known)
      ? { status: 200, body: { resources: known.map((name) => ({ name })) } }
      : (known as Answer);
  };
  const warnings: object[] = [];
  const found: object[] = [];
  const discovery = createDiscovery({
    transport: api.transport,
    log: {
      warn: (fields) => warnings.push(fields),
      info: (fields) => found.push((fields as { served: object }).served),
    },
    time,
  });
  const requests = find(discovery, podCertificateRequests);
  const bundles = find(discovery, clusterTrustBundles);
  const stop = new AbortController();
  const run = discovery.run(stop.signal);
  await settle();
  await body({ requests, bundles, discovery, time, api, found, warnings, stop });
  stop.abort();
  await run;
  assert.equal(time.pending(), 0);
}

const find = (discovery: ReturnType<typeof createDiscovery>, resource: ApiResource) =>
  discovery.find(resource);

describe('discovery', () => {
  const tables: [string, Record<string, readonly string[]>, requests: string[], bundles: string[]][] = [
    ['v1 alone', { v1: both }, ['v1'], ['v1']],
    ['v1 and v1beta1, v1 preferred', { v1beta1: both, v1: both }, ['v1', 'v1beta1'], ['v1', 'v1beta1']],
    ['v1beta1 alone', { v1beta1: both }, ['v1beta1'], ['v1beta1']],
    [
      'a version that is served for one of two resources only',
      { v1: ['certificatesigningrequests', 'clustertrustbundles'], v1beta1: both },
      ['v1beta1'],
      ['v1', 'v1beta1'],
    ],
    ['neither', { v1: ['certificatesigningrequests'] }, [], []],
  ];
  for (const [what, versions, ofRequests, ofBundles] of tables) {
    test(`discovery finds ${what}`, () =>
      withDiscovery(
        Object.fromEntries(
          Object.entries(versions).map(([each, names]) => [`${certificates}/${each}`, names]),
        ),
        async ({ requests, bundles }) => {
          assert.deepEqual([requests.versions(), bundles.versions()], [ofRequests, ofBundles]);
          assert.deepEqual([requests.isMissing(), bundles.isMissing()], [!ofRequests[0], !ofBundles[0]]);
        },
      ));
  }

  test('discovery finds a resource of another group that is installed later', async () => {
    const served: Record<string, readonly string[]> = { [`${certificates}/v1`]: both };
    await withDiscovery(served, async ({ discovery, requests, time, stop }) => {
      const added = find(discovery, registrations);
      assert.equal(added.versions(), undefined);
      discovery.rediscover();
      await settle();
      assert.ok(added.isMissing());
      served['/apis/kubespiffe.io/v1alpha1'] = ['workloadregistrations'];
      const waiting = added.whenServed(stop.signal);
      await time.advance(15_000);
      assert.deepEqual(await waiting, ['v1alpha1']);
      assert.deepEqual(requests.versions(), ['v1']);
    });
  });

  test('discovery warns once about each kind of problem while it keeps failing', () =>
    withDiscovery({}, async ({ api, time, warnings }) => {
      const problems: Answer[] = ['broken', { status: 503 }];
      api.answer = () => problems[Math.ceil(api.requests.length / 2) % 2] ?? 'broken';
      await time.advance(600_000);
      assert.equal(warnings.length, 2);
    }));

  test('discovery waits for a resource that is not served yet, and logs what it finds', async () => {
    const served: Record<string, readonly string[]> = { [`${certificates}/v1`]: [] };
    await withDiscovery(served, async ({ requests, time, found, stop }) => {
      let misses = 0;
      const waiting = requests.whenServed(stop.signal, () => {
        misses += 1;
      });
      await time.advance(60_000);
      assert.ok(misses > 1);
      served[`${certificates}/v1`] = both;
      await time.advance(15_000);
      assert.deepEqual(await waiting, ['v1']);
      assert.equal(found.length, 2);
    });
  });

  test('discovery asks an API server again that does not answer, and keeps the known versions', async () => {
    const served: Record<string, readonly string[] | Answer> = { [`${certificates}/v1`]: { status: 500 } };
    await withDiscovery(served, async ({ discovery, bundles, time, stop }) => {
      assert.equal(bundles.versions(), undefined);
      assert.equal(bundles.isMissing(), false);
      served[`${certificates}/v1`] = both;
      const waiting = bundles.whenServed(stop.signal);
      await time.advance(5000);
      assert.deepEqual(await waiting, ['v1']);
      assert.deepEqual(bundles.versions(), ['v1']);
      served[`${certificates}/v1`] = { status: 500 };
      discovery.rediscover();
      await time.advance(5000);
      assert.deepEqual(bundles.versions(), ['v1']);
    });
  });

  test('discovery looks again at once on request, and waiting callers get the new answer', async () => {
    const served: Record<string, readonly string[]> = { [`${certificates}/v1beta1`]: both };
    await withDiscovery(served, async ({ discovery, requests, stop }) => {
      delete served[`${certificates}/v1beta1`];
      served[`${certificates}/v1`] = both;
      discovery.rediscover();
      assert.deepEqual(await requests.whenServed(stop.signal), ['v1']);
    });
  });

  test('a thousand requests for discovery cost one look', () =>
    withDiscovery({ [`${certificates}/v1`]: both }, async ({ discovery, api }) => {
      const before = api.requests.length;
      for (let hint = 0; hint < 1000; hint += 1) discovery.rediscover();
      await settle();
      assert.equal(api.requests.length - before, 2);
    }));

  test('discovery looks rarely when nothing is missing', () =>
    withDiscovery({ [`${certificates}/v1`]: both }, async ({ api, time }) => {
      await time.advance(3_600_000);
      assert.ok(api.requests.length <= 2 * 15, `${api.requests.length} in an hour`);
    }));

  test('no caller of discovery waits after its end', () =>
    withDiscovery({}, async ({ requests, stop }) => {
      const waiting = requests.whenServed(stop.signal);
      stop.abort();
      assert.deepEqual(await waiting, []);
    }));
});
