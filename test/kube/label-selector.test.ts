import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createSelectorIndex, keysSelected, labelIndex } from '../../signer/kube/label-index.ts';
import {
  type LabelSelector,
  mismatch,
  readLabelSelector,
  selects,
  selectsAll,
  type WireLabelSelector,
} from '../../signer/kube/label-selector.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';

function selector(wire: WireLabelSelector): LabelSelector {
  const read = readLabelSelector(wire);
  assert.ok(read.ok);
  return read.value;
}

const expression = (operator: string, values?: string[]): WireLabelSelector => ({
  matchExpressions: [{ key: 'app', operator, ...(values && { values }) }],
});

describe('a label selector', () => {
  const rows: [string, WireLabelSelector, Record<string, string> | undefined, boolean][] = [
    ['no requirements', {}, undefined, true],
    ['matchLabels: the same value', { matchLabels: { app: 'web' } }, { app: 'web', tier: 'front' }, true],
    ['matchLabels: another value', { matchLabels: { app: 'web' } }, { app: 'api' }, false],
    ['matchLabels: all of several', { matchLabels: { app: 'web', tier: 'front' } }, { app: 'web' }, false],
    ['matchLabels: no labels at all', { matchLabels: { app: 'web' } }, undefined, false],
    ['a label named like a member of every object', { matchLabels: { constructor: 'x' } }, {}, false],
    ['In: one of the values', expression('In', ['web', 'api']), { app: 'api' }, true],
    ['In: a missing label', expression('In', ['web', 'api']), {}, false],
    ['In with one value', expression('In', ['web']), { app: 'web' }, true],
    ['NotIn: another value', expression('NotIn', ['web']), { app: 'api' }, true],
    ['NotIn: a missing label', expression('NotIn', ['web']), {}, true],
    ['NotIn: the value', expression('NotIn', ['web']), { app: 'web' }, false],
    ['Exists', expression('Exists'), { app: '' }, true],
    ['Exists: a missing label', expression('Exists'), {}, false],
    ['DoesNotExist', expression('DoesNotExist'), {}, true],
    ['DoesNotExist: the label is present', expression('DoesNotExist'), { app: '' }, false],
  ];
  for (const [name, wire, labels, selected] of rows) {
    it(`a label selector ${selected ? 'selects' : 'does not select'} by ${name}`, () => {
      assert.equal(selects(selector(wire), labels), selected);
      assert.equal(mismatch(selector(wire), labels) === undefined, selected);
    });
  }

  const bad: [string, WireLabelSelector, RegExp][] = [
    ['an unknown operator', expression('Like', ['x']), /"Like".*use In, NotIn/],
    ['In without values', expression('In', []), /needs values/],
    ['NotIn without values', expression('NotIn'), /needs values/],
    ['Exists with values', expression('Exists', ['x']), /takes no values/],
  ];
  for (const [name, wire, reason] of bad) {
    it(`a label selector is refused with ${name}`, () => {
      const read = readLabelSelector(wire);
      assert.ok(!read.ok);
      assert.match(read.reason, reason);
    });
  }

  it('a label selector reports which label does not match', () => {
    const web = selector({ matchLabels: { app: 'web' } });
    assert.equal(mismatch(web, {}), 'the pod lacks the label app=web');
    assert.equal(
      mismatch(web, { app: 'api' }),
      'the pod has the label app=api, and the selector needs app=web',
    );
  });
});

const name = fc.constantFrom('app', 'tier', 'pod-template-hash');
const value = fc.constantFrom('a', 'b', '');
const labels = fc.option(fc.dictionary(name, value), { nil: undefined });
const anySelector = fc.oneof(
  fc.constant(selectsAll),
  fc
    .record({
      matchLabels: fc.dictionary(name, value, { maxKeys: 2 }),
      matchExpressions: fc.array(
        fc.record({ key: name, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
        { maxLength: 1 },
      ),
    })
    .map(selector),
);
const namespace = fc.constantFrom('shop', 'bank');

describe('the index of labels', () => {
  it('the index of labels finds the same objects as a comparison with each', () => {
    const object = fc.record({ namespace, labels });
    fc.assert(
      fc.property(fc.array(object), anySelector, namespace, (objects, wanted, place) => {
        const store = createStore<{ labels?: Record<string, string> }>({
          time: realTime,
          indexes: { label: labelIndex },
        });
        const keys = objects.map((each, index) => `${each.namespace}/${index}`);
        objects.forEach((each, index) => {
          store.set(keys[index] ?? '', each.labels ? { labels: each.labels } : {});
        });
        const expected = keys.filter(
          (_, index) => objects[index]?.namespace === place && selects(wanted, objects[index].labels),
        );
        assert.deepEqual(new Set(keysSelected(store, place, wanted)), new Set(expected));
      }),
    );
  });
});

describe('the index of selectors', () => {
  it('the index of selectors finds the same objects as a comparison with each, after any changes', () => {
    const key = fc.constantFrom('1', '2', '3', '4');
    const entry = fc.record({ namespace: fc.constantFrom('shop', 'bank', ''), selector: anySelector });
    const step = fc.tuple(key, fc.option(entry, { nil: undefined }));
    fc.assert(
      fc.property(fc.array(step), labels, namespace, (steps, wanted, place) => {
        const index = createSelectorIndex<string>();
        const model = new Map<string, { namespace: string; selector: LabelSelector }>();
        for (const [each, change] of steps) {
          if (change) {
            index.set(each, { ...change, object: each });
            model.set(each, change);
          } else {
            index.delete(each);
            model.delete(each);
          }
        }
        const expected = [...model].filter(
          ([, { namespace: where, selector: by }]) =>
            (where === '' || where === place) && selects(by, wanted),
        );
        assert.equal(index.size, model.size);
        assert.deepEqual(index.selecting(place, wanted).sort(), expected.map(([each]) => each).sort());
      }),
    );
  });

  for (const [name, shared] of [
    ['that require one label', {}],
    ['that all require another label too', { team: 'shop' }],
  ] as const) {
    it(`the index of selectors compares a pod only with possible matches among 1,000 ${name}`, () => {
      const index = createSelectorIndex<number>();
      let compared = 0;
      const counting = (app: string): LabelSelector => ({
        equal: [...Object.entries(shared), ['app', app]],
        get expressions() {
          compared += 1;
          return [];
        },
      });
      for (let each = 0; each < 1_000; each += 1) {
        index.set(String(each), { namespace: 'shop', selector: counting(`app-${each}`), object: each });
      }
      compared = 0;
      assert.deepEqual(index.selecting('shop', { ...shared, app: 'app-7', tier: 'front' }), [7]);
      assert.ok(compared <= 2, `compared with ${compared}`);
    });
  }
});
