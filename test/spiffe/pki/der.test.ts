import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bitStringOctets,
  booleanOf,
  childrenOf,
  contentOf,
  cursor,
  derOf,
  integerContent,
  positiveInteger,
  readDer,
  smallInteger,
  soleElement,
  tags,
} from '../../../spiffe/pki/der.ts';
import { encode } from '../../../spiffe/pki/der-writer.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

const sole = (hex: string) => soleElement(bytes(hex), bytes(hex)[0] ?? 0, 'the input');

const malformed: readonly [name: string, hex: string, reason: RegExp][] = [
  ['nothing', '', /truncated/],
  ['an identifier alone', '30', /truncated/],
  ['content cut short', '30 03 02 01', /truncated/],
  ['length octets cut short', '30 82 01', /truncated/],
  ['an indefinite length', '30 80 02 01 00 00 00', /indefinite/],
  ['a long form below 128', `30 81 01 00`, /shortest/],
  ['a length with a leading zero octet', `30 82 00 80 ${'00'.repeat(128)}`, /shortest/],
  ['five length octets', '30 85 01 00 00 00 00', /four octets/],
  ['a length far beyond the input', '30 84 ff ff ff ff 00', /truncated/],
  ['a high tag number', '1f 21 00', /tag number/],
];

for (const [name, hex, reason] of malformed) {
  test(`the DER reader refuses ${name}`, () => {
    const read = readDer(() => soleElement(bytes(hex), tags.sequence, 'the input'));
    assert.equal(read.ok, false);
    assert.match(read.ok ? '' : read.reason, reason);
  });
}

test('the DER reader refuses trailing bytes and another tag than expected', () => {
  assert.deepEqual(
    readDer(() => soleElement(bytes('30 00 00'), tags.sequence, 'the input')),
    {
      ok: false,
      reason: 'trailing bytes',
    },
  );
  assert.deepEqual(
    readDer(() => soleElement(bytes('31 00'), tags.sequence, 'the input')),
    {
      ok: false,
      reason: 'the input has tag 0x31 instead of 0x30',
    },
  );
});

test('a DER element inside another may not reach beyond it, even if the array has more bytes', () => {
  const [inner = sole('05 00')] = childrenOf(sole('30 08 30 03 02 02 01 02 01 05'));
  assert.throws(() => cursor(inner).any('the number'), { code: 'DER_INVALID', message: 'truncated' });
  assert.throws(() => childrenOf(inner), { code: 'DER_INVALID' });
});

test('a DER cursor reports which element is missing and which is one too many', () => {
  const outer = soleElement(bytes('30 06 02 01 05 02 01 06'), tags.sequence, 'the list');
  const fields = cursor(outer);
  assert.equal(fields.peek(), tags.integer);
  assert.equal(smallInteger(fields.next(tags.integer, 'the first'), 'the first'), 5);
  assert.throws(() => fields.end('the list'), /the list has more elements/);
  assert.equal(smallInteger(fields.any('the second'), 'the second'), 6);
  assert.equal(fields.peek(), undefined);
  fields.end('the list');
  assert.throws(() => fields.any('the third'), /the third is missing/);
});

test('views of the DER reader share the bytes of their source', () => {
  const input = bytes('30 03 02 01 05');
  const [element = sole('05 00')] = childrenOf(soleElement(input, tags.sequence, 'the input'));
  assert.deepEqual([...derOf(element)], [2, 1, 5]);
  assert.deepEqual([...contentOf(element)], [5]);
  assert.equal(contentOf(element).buffer, input.buffer);
});

const integers: readonly [hex: string, reason: RegExp][] = [
  ['02 00', /empty/],
  ['02 02 00 7f', /shortest/],
  ['02 02 ff 80', /shortest/],
  ['04 01 00', /tag/],
];
for (const [hex, reason] of integers) {
  test(`the DER reader refuses the INTEGER ${hex}`, () => {
    assert.throws(() => integerContent(sole(hex), 'n'), reason);
  });
}

test('small and positive integers are read only within their bounds', () => {
  assert.equal(smallInteger(sole('02 04 7f ff ff ff'), 'n'), 0x7fff_ffff);
  assert.throws(() => smallInteger(sole('02 05 00 80 00 00 00'), 'n'), /out of range/);
  assert.throws(() => smallInteger(sole('02 01 ff'), 'n'), /out of range/);
  assert.deepEqual([...positiveInteger(sole('02 02 00 80'), 'n')], [0x80]);
  assert.throws(() => positiveInteger(sole('02 01 00'), 'n'), /zero/);
  assert.throws(() => positiveInteger(sole('02 01 80'), 'n'), /negative/);
});

test('a BOOLEAN has two values, a BIT STRING of octets no unused bits', () => {
  assert.equal(booleanOf(sole('01 01 ff')), true);
  assert.equal(booleanOf(sole('01 01 00')), false);
  for (const hex of ['01 01 01', '01 00', '01 02 ff ff'])
    assert.throws(() => booleanOf(sole(hex)), /BOOLEAN/);
  assert.deepEqual([...bitStringOctets(sole('03 02 00 aa'), 'bits')], [0xaa]);
  for (const hex of ['03 00', '03 02 01 aa'])
    assert.throws(() => bitStringOctets(sole(hex), 'bits'), /octets/);
});

test('the DER reader throws errors that are not about DER', () => {
  assert.throws(
    () =>
      readDer(() => {
        throw new TypeError('a bug');
      }),
    TypeError,
  );
});

test('the DER writer makes every length of header', () => {
  for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536, 0x100_0000]) {
    const written = encode(tags.octetString, Buffer.alloc(length));
    const element = soleElement(written, tags.octetString, 'the octets');
    assert.equal(element.end - element.contentStart, length);
  }
});
