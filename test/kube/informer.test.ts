import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createDiscovery } from '../../signer/kube/discovery.ts';
import { createInformer, type InformerSpec } from '../../signer/kube/informer.ts';
import type { ObjectMeta } from '../../signer/kube/types.ts';
import { createFakeTime, settle } from './fake-time.ts';
import { createScriptedApi } from './scripted-api.ts';

const registrations: InformerSpec<{ metadata: ObjectMeta }, string> = {
  resource: {
    group: 'kubespiffe.io',
    versions: ['v1beta1', 'v1alpha1'],
    name: 'registrations',
    mayBeMissing: true,
  },
  namespace: 'shop',
  labelSelector: 'team=a',
  fields: { metadata: true },
  project: ({ metadata }, version) => `${metadata.name} of ${version}`,
};

/** @param served the versions that the API server serves, or `unknown` while it does not answer. */
async function withInformer(
  spec: InformerSpec<{ metadata: ObjectMeta }, string>,
  served: string[],
  body: (world: {
    informer: ReturnType<typeof createInformer<{ metadata: ObjectMeta }, string>>;
    api: ReturnType<typeof createScriptedApi>;
    time: ReturnType<typeof createFakeTime>;
  }) => Promise<void>,
): Promise<void> {
  const time = createFakeTime();
  const api = createScriptedApi();
  api.answer = ({ path }) => {
    const [, , group, version, ...place] = path.split('/');
    if (group !== 'kubespiffe.io') {
      return {
        status: 200,
        body: { metadata: { resourceVersion: '7' }, items: [{ metadata: { name: 'a' } }] },
      };
    }
    if (served.includes('unknown')) return { status: 503 };
    if (version === undefined || !served.includes(version)) return { status: 404 };
    if (place.length === 0) return { status: 200, body: { resources: [{ name: 'registrations' }] } };
    return {
      status: 200,
      body: { metadata: { resourceVersion: '7' }, items: [{ metadata: { name: 'a' } }] },
    };
  };
  const log = { warn: () => undefined, debug: () => undefined, info: () => undefined };
  const needs = { transport: api.transport, log, time };
  const discovery = createDiscovery(needs);
  const informer = createInformer({ ...needs, discovery }, spec);
  const stop = new AbortController();
  const running = Promise.all([discovery.run(stop.signal), informer.run(stop.signal)]);
  await settle();
  await body({ informer, api, time });
  stop.abort();
  await running;
}

const contentOf = ({ store }: { store: { values(): Iterable<string> } }) => [...store.values()];

describe('an informer', () => {
  it('an informer asks for what its declaration selects, in the namespace and the group of the resource', () =>
    withInformer(
      {
        ...registrations,
        resource: { group: '', versions: ['v1'], name: 'services' },
        name: 'web',
      },
      [],
      async ({ api, informer }) => {
        await informer.synced;
        assert.deepEqual(contentOf(informer), ['a of v1']);
        assert.deepEqual(informer.versions(), ['v1']);
        const [list] = api.requests;
        assert.equal(list?.path, '/api/v1/namespaces/shop/services');
        assert.partialDeepStrictEqual(list?.query, {
          fieldSelector: 'metadata.name=web',
          labelSelector: 'team=a',
        });
      },
    ));

  it('an informer is empty and synced while its resource is not served, and fills when it is', async () => {
    const served: string[] = [];
    await withInformer(registrations, served, async ({ informer, time }) => {
      await informer.synced;
      assert.equal(informer.isMissing(), true);
      assert.deepEqual(contentOf(informer), []);
      served.push('v1alpha1');
      await time.advance(15_000);
      assert.deepEqual(contentOf(informer), ['a of v1alpha1']);
      assert.deepEqual(informer.versions(), ['v1alpha1']);
    });
  });

  it('an informer is empty again when its resource is not served any more', async () => {
    const served: string[] = [];
    await withInformer(registrations, served, async ({ informer, api, time }) => {
      served.push('v1beta1');
      await time.advance(15_000);
      assert.deepEqual(contentOf(informer), ['a of v1beta1']);
      served.pop();
      api.refuseWatch = () => ({ status: 404 });
      api.watches.at(-1)?.close();
      await time.advance(30_000);
      assert.deepEqual(contentOf(informer), []);
      assert.equal(informer.isMissing(), true);
      assert.equal(informer.store.isSynced(), true);
    });
  });

  it('an informer counts as unlisted until its list has come, if its resource is served again', async () => {
    const served: string[] = [];
    await withInformer(registrations, served, async ({ informer, api, time }) => {
      const list = Promise.withResolvers<void>();
      const { answer } = api;
      api.answer = async (request) => {
        const isList = request.path.endsWith('/registrations');
        if (isList) await list.promise;
        return isList
          ? { status: 200, body: { metadata: { resourceVersion: '7' }, items: [] } }
          : answer(request);
      };
      served.push('v1alpha1');
      await time.advance(15_000);
      assert.deepEqual([informer.isMissing(), informer.isUnlisted()], [false, true]);
      list.resolve();
      await settle();
      assert.equal(informer.isUnlisted(), false);
    });
  });

  it('an informer is not synced while it is unknown if its resource is served', async () => {
    const served = ['unknown'];
    await withInformer(registrations, served, async ({ informer, time }) => {
      await time.advance(60_000);
      assert.equal(informer.store.isSynced(), false);
      assert.equal(informer.versions(), undefined);
      assert.equal(informer.isMissing(), false);
      served.pop();
      await time.advance(15_000);
      assert.equal(informer.store.isSynced(), true);
    });
  });
});
