import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { factsOf, joinFacts, podFacts } from '../../signer/identity/facts.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { aPod } from '../issuance/examples.ts';

describe('the facts of a pod', () => {
  const rows: [change: string, different: Partial<PodFacts>, isReported: boolean][] = [
    ['another UID', { uid: 'successor' }, true],
    ['another ServiceAccount', { serviceAccountName: 'other' }, true],
    ['a node', { nodeName: 'node-2' }, true],
    ['its end', { finished: 'Succeeded' }, true],
    ['a deletion that has begun', { deletesAt: 1 }, false],
    ['nothing', {}, false],
  ];
  for (const [change, different, isReported] of rows) {
    it(`the facts of a pod ${isReported ? 'change' : 'do not change'} with ${change}`, () => {
      const pods = createStore<PodFacts>({ time: realTime });
      const changed: string[] = [];
      podFacts(pods).onChange((podKey) => changed.push(podKey));
      pods.set('shop/web-0', aPod());
      pods.set('shop/web-0', aPod(different));
      assert.deepEqual(changed, Array(isReported ? 2 : 1).fill('shop/web-0'));
    });
  }

  it('the facts of a pod change when it is deleted', () => {
    const pods = createStore<PodFacts>({ time: realTime });
    pods.set('shop/web-0', aPod());
    const changed: string[] = [];
    podFacts(pods).onChange((podKey) => changed.push(podKey));
    pods.delete('shop/web-0');
    assert.deepEqual(changed, ['shop/web-0']);
  });
});

describe('facts in other objects', () => {
  it('the facts change for the pods that an object names, and for those that it named before', () => {
    const slices = createStore<readonly string[]>({ time: realTime });
    const changed: string[] = [];
    factsOf(slices, (pods) => pods).onChange((podKey) => changed.push(podKey));
    slices.set('shop/web-1', ['shop/web-0', 'shop/web-1']);
    slices.set('shop/web-1', ['shop/web-1', 'shop/web-2']);
    slices.delete('shop/web-1');
    assert.deepEqual(changed, [
      ...['shop/web-0', 'shop/web-1'],
      ...['shop/web-0', 'shop/web-1', 'shop/web-2'],
      ...['shop/web-1', 'shop/web-2'],
    ]);
  });

  it('the facts do not change when an object is set again as it was', () => {
    const slices = createStore<readonly string[]>({ time: realTime });
    slices.set('shop/web-1', ['shop/web-0']);
    const changed: string[] = [];
    factsOf(slices, (pods) => pods).onChange((podKey) => changed.push(podKey));
    slices.replace([['shop/web-1', ['shop/web-0']]]);
    assert.deepEqual(changed, []);
  });

  it('facts in other objects are joined with those of pods', () => {
    const pods = createStore<PodFacts>({ time: realTime });
    const services = createStore<string>({ time: realTime });
    const changed: string[] = [];
    const facts = joinFacts([podFacts(pods), factsOf(services, (_name, key) => [key])]);
    facts.onChange((podKey) => changed.push(podKey));
    pods.set('shop/web-0', aPod());
    services.set('shop/web-1', 'web-1');
    assert.deepEqual(changed, ['shop/web-0', 'shop/web-1']);
  });
});
