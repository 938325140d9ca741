import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Pool } from '../../signer/authority/pool.ts';
import { markOf, type PoolMark } from '../../signer/authority/sequence.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { ObservedBundle } from '../../signer/trust/bundle.ts';
import {
  bundleMark,
  createPublication,
  followBundleMark,
  nextBundleMark,
} from '../../signer/trust/publication.ts';
import { noSiblings, type Siblings, withoutFederation } from '../../signer/trust/siblings.ts';

/** A pool of which only the sequence and what is published counts here. */
const poolOf = (sequence: number, ...roots: string[]): Pool =>
  ({ sequence, roots: roots.map((sha256Hex) => ({ sha256Hex })), jwt: [] }) as unknown as Pool;
const siblingsOf = (content: string): Siblings => (content === '' ? noSiblings : { ...noSiblings, content });
const bundleWith = (annotations: Record<string, string>): ObservedBundle => ({
  ...{ name: 'live', resourceVersion: '1', labels: {}, annotations },
  ...{ roots: new Set(), ends: new Map() },
});

describe('what is published for a trust domain', () => {
  it('the publication of one cluster is the pool with its own sequence, and needs no annotation', () => {
    const pool = poolOf(7, 'a');
    const publication = createPublication(() => pool, withoutFederation, {
      mark: () => undefined,
      isMissing: () => false,
      isRead: () => true,
    });
    assert.equal(publication.current()?.sequence, 7);
    assert.equal(publication.current(), publication.current(), 'it is made once');
    assert.equal(nextBundleMark(pool, noSiblings, undefined), undefined);
  });

  it('the publication is only the pool if no ClusterTrustBundles are served', () => {
    const federated = { ...withoutFederation, siblings: () => siblingsOf('other') };
    const live = { mark: () => undefined, isMissing: () => true, isRead: () => true };
    assert.equal(createPublication(() => poolOf(7), federated, live).current()?.siblings, noSiblings);
  });

  it('the publication waits for the live bundle, which may have a higher sequence than the pool', () => {
    const pool = poolOf(7);
    const bundles = createStore<ObservedBundle>({ time: realTime });
    const { current } = createPublication(() => pool, withoutFederation, {
      mark: followBundleMark(bundles, 'live'),
      isMissing: () => false,
      isRead: bundles.isSynced,
    });
    assert.equal(current(), undefined);
    // There were other clusters once.
    const mark = nextBundleMark(pool, noSiblings, { sequence: 1_000_010, content: 'older' });
    bundles.replace([['live', bundleWith(bundleMark.annotationsOf(mark ?? assert.fail()))]]);
    assert.equal(current()?.sequence, 1_000_011);
  });

  it('the publication says what is missing while there is none', () => {
    const seen: { pool?: Pool; siblings?: Siblings; isRead?: boolean; mark?: PoolMark } = {};
    const { current, problem } = createPublication(
      () => seen.pool,
      { ...withoutFederation, siblings: () => seen.siblings },
      { mark: () => seen.mark, isMissing: () => false, isRead: () => seen.isRead ?? false },
    );
    const none = () => assert.equal(current(), undefined);
    none();
    assert.equal(problem(), 'the pool was not read yet');
    seen.pool = poolOf(7);
    none();
    assert.equal(problem(), 'the FederatedTrustDomains were not read yet');
    seen.siblings = siblingsOf('other');
    none();
    assert.equal(problem(), 'the ClusterTrustBundles were not read yet');
    seen.isRead = true;
    none();
    assert.equal(problem(), 'the sequence of the bundle is not in its ClusterTrustBundle yet');
    seen.mark = nextBundleMark(seen.pool, seen.siblings, undefined) ?? assert.fail();
    assert.equal(problem(), undefined);
    assert.equal(current()?.sequence, seen.mark.sequence);
  });

  for (const text of ['-1', '1e9', '9'.repeat(16), '9007199254740992', 'x']) {
    it(`the publication ignores the sequence ${text} that another client wrote into the bundle`, () => {
      const annotations = { ...bundleMark.annotationsOf({ sequence: 1, content: 'x' }) };
      const [key = ''] = Object.keys(annotations);
      assert.equal(bundleMark.read(bundleWith({ ...annotations, [key]: text })), undefined);
    });
  }

  it('the publication remembers the highest mark of the live bundle, and no content that was seen beside another', () => {
    const bundles = createStore<ObservedBundle>({ time: realTime });
    const mark = followBundleMark(bundles, 'live');
    const show = (sequence: number, content: string) =>
      bundles.set('live', bundleWith(bundleMark.annotationsOf({ sequence, content })));
    show(7, 'x');
    bundles.delete('live');
    assert.deepEqual(mark(), { sequence: 7, content: 'x' });
    show(5, 'y');
    bundles.set('other', bundleWith(bundleMark.annotationsOf({ sequence: 9, content: 'z' })));
    assert.deepEqual(mark(), { sequence: 7, content: 'x' });
    show(7, 'y');
    bundles.set('live', bundleWith({}));
    assert.deepEqual(mark(), { sequence: 7, content: 'several' });
    show(999_999_999_999, 'z');
    assert.deepEqual(mark(), { sequence: 999_999_999_999, content: 'z' });
    bundles.delete('live');
    assert.deepEqual(mark(), { sequence: 7, content: 'several' });
  });

  /**
   * Two replicas that see everything at moments of their own, one object that they write by compare-and-swap and that
   * is deleted, and a reader that asks either of them. A replica that starts while the object is gone knows no
   * mark, so none starts before it is written again.
   */
  it('the publication never has one sequence for different content, and readers never see it decrease', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('pool' as const), root: fc.constantFrom('a', 'b', 'c') }),
      fc.record({ kind: fc.constant('siblings' as const), content: fc.constantFrom('', 'x', 'y') }),
      fc.record({ kind: fc.constant('see' as const), replica: fc.nat(1), what: fc.nat(2) }),
      fc.record({ kind: fc.constant('write' as const), replica: fc.nat(1) }),
      fc.record({ kind: fc.constant('restart' as const), replica: fc.nat(1) }),
      fc.record({ kind: fc.constantFrom('delete' as const, 'strip' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        let pool = poolOf(1, 'a');
        let siblings = noSiblings;
        const history: (ObservedBundle | undefined)[] = [bundleWith({})];
        let hasMark = false;
        let isLost = false;
        const start = (seen: { pool: Pool; siblings: Siblings | undefined }) => {
          const bundles = createStore<ObservedBundle>({ time: realTime });
          let version = history.length - 1;
          const show = (bundle = history[version]) =>
            bundle ? bundles.set('live', bundle) : bundles.delete('live');
          const mark = followBundleMark(bundles, 'live');
          show();
          return {
            ...{ seen, mark, isCurrent: () => version === history.length - 1 },
            // A watch shows every version, in order.
            watch() {
              while (version < history.length - 1) show(history[++version]);
            },
            read: createPublication(
              () => seen.pool,
              { ...withoutFederation, siblings: () => seen.siblings },
              { mark, isMissing: () => false, isRead: () => true },
            ),
          };
        };
        const replicas = [0, 1].map(() => start({ pool, siblings }));
        const contents = new Map<number, string>();
        const highest = [0, 0];
        for (const each of steps) {
          if (each.kind === 'pool') pool = poolOf(pool.sequence + 1, each.root);
          if (each.kind === 'siblings') siblings = siblingsOf(each.content);
          if (each.kind === 'delete' || each.kind === 'strip') {
            history.push(each.kind === 'delete' ? undefined : bundleWith({}));
            isLost = hasMark;
          }
          if (!('replica' in each)) continue;
          const replica = replicas[each.replica];
          assert.ok(replica);
          const { seen } = replica;
          if (each.kind === 'see') {
            if (each.what === 0) seen.pool = pool;
            if (each.what === 1) seen.siblings = siblings;
            if (each.what === 2) replica.watch();
          }
          if (each.kind === 'write' && seen.siblings && replica.isCurrent()) {
            const mark = nextBundleMark(seen.pool, seen.siblings, replica.mark());
            history.push(bundleWith(mark ? bundleMark.annotationsOf(mark) : {}));
            hasMark ||= mark !== undefined;
            isLost &&= mark === undefined;
          }
          // It lists everything before it serves.
          if (each.kind === 'restart' && !isLost) {
            replicas[each.replica] = start({ pool, siblings });
            highest[each.replica] = 0;
          }
          const published = replicas[each.replica]?.read.current();
          if (!published) continue;
          const content = `${markOf(published.pool).content} ${published.siblings.content}`;
          const known = contents.get(published.sequence) ?? content;
          assert.equal(known, content, `sequence ${published.sequence} of two contents`);
          contents.set(published.sequence, content);
          assert.ok(published.sequence >= (highest[each.replica] ?? 0), 'the sequence went back');
          highest[each.replica] = published.sequence;
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
