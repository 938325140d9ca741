import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { leaseName } from '../../signer/kube/membership.ts';
import { createReplicas, type LeaseFacts } from '../../signer/kube/replicas.ts';
import { createFakeTime } from './fake-time.ts';

function makeReplicas() {
  const time = createFakeTime();
  const replicas = createReplicas({ self: 'me', time });
  let changes = 0;
  replicas.onChange(() => {
    changes += 1;
  });
  const lease = (holder: string, renewal: number): LeaseFacts => ({
    holder,
    renewTime: new Date(renewal).toISOString(),
  });
  return { replicas, time, lease, changes: () => changes };
}

describe('replicas', () => {
  test('a replica is a member for itself from the first moment', () => {
    assert.deepEqual(makeReplicas().replicas.members(), ['me']);
  });

  test('another replica is a member from when its Lease is seen until 10 s without a renewal', async () => {
    const { replicas, time, lease, changes } = makeReplicas();
    replicas.saw(lease('b', 1));
    assert.deepEqual(replicas.members(), ['b', 'me']);
    for (let renewal = 2; renewal < 10; renewal += 1) {
      await time.advance(3000);
      replicas.saw(lease('b', renewal));
    }
    assert.deepEqual(replicas.members(), ['b', 'me']);
    await time.advance(9_999);
    assert.deepEqual(replicas.members(), ['b', 'me']);
    await time.advance(1);
    assert.deepEqual(replicas.members(), ['me']);
    assert.equal(changes(), 2);
    replicas.saw(lease('b', 10));
    assert.deepEqual(replicas.members(), ['b', 'me']);
    replicas.stop();
    assert.equal(time.pending(), 0);
  });

  test('clock skew does not matter: a changed renewTime counts as a renewal, an unchanged one does not', async () => {
    const { replicas, time, lease } = makeReplicas();
    replicas.saw(lease('future', 4_000_000_000_000));
    replicas.saw(lease('past', 1));
    assert.deepEqual(replicas.members(), ['future', 'me', 'past']);
    await time.advance(6000);
    replicas.saw(lease('past', 2));
    replicas.saw(lease('future', 4_000_000_000_000));
    await time.advance(4000);
    assert.deepEqual(replicas.members(), ['me', 'past']);
  });

  test('a replica that deletes its Lease is gone at once', () => {
    const { replicas, lease, changes } = makeReplicas();
    replicas.saw(lease('b', 1));
    replicas.left('b');
    replicas.left('b');
    assert.deepEqual(replicas.members(), ['me']);
    assert.equal(changes(), 2);
  });

  test('our own Lease changes nothing, not even when it is deleted', () => {
    const { replicas, lease, changes } = makeReplicas();
    replicas.saw(lease('me', 1));
    replicas.left('me');
    assert.deepEqual(replicas.members(), ['me']);
    assert.equal(changes(), 0);
  });
});

describe('the name of a Lease', () => {
  test('the name of a Lease is made of the pod name', () => {
    assert.equal(leaseName('signer-6d5f-abcde'), 'kubespiffe-signer-signer-6d5f-abcde');
  });
  for (const self of [
    'x'.repeat(253),
    'UPPER.case',
    'under_score',
    'host:8080/1',
    'ends-with-',
    'ends.',
    'two..dots',
    'dot.-hyphen',
    '-',
  ]) {
    test(`the name of a Lease is valid and different from others for "${self.slice(0, 20)}"`, () => {
      const name = leaseName(self);
      assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
      assert.ok(name.length <= 253);
      assert.notEqual(name, leaseName(`${self}2`));
    });
  }
});
