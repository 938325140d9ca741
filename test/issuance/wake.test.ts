import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createWake } from '../../signer/issuance/wake.ts';

describe('requests that wait for the signer', () => {
  const steps: [name: string, canSign: boolean, isPermitted: boolean, woken: boolean][] = [
    ['are left alone while nothing can be signed', false, false, false],
    ['are woken when something can be signed', true, false, true],
    ['are not woken again while it stays so', true, false, false],
    ['are woken when permissions have come', true, true, true],
    ['are not woken when permissions go', true, false, false],
    ['are left alone when signing has become impossible', false, false, false],
    ['are left alone when permissions come while nothing can be signed', false, true, false],
    ['are woken when signing has become possible again', true, true, true],
  ];
  it('are woken once for each thing that has become right, if they can be answered then', () => {
    const world = { canSign: false, isPermitted: false, woken: 0 };
    const look = createWake({
      canSign: () => world.canSign,
      isPermitted: () => world.isPermitted,
      wake: () => {
        world.woken += 1;
      },
    });
    for (const [name, canSign, isPermitted, woken] of steps) {
      Object.assign(world, { canSign, isPermitted, woken: 0 });
      look();
      assert.equal(world.woken, woken ? 1 : 0, name);
    }
  });
});
