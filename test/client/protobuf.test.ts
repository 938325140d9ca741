import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';
import fc from 'fast-check';
import { readFields, writeTexts } from '../../client/protobuf.ts';

const proto = loadSync(join(import.meta.dirname, '../../workload/api/workload-api.proto'), {
  keepCase: true,
  defaults: true,
});
const svidType = proto.X509SVID as MessageTypeDefinition<object, object>;
const requestType = proto.JWTSVIDRequest as MessageTypeDefinition<object, object>;
const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each));

describe('protobuf', () => {
  it('the protobuf reader reads what protobufjs writes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), bytes, bytes, (hint, chain, key) => {
        const read = readFields(
          svidType.serialize({ spiffe_id: 'spiffe://a/b', x509_svid: chain, x509_svid_key: key, hint }),
        );
        assert.ok(read.ok);
        const textOf = (number: number) => String(read.value.get(number)?.at(-1) ?? '');
        assert.deepEqual([textOf(1), textOf(5)], ['spiffe://a/b', hint]);
        assert.deepEqual(read.value.get(2)?.[0] ?? Buffer.alloc(0), chain);
        assert.deepEqual(read.value.get(3)?.[0] ?? Buffer.alloc(0), key);
      }),
    );
  });

  it('the protobuf writer writes what protobufjs reads', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 500 })), (audience) => {
        const message = writeTexts(audience.map((each) => [1, each]));
        assert.deepEqual(requestType.deserialize(message), { audience, spiffe_id: '' });
      }),
    );
  });

  it('the protobuf reader skips numbers, and fields that it does not know', () => {
    // Field 1 a varint, 2 eight bytes, 3 four bytes, 4 a text, and 5 a varint of ten bytes.
    const message = Buffer.from(
      `08ac02 11${'01'.repeat(8)} 1d${'01'.repeat(4)} 220161 28${'ff'.repeat(9)}01`.replaceAll(' ', ''),
      'hex',
    );
    const read = readFields(message);
    assert.ok(read.ok);
    assert.deepEqual([...read.value], [[4, [Buffer.from('a')]]]);
  });

  for (const [what, hex] of [
    ['a tag without its end', 'ff'],
    ['a tag that is too long', 'ff'.repeat(12)],
    ['a field without its length', '0a'],
    ['a length beyond the end', '0a05 61'],
    ['a length of 2^63', `0a${'ff'.repeat(9)}01`],
    ['a number without its end', '08ff'],
    ['eight bytes of which some are missing', '0901'],
    ['a group', '0b'],
    ['an unknown form', '0f'],
    ['a field with the number 0', '020161'],
  ] as const) {
    it(`the protobuf reader refuses ${what}`, () => {
      assert.equal(readFields(Buffer.from(hex.replaceAll(' ', ''), 'hex')).ok, false);
    });
  }

  it('the protobuf reader reads any bytes without throwing', () => {
    fc.assert(fc.property(bytes, (any) => void readFields(any)));
  });
});
