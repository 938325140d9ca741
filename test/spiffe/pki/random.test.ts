import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createRandomPool } from '../../../spiffe/pki/random.ts';

/** Counts on, so that each octet of the source can be told from the ones around it. */
function counting() {
  const source = { octets: 0, calls: 0 };
  const random = (count: number) => {
    source.calls += 1;
    return Uint8Array.from({ length: count }, () => source.octets++ % 251);
  };
  return { source, random };
}

test('a pool of random bytes gives pieces of the requested length, from one draw', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9_000 }), { maxLength: 40 }), (lengths) => {
      const pool = createRandomPool(counting().random);
      for (const length of lengths) {
        const octets = pool(length);
        assert.equal(octets.length, length);
        const [first = 0] = octets;
        assert.ok(octets.every((octet, at) => octet === (first + at) % 251));
      }
    }),
  );
});

test('a caller that overwrites its random bytes does not change those of the next one', () => {
  const pool = createRandomPool((count) => new Uint8Array(count).fill(7));
  pool(4).fill(0);
  assert.deepEqual([...pool(4)], [7, 7, 7, 7]);
});

test('two hundred serial numbers need one call of the random source, and all differ', () => {
  const { source, random } = counting();
  const pool = createRandomPool(random);
  const seen = new Set(Array.from({ length: 200 }, () => Buffer.from(pool(20)).toString('hex')));
  assert.equal(source.calls, 1);
  assert.equal(seen.size, 200);
});
