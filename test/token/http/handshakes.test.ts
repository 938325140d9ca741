import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createHandshakeTurns } from '../../../signer/token/http/handshakes.ts';

describe('turns for the handshake', () => {
  function turns(limits: { total: number; perAddress: number }) {
    const started: string[] = [];
    const turn = createHandshakeTurns(limits);
    return { started, enter: (address: string) => turn(address, () => started.push(address)) };
  }

  it('handshakes run at once up to the limits of all and of each address', () => {
    const { started, enter } = turns({ total: 3, perAddress: 2 });
    for (const address of ['a', 'a', 'a', 'b', 'c']) enter(address);
    assert.deepEqual(started, ['a', 'a', 'b']);
  });

  it('handshakes go to the addresses in turn, even if one address has many waiting', () => {
    const started: string[] = [];
    const endOf: (() => void)[] = [];
    const turn = createHandshakeTurns({ total: 1, perAddress: 1 });
    const order: number[] = [];
    for (const [at, address] of ['a', 'a', 'a', 'b', 'c', 'b'].entries()) {
      endOf[at] = turn(address, () => {
        started.push(address);
        order.push(at);
      });
    }
    for (let ended = 0; ended < order.length; ended += 1) endOf[order[ended] ?? 0]?.();
    assert.deepEqual(started, ['a', 'a', 'b', 'c', 'a', 'b']);
  });

  it('a handshake ends once, and a connection that closes while it waits takes no turn', () => {
    const { started, enter } = turns({ total: 1, perAddress: 1 });
    const first = enter('a');
    const gone = enter('b');
    enter('c');
    gone();
    first();
    first();
    enter('d');
    assert.deepEqual(started, ['a', 'c']);
  });
});
