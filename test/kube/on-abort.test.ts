import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { onAbort } from '../../signer/kube/on-abort.ts';

describe('what is run when a signal is aborted', () => {
  it('is run once, for each that was added', () => {
    const aborting = new AbortController();
    const ran: string[] = [];
    onAbort(aborting.signal, () => ran.push('one'));
    onAbort(aborting.signal, () => ran.push('other'));
    assert.deepEqual(ran, []);
    aborting.abort();
    aborting.abort();
    assert.deepEqual(ran, ['one', 'other']);
  });

  it('is not run after it was ended, even by one that runs before it', () => {
    const aborting = new AbortController();
    const ran: string[] = [];
    onAbort(aborting.signal, () => ran.push('never'))();
    onAbort(aborting.signal, () => endLast());
    const endLast = onAbort(aborting.signal, () => ran.push('last'));
    aborting.abort();
    assert.deepEqual(ran, []);
  });

  it('adds one listener to a signal, however many there are', () => {
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
