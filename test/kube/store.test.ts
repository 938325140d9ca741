import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Change, createStore } from '../../signer/kube/store.ts';
import { timeWith } from './fake-time.ts';

interface Thing {
  readonly color: string | undefined;
  readonly size: number;
}

function makeStore() {
  let now = 0;
  const changes: Change<Thing>[] = [];
  const store = createStore<Thing>({
    indexes: { color: ({ color }) => color },
    time: timeWith({ monotonic: () => now }),
  });
  store.subscribe((change) => changes.push(change));
  return {
    store,
    changes,
    moveTo: (ms: number) => {
      now = ms;
    },
  };
}

describe('store', () => {
  test('a store is synced by the first complete list', async () => {
    const { store } = makeStore();
    store.set('a', { color: 'red', size: 1 });
    assert.equal(store.isSynced(), false);
    store.replace([]);
    assert.equal(store.isSynced(), true);
    await store.synced;
    assert.equal(store.size, 0);
  });

  test('a store reports what a list deleted, with the previous object', () => {
    const { store, changes } = makeStore();
    const red = { color: 'red', size: 1 };
    const blue = { color: 'blue', size: 2 };
    store.replace([
      ['a', red],
      ['b', red],
    ]);
    changes.length = 0;
    store.replace([['b', blue]]);
    assert.deepEqual(changes, [
      { type: 'delete', key: 'a', object: red, previous: red },
      { type: 'set', key: 'b', object: blue, previous: red },
    ]);
  });

  test('a listener that throws stops neither the other listeners nor the rest of a list', () => {
    const { store } = makeStore();
    const seen: string[] = [];
    store.subscribe(({ key }) => {
      if (key !== 'b') throw new Error(`no ${key}`);
    });
    store.subscribe(({ type, key }) => seen.push(`${type} ${key}`));
    const red = { color: 'red', size: 1 };
    const list = () => store.replace(['a', 'b', 'c'].map((key) => [key, red] as const));
    assert.throws(list, /2 calls of a listener failed, the first with: no a/);
    assert.equal(store.isSynced(), true);
    assert.throws(() => store.set('d', red), /no d/);
    assert.throws(() => store.delete('a'), /no a/);
    store.set('b', red);
    assert.deepEqual([...store.keys()], ['b', 'c', 'd']);
    assert.deepEqual(seen, ['set a', 'set b', 'set c', 'set d', 'delete a', 'set b']);
  });

  test('a store notes every contact on the monotonic clock', () => {
    const { store, moveTo } = makeStore();
    assert.equal(store.lastContact(), Number.NEGATIVE_INFINITY);
    const contacts: [number, () => void][] = [
      [1, () => store.replace([])],
      [2, () => store.set('a', { color: 'red', size: 1 })],
      [3, () => store.delete('a')],
      [4, () => store.delete('never there')],
      [5, () => store.touch()],
    ];
    for (const [at, contact] of contacts) {
      moveTo(at);
      contact();
      assert.equal(store.lastContact(), at);
    }
  });

  test('a listener that was removed is not called again', () => {
    const { store } = makeStore();
    let heard = 0;
    const end = store.subscribe(() => {
      heard += 1;
    });
    store.set('a', { color: 'red', size: 1 });
    end();
    store.delete('a');
    assert.equal(heard, 1);
  });

  test('a store reports nothing when an unknown key is deleted', () => {
    const { store, changes } = makeStore();
    store.delete('a');
    assert.deepEqual(changes, []);
  });

  test('the indexes of a store always agree with its objects', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const thing = fc.record({
      color: fc.constantFrom('red', 'blue', 'green', undefined),
      size: fc.nat(),
    });
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), key, thing }),
      fc.record({ do: fc.constant('delete' as const), key }),
      fc.record({ do: fc.constant('replace' as const), items: fc.array(fc.tuple(key, thing)) }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const { store } = makeStore();
        const model = new Map<string, Thing>();
        for (const next of steps) {
          if (next.do === 'set') {
            store.set(next.key, next.thing);
            model.set(next.key, next.thing);
          } else if (next.do === 'delete') {
            store.delete(next.key);
            model.delete(next.key);
          } else {
            store.replace(next.items);
            model.clear();
            for (const [name, thing] of next.items) model.set(name, thing);
          }
        }
        assert.equal(store.size, model.size);
        for (const color of ['red', 'blue', 'green']) {
          assert.deepEqual(
            new Set(store.by('color', color)),
            new Set([...model.values()].filter((thing) => thing.color === color)),
          );
        }
        assert.deepEqual(store.by('no such index', 'red'), []);
      }),
    );
  });
});
