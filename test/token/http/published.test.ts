import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pool } from '../../../signer/authority/pool.ts';
import { createServed, createServedByKey } from '../../../signer/token/http/published.ts';

describe('documents', () => {
  const pool = { sequence: 1 } as unknown as Pool;
  const document = { bytes: Buffer.from('{"keys":[]}'), contentType: 'application/json' };

  it('published documents are made once for a pool, and not while there is none', () => {
    let made = 0;
    let current: Pool | undefined;
    const get = createServed(
      () => current,
      () => {
        made += 1;
        return document;
      },
    );
    assert.equal(get(), undefined);
    current = pool;
    for (let i = 0; i < 3; i += 1) get();
    assert.equal(made, 1);
    current = { ...pool };
    get();
    assert.equal(made, 2);
  });

  it('published documents of many keys are kept up to 32 MiB, and then made again', () => {
    const made: string[] = [];
    const get = createServedByKey(
      () => pool,
      (_, key) => {
        made.push(key);
        return { ...document, bytes: Buffer.alloc(12 * 1024 * 1024) };
      },
    );
    for (const key of ['a', 'b', 'a', 'b']) get(key);
    assert.deepEqual(made, ['a', 'b']);
    for (const key of ['c', 'c', 'a']) get(key);
    assert.deepEqual(made, ['a', 'b', 'c', 'a']);
  });
});
