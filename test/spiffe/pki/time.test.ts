import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soleElement } from '../../../spiffe/pki/der.ts';
import { encode } from '../../../spiffe/pki/der-writer.ts';
import { rfc3339, timeLength, timeOf, writeTime } from '../../../spiffe/pki/time.ts';

function written(time: number): Buffer {
  const target = Buffer.alloc(timeLength(time));
  assert.equal(writeTime(target, 0, time), target.length);
  return target;
}

function read(tag: number, text: string): number {
  const element = encode(tag, Buffer.from(text));
  return timeOf(soleElement(element, tag, 'the time'), 'the time');
}

const known: readonly [iso: string, tag: number, text: string][] = [
  ['1950-01-01T00:00:00Z', 0x17, '500101000000Z'],
  ['1999-12-31T23:59:59Z', 0x17, '991231235959Z'],
  ['2000-02-29T12:00:00Z', 0x17, '000229120000Z'],
  ['2026-11-22T13:05:09Z', 0x17, '261122130509Z'],
  ['2049-12-31T23:59:59Z', 0x17, '491231235959Z'],
  ['2050-01-01T00:00:00Z', 0x18, '20500101000000Z'],
  ['9999-12-31T23:59:59Z', 0x18, '99991231235959Z'],
];
for (const [iso, tag, text] of known) {
  test(`the time ${iso} is written as ${text}`, () => {
    const seconds = Date.parse(iso) / 1000;
    assert.equal(rfc3339(seconds), iso);
    const element = written(seconds);
    assert.equal(element[0], tag);
    assert.equal(element.subarray(2).toString('latin1'), text);
    assert.equal(read(tag, text), seconds);
  });
}

test('only whole seconds between 1950 and 9999 are written as a time', () => {
  for (const time of [0.5, Number.NaN, Infinity, -631_152_001, 253_402_300_800]) {
    assert.throws(() => writeTime(Buffer.alloc(20), 0, time), { code: 'DER_INVALID' });
  }
});

const malformed: readonly [tag: number, text: string][] = [
  [0x17, '2611221305Z'],
  [0x17, '261122130509'],
  [0x17, '261122130509+0000'],
  [0x17, '20261122130509Z'],
  [0x18, '261122130509Z'],
  [0x18, '20501122130509.5Z'],
  [0x17, '261322130509Z'],
  [0x17, '260230130509Z'],
  [0x17, '261122240000Z'],
  [0x17, '261122236000Z'],
  [0x17, '261122235960Z'],
  [0x17, '260001000000Z'],
  [0x17, '26112213050 Z'],
  [0x13, '261122130509Z'],
  [0x17, ''],
];
for (const [tag, text] of malformed) {
  test(`the time "${text}" with tag 0x${tag.toString(16)} is refused`, () => {
    assert.throws(() => read(tag, text), { code: 'DER_INVALID' });
  });
}

test('a GeneralizedTime of the year 0 is read as that year, and not in another century', () => {
  assert.equal(read(0x18, '00000101000000Z'), Date.parse('0000-01-01T00:00:00Z') / 1000);
});
