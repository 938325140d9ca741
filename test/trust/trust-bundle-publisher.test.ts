import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { poolProblem } from '../../signer/authority/problem.ts';
import type { PoolView } from '../../signer/authority/view.ts';
import { createStore, type Store } from '../../signer/kube/store.ts';
import type { ClusterTrustBundle } from '../../signer/kube/types.ts';
import { type ObservedBundle, toObservedBundle } from '../../signer/trust/bundle.ts';
import { bundleVisibility, poolBundles } from '../../signer/trust/pool-bundles.ts';
import type { RootVisibility } from '../../signer/trust/root-visibility.ts';
import { createTrustBundlePublisher } from '../../signer/trust/trust-bundle-publisher.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { createFakeTime, type FakeTime, settle } from '../kube/fake-time.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';
import { onlyMember } from './membership.ts';

const trustDomain = 'example.org';
const bundleName = 'kubespiffe.io:spiffe:roots';
const now = Math.floor(Date.now() / 1000);
const foreign: ObservedBundle = {
  name: 'kubespiffe.io:spiffe:partner',
  resourceVersion: '1',
  labels: {},
  annotations: {},
  roots: new Set(['partner']),
  ends: new Map(),
};
const missing = poolProblem('PoolMissing', 'pool', 'there is no such Secret', 'make it');

