import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { onAbort } from '../../signer/kube/on-abort.ts';

describe('actions on the abort of a signal', () => {
  it('each action on abort is run once', () => {
    const aborting = new AbortController();
    const ran: string[] = [];
    onAbort(aborting.signal, () => ran.push('one'));
    onAbort(aborting.signal, () => ran.push('other'));
    assert.deepEqual(ran, []);
    aborting.abort();
    aborting.abort();
    assert.deepEqual(ran, ['one', 'other']);
  });

  it('an action on abort is not run once it was removed, even by another action', () => {
    const aborting = new AbortController();
    const ran: string[] = [];
    onAbort(aborting.signal, () => ran.push('never'))();
    onAbort(aborting.signal, () => endLast());
    const endLast = onAbort(aborting.signal, () => ran.push('last'));
    aborting.abort();
    assert.deepEqual(ran, []);
  });

  it('actions on abort add one listener to a signal, for any number of them', () => {
    const { signal } = new AbortController();
    let added = 0;
    const add = signal.addEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      added += 1;
      add(...args);
    };
    for (let count = 0; count < 100; count += 1) onAbort(signal, () => undefined)();
    assert.equal(added, 1);
  });
});
