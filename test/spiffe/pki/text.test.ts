import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasByteOrderMark, textOf } from '../../../spiffe/pki/text.ts';

const text = '-----BEGIN é-----\n';
const utf16le = Buffer.from(`\ufeff${text}`, 'utf16le');

for (const [name, bytes, isMarked] of [
  ['UTF-8 without a byte order mark', Buffer.from(text), false],
  ['UTF-8 with a byte order mark', Buffer.from(`\ufeff${text}`), true],
  ['UTF-16 as PowerShell writes it', utf16le, true],
  ['big-endian UTF-16', Buffer.from(utf16le).swap16(), true],
] as const) {
  test(`a text file is read in ${name}`, () => {
    assert.equal(textOf(bytes), text);
    assert.equal(hasByteOrderMark(bytes), isMarked);
  });
}

test('an empty file is an empty text', () => assert.equal(textOf(new Uint8Array()), ''));
