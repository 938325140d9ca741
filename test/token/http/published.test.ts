import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { Pool } from '../../../signer/authority/pool.ts';
import { createServed, createServedByKey, select } from '../../../signer/token/http/published.ts';

describe('documents', () => {
  const pool = { sequence: 1 } as unknown as Pool;
  const document = { bytes: Buffer.from('{"keys":[]}'), etag: '"abc"', contentType: 'application/json' };
  const served = createServed(
    () => pool,
    () => document,
  )();
  assert.ok(served);
  const asked = (acceptEncoding?: string, ifNoneMatch?: string) =>
    select(served, { acceptEncoding, ifNoneMatch });

  it('published documents are compressed once for clients that accept it', async () => {
    const gzipped = await served.gzipped();
    assert.deepEqual(gunzipSync(gzipped), document.bytes);
    assert.equal(await served.gzipped(), gzipped);
    for (const header of ['gzip', 'br, gzip;q=0.5', 'GZIP', '*']) assert.ok(asked(header).isGzipped, header);
    for (const header of ['', 'br', 'gzip;q=0', 'gzip; q=0.000', 'identity']) {
      assert.ok(!asked(header).isGzipped, header);
    }
  });

  it('published documents are not sent again in any encoding that the client has', () => {
    for (const header of ['"abc"', 'W/"abc"', '"x", "abc"', '"abc-gzip"', '*']) {
      assert.equal(asked('gzip', header).status, 304, header);
    }
    for (const header of ['"x"', 'abc', '']) assert.equal(asked('gzip', header).status, 200, header);
  });

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

  it('published documents of many keys are cached up to 32 MiB with their compressed forms', () => {
    const made: string[] = [];
    const get = createServedByKey(
      () => pool,
      (_, key) => {
        made.push(key);
        return { ...document, bytes: Buffer.alloc(6 * 1024 * 1024) };
      },
    );
    for (const key of ['a', 'b', 'a', 'b']) get(key);
    assert.deepEqual(made, ['a', 'b']);
    for (const key of ['c', 'c', 'a']) get(key);
    assert.deepEqual(made, ['a', 'b', 'c', 'a']);
  });
});