function compile(sequence: number, ...authorities: readonly AuthorityRecord[]): Pool {
  const compiled = compilePool({ ...newPool(trustDomain), sequence, authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

interface Scene {
  readonly visibility: RootVisibility;
  readonly published: Store<ObservedBundle>;
  readonly time: FakeTime;
  /** Whether the bundle is shown by the watch as soon as it is written. */
  isWatched: boolean;
  /** What the API server says to a write. */
  answer: Answer;
  /** The live bundle of the API server that the watch does not show yet. */
  hidden: ObservedBundle | undefined;
  /** What this replica remembers, and what a live read gives. */
  remembered: Pool;
  live: Awaited<ReturnType<PoolView['readLive']>>;
  /** The live bundles that were sent to the API server, and the preview bundles. */
  readonly written: ClusterTrustBundle[];
  readonly previews: ClusterTrustBundle[];
  look(): Promise<void>;
}

describe('the publisher of trust bundles', () => {
  let older: Pool;
  let newer: Pool;
  let inPreview: Pool;
  let retired: AuthorityRecord[];
  let three: AuthorityRecord[];
  before(async () => {
    const a = await createAuthority({ id: 'a', trustDomain, now });
    const b = await createAuthority({ id: 'b', trustDomain, now });
    older = compile(1, a);
    newer = compile(2, a, { ...b, state: 'trusted' });
    const c = await createAuthority({ id: 'c', trustDomain, now });
    three = [a, { ...b, state: 'trusted' }, { ...c, state: 'trusted' }];
    retired = [a, { ...b, state: 'retired' }];
    inPreview = compile(3, a, { ...b, state: 'preview' });
  });

  /** @param rank of this replica; `unread` for the first one while the bundles of the cluster are not read yet. */
  async function withPublisher(rank: number | 'unread', act: (scene: Scene) => Promise<void>): Promise<void> {
    const time = createFakeTime();
    const published = createStore<ObservedBundle>({ time });
    if (rank !== 'unread') published.replace([]);
    const api = createScriptedApi();
    let poolChanged = () => {};
    const view: Pick<PoolView, 'current' | 'readLive' | 'onChange'> = {
      current: () => scene.remembered,
      readLive: async () => scene.live,
      onChange: (listener) => {
        poolChanged = listener;
      },
    };
    const publisher = createTrustBundlePublisher({
      source: poolBundles(view, { signerName: 'kubespiffe.io/spiffe', suffix: 'roots', trustDomain }, () =>
        Math.ceil(time.now() / 1000),
      ),
      observed: published,
      transport: api.transport,
      servedVersion: () => 'v1',
      membership: onlyMember,
      rankFor: () => (rank === 'unread' ? 0 : rank),
      takeoverDelayMs: 1_000,
      time,
      log: { info: () => {}, warn: () => {} },
    });
    const scene: Scene = {
      visibility: bundleVisibility(bundleName, published, publisher),
      published,
      time,
      isWatched: true,
      answer: { status: 200 },
      hidden: undefined,
      remembered: older,
      live: { ok: true, pool: older },
      written: [],
      previews: [],
      look: async () => {
        poolChanged();
        await settle();
      },
    };
    api.answer = (request) => {
      assert.equal(request.method, 'PATCH');
      const body = request.body as ClusterTrustBundle;
      const { name, resourceVersion } = body.metadata;
      if (name === scene.hidden?.name && (resourceVersion ?? hiddenVersion) !== hiddenVersion)
        return conflict;
      (name === bundleName ? scene.written : scene.previews).push(body);
      if (scene.isWatched && scene.answer === taken) published.set(name, toObservedBundle(body));
      return scene.answer;
    };
    scene.answer = taken;
    const stop = new AbortController();
    const running = publisher.run(stop.signal);
    await settle();
    await act(scene);
    stop.abort();
    await running;
  }
  const taken: Answer = { status: 200 };
  const conflict: Answer = { status: 409, body: { kind: 'Status', reason: 'Conflict' } };
  const hiddenVersion = '7';
  const rootsOf = (wire: ClusterTrustBundle | undefined) => wire && toObservedBundle(wire).roots;
  const fingerprints = (pool: Pool) => new Set(pool.roots.map(({ sha256Hex }) => sha256Hex));
  const activeRoot = (pool: Pool) => pool.active?.root ?? assert.fail('it has an active authority');

  it('the publisher writes a missing bundle once, and reports what it has seen', () =>
    withPublisher(0, async ({ visibility, written, time }) => {
      assert.equal(written.length, 1);
      assert.deepEqual(rootsOf(written[0]), fingerprints(older));
      assert.ok(visibility.isVisible(activeRoot(older)));
      await time.advance(120_000);
      assert.equal(written.length, 1);
      assert.equal(visibility.problem(), undefined);
    }));

  it('the publisher writes nothing before the bundles of the cluster are read', () =>
    withPublisher('unread', async ({ written, published, time, visibility }) => {
      await time.advance(10_000);
      assert.equal(written.length, 0);
      assert.equal(visibility.problem(), 'the ClusterTrustBundles are not read yet');
      published.replace([]);
      await settle();
      assert.equal(written.length, 1);
    }));

  it('the publisher shows a root in preview only in the preview bundle, beside the live roots', () =>
    withPublisher(0, async (scene) => {
      assert.deepEqual(rootsOf(scene.previews.at(-1)), fingerprints(older));
      scene.remembered = inPreview;
      scene.live = { ok: true, pool: inPreview };
      await scene.look();
      await scene.time.advance(2_000);
      assert.deepEqual(rootsOf(scene.previews.at(-1)), fingerprints(newer));
      assert.equal(scene.previews.at(-1)?.metadata.labels?.['k8s.spiffe.io/canarying'], 'preview');
      assert.deepEqual(rootsOf(scene.written.at(-1)), fingerprints(older));
      scene.remembered = compile(4, ...retired);
      scene.live = { ok: true, pool: scene.remembered };
      await scene.look();
      await scene.time.advance(2_000);
      assert.deepEqual(rootsOf(scene.previews.at(-1)), fingerprints(older));
    }));

  it('the publisher records when a root was added to a live bundle, and keeps that time in later writes', () =>
    withPublisher(0, async (scene) => {
      const times = () => scene.written.at(-1)?.metadata.annotations?.['kubespiffe.io/added-at'];
      const [first] = fingerprints(older);
      const began = `${first}=${rfc3339(Math.ceil(scene.time.now() / 1000))}`;
      assert.equal(times(), began, 'the root that the bundle begins with');
      await scene.time.advance(60_000);
      const at = Math.ceil(scene.time.now() / 1000);
      scene.remembered = newer;
      scene.live = { ok: true, pool: newer };
      await scene.look();
      await scene.time.advance(2_000);
      const [added] = fingerprints(newer).difference(fingerprints(older));
      assert.equal(times(), `${began} ${added}=${rfc3339(at)}`);
      scene.remembered = compile(5, ...three);
      scene.live = { ok: true, pool: scene.remembered };
      await scene.look();
      await scene.time.advance(60_000);
      assert.match(times() ?? '', new RegExp(`^${began} ${added}=${rfc3339(at)} [0-9a-f]{64}=`));
    }));

  it('the publisher leaves bundles alone that are not desired', () =>
    withPublisher(0, async ({ previews, written, published, time }) => {
      const before = previews.length + written.length;
      published.set(foreign.name, foreign);
      published.delete(foreign.name);
      await time.advance(2_000);
      assert.equal(previews.length + written.length, before);
    }));

  it('the publisher writes the current content of the Secret, so that an old view removes no root', () =>
    withPublisher(0, async (scene) => {
      scene.live = { ok: true, pool: newer };
      scene.published.delete(bundleName);
      await scene.time.advance(2_000);
      assert.deepEqual(rootsOf(scene.written.at(-1)), fingerprints(newer));
    }));

  it('the publisher overwrites no bundle that another replica created after this one saw none', () =>
    withPublisher(0, async (scene) => {
      scene.remembered = newer;
      scene.live = { ok: true, pool: newer };
      await scene.look();
      await scene.time.advance(2_000);
      const created = {
        ...scene.published.get(bundleName),
        resourceVersion: hiddenVersion,
      } as ObservedBundle;
      assert.deepEqual(created.roots, fingerprints(newer));
      const count = scene.written.length;
      scene.hidden = created;
      scene.remembered = older;
      scene.live = { ok: true, pool: older };
      scene.published.delete(bundleName);
      await scene.time.advance(10_000);
      assert.equal(scene.written.length, count);
      assert.match(scene.visibility.problem() ?? '', /the bundle is missing: .*409/);

      scene.remembered = newer;
      scene.live = { ok: true, pool: newer };
      scene.published.set(bundleName, created);
      await scene.time.advance(60_000);
      assert.equal(scene.written.length, count);
      assert.equal(scene.visibility.problem(), undefined);
    }));

  it('the publisher leaves a bundle unchanged that equals the current Secret, although its own view is older', () =>
    withPublisher(0, async (scene) => {
      scene.remembered = newer;
      scene.live = { ok: true, pool: newer };
      await scene.look();
      await scene.time.advance(2_000);
      const count = scene.written.length;
      scene.remembered = older;
      await scene.look();
      await scene.time.advance(60_000);
      assert.equal(scene.written.length, count);
      assert.deepEqual(scene.published.get(bundleName)?.roots, fingerprints(newer));
    }));

  it('the publisher writes nothing from memory while the pool is unusable, and reports why', () =>
    withPublisher(0, async (scene) => {
      scene.live = { ok: false, problem: missing };
      scene.published.delete(bundleName);
      await scene.time.advance(60_000);
      assert.equal(scene.written.length, 1);
      assert.match(scene.visibility.problem() ?? '', /the bundle is missing: pool: there is no such Secret/);
      assert.equal(scene.visibility.isVisible(activeRoot(older)), false);
      scene.live = { ok: true, pool: older };
      await scene.time.advance(60_000);
      assert.equal(scene.written.length, 2);
    }));

  it('the publisher counts a root as published only when its own watch shows it, not when it was written', () =>
    withPublisher(0, async (scene) => {
      scene.isWatched = false;
      scene.published.delete(bundleName);
      await scene.time.advance(2_000);
      assert.ok(scene.written.length >= 2);
      assert.equal(scene.visibility.isVisible(activeRoot(older)), false);
    }));

  it('the publisher reports why the API server refused a bundle', () =>
    withPublisher(0, async (scene) => {
      scene.answer = { status: 403, body: { kind: 'Status', message: 'may not attest' } };
      scene.published.delete(bundleName);
      await scene.time.advance(2_000);
      assert.match(scene.visibility.problem() ?? '', /the bundle is missing: .*may not attest/);
    }));

  it('the publisher leaves the write to the first in rank, and writes after the delay', () =>
    withPublisher(1, async ({ written, time }) => {
      await time.advance(900);
      assert.equal(written.length, 0);
      await time.advance(200);
      assert.equal(written.length, 1);
    }));
});
