import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSerial } from '../../../spiffe/pki/serial.ts';

test('a serial has 20 octets, is positive and minimal, with any output of the random source', () => {
  for (const octet of [0x00, 0x3f, 0x40, 0x7f, 0x80, 0xff]) {
    const serial = makeSerial((octets) => new Uint8Array(octets).fill(octet));
    assert.equal(serial.length, 20);
    assert.equal((serial[0] ?? 0) & 0xc0, 0x40);
  }
});

test('all bits of a serial but two come from the random source, which is not changed', () => {
  const source = new Uint8Array(20).fill(0xff);
  const serial = makeSerial(() => source);
  assert.deepEqual([...serial], [0x7f, ...new Array<number>(19).fill(0xff)]);
  assert.equal(source[0], 0xff);
});
