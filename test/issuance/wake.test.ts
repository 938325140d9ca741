import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createWake } from '../../signer/issuance/wake.ts';

describe('requests that wait for the signer', () => {
  const steps: [name: string, signsWith: string | undefined, isPermitted: boolean, woken: boolean][] = [
    ['are left alone while nothing can be signed', undefined, false, false],
    ['are woken when something can be signed', 'ca-1', false, true],
    ['are not woken again while it stays so', 'ca-1', false, false],
    ['are woken when permissions have come', 'ca-1', true, true],
    ['are not woken when permissions go', 'ca-1', false, false],
    ['are left alone when signing has become impossible', undefined, false, false],
    ['are left alone when permissions come while nothing can be signed', undefined, true, false],
    ['are woken when signing has become possible again', 'ca-1', true, true],
    ['are woken when another CA signs, which may permit other names', 'ca-2', true, true],
  ];
  it('waiting requests are tried once for each check that becomes ok, if they can be answered then', () => {
    const world = { signsWith: undefined as string | undefined, isPermitted: false, woken: 0 };
    const look = createWake({
      signsWith: () => world.signsWith,
      isPermitted: () => world.isPermitted,
      wake: () => {
        world.woken += 1;
      },
    });
    for (const [name, signsWith, isPermitted, woken] of steps) {
      Object.assign(world, { signsWith, isPermitted, woken: 0 });
      look();
      assert.equal(world.woken, woken ? 1 : 0, name);
    }
  });
});
