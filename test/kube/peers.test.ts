import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { leaseName } from '../../signer/kube/membership.ts';
import { createPeers, type LeaseFacts } from '../../signer/kube/peers.ts';
import { createFakeTime } from './fake-time.ts';

function makePeers() {
  const time = createFakeTime();
  const peers = createPeers({ self: 'me', time });
  let changes = 0;
  peers.onChange(() => {
    changes += 1;
  });
  const lease = (holder: string, renewal: number): LeaseFacts => ({
    holder,
    renewTime: new Date(renewal).toISOString(),
  });
  return { peers, time, lease, changes: () => changes };
}

describe('peers', () => {
  test('a replica is a member for itself from the first moment', () => {
    assert.deepEqual(makePeers().peers.members(), ['me']);
  });

  test('another replica is a member from when its Lease is seen until 10 s without a renewal', async () => {
    const { peers, time, lease, changes } = makePeers();
    peers.saw(lease('b', 1));
    assert.deepEqual(peers.members(), ['b', 'me']);
    for (let renewal = 2; renewal < 10; renewal += 1) {
      await time.advance(3000);
      peers.saw(lease('b', renewal));
    }
    assert.deepEqual(peers.members(), ['b', 'me']);
    await time.advance(9_999);
    assert.deepEqual(peers.members(), ['b', 'me']);
    await time.advance(1);
    assert.deepEqual(peers.members(), ['me']);
    assert.equal(changes(), 2);
    peers.saw(lease('b', 10));
    assert.deepEqual(peers.members(), ['b', 'me']);
    peers.stop();
    assert.equal(time.pending(), 0);
  });

  test('clock skew does not matter: a changed renewTime counts as a renewal, an unchanged one does not', async () => {
    const { peers, time, lease } = makePeers();
    peers.saw(lease('future', 4_000_000_000_000));
    peers.saw(lease('past', 1));
    assert.deepEqual(peers.members(), ['future', 'me', 'past']);
    await time.advance(6000);
    peers.saw(lease('past', 2));
    peers.saw(lease('future', 4_000_000_000_000));
    await time.advance(4000);
    assert.deepEqual(peers.members(), ['me', 'past']);
  });

  test('a replica that deletes its Lease is gone at once', () => {
    const { peers, lease, changes } = makePeers();
    peers.saw(lease('b', 1));
    peers.left('b');
    peers.left('b');
    assert.deepEqual(peers.members(), ['me']);
    assert.equal(changes(), 2);
  });

  test('our own Lease changes nothing, not even when it is deleted', () => {
    const { peers, lease, changes } = makePeers();
    peers.saw(lease('me', 1));
    peers.left('me');
    assert.deepEqual(peers.members(), ['me']);
    assert.equal(changes(), 0);
  });
});

describe('the name of a Lease', () => {
  test('is made of the pod name', () => {
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
    test(`is valid and its own for "${self.slice(0, 20)}"`, () => {
      const name = leaseName(self);
      assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
      assert.ok(name.length <= 253);
      assert.notEqual(name, leaseName(`${self}2`));
    });
  }
});
