import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeOid, encodeOid, nameOfOid } from '../../../spiffe/pki/oid.ts';

const known: readonly [dotted: string, hex: string][] = [
  ['1.2.840.113549.1.1.1', '2a864886f70d010101'],
  ['2.5.29.17', '551d11'],
  ['2.999.3', '883703'],
  ['0.9.2342', '099226'],
  ['2.25.340282366920938463463374607431768211455', '6983ffffffffffffffffffffffffffffffffff7f'],
];
for (const [dotted, hex] of known) {
  test(`the object identifier ${dotted} is read and written`, () => {
    assert.equal(encodeOid(dotted).toString('hex'), hex);
    assert.equal(decodeOid(Buffer.from(hex, 'hex')), dotted);
  });
}

for (const hex of ['', '80', '2a80', '2a8001', '86', `2a${'ff'.repeat(20)}7f`, '2a'.repeat(129)]) {
  test(`the object identifier ${hex.slice(0, 12)} of ${hex.length / 2} octets is refused`, () => {
    assert.throws(() => decodeOid(Buffer.from(hex, 'hex')), { code: 'DER_INVALID' });
  });
}

for (const dotted of ['', '1', '3.1', '1.40', '1.2.', '1.02', '1.2.x', '-1.2']) {
  test(`the object identifier "${dotted}" is not written`, () => {
    assert.throws(() => encodeOid(dotted), { code: 'DER_INVALID' });
  });
}

test('known object identifiers are printed by their names, and others as they are', () => {
  assert.equal(nameOfOid('2.16.840.1.101.3.4.3.18'), 'ML-DSA-65');
  assert.equal(nameOfOid('1.2.3.4'), '1.2.3.4');
  assert.equal(nameOfOid('constructor'), 'constructor');
});
