import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as asn1js from 'asn1js';
import fc from 'fast-check';
import { childrenOf, contentOf, derOf, positiveInteger, soleElement, tags } from '../../spiffe/pki/der.ts';
import { encode, objectIdentifier, octetString, sequence } from '../../spiffe/pki/der-writer.ts';
import { decodeOid, encodeOid } from '../../spiffe/pki/oid.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { timeLength, timeOf, writeTime } from '../../spiffe/pki/time.ts';

/** What the reader of another library makes of the bytes; all of them must be used. */
function oracle(der: Uint8Array): asn1js.AsnType {
  const { result, offset } = asn1js.fromBER(der);
  assert.equal(offset, der.length);
  return result;
}

test('a positive INTEGER of another library is read as the same value', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 2n ** 300n }), (value) => {
      const der = Buffer.from(asn1js.Integer.fromBigInt(value).toBER());
      const magnitude = positiveInteger(soleElement(der, tags.integer, 'n'), 'n');
      assert.equal(BigInt(`0x${Buffer.from(magnitude).toString('hex')}`), value);
    }),
  );
});

test('content of any length is read as it was written', () => {
  const lengths = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 65_500, max: 65_600 }));
  fc.assert(
    fc.property(lengths, fc.nat(255), (length, fill) => {
      const content = Buffer.alloc(length, fill);
      const der = octetString(content);
      assert.deepEqual(Buffer.from(contentOf(soleElement(der, tags.octetString, 'the octets'))), content);
      const read = oracle(der);
      assert.ok(read instanceof asn1js.OctetString);
      assert.equal(read.getValue().byteLength, length);
    }),
  );
});

test('an element is read at its place, with any bytes around it', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (before, content, after) => {
      const der = sequence(octetString(content));
      const whole = sequence(octetString(before), der, octetString(after));
      const [, element] = childrenOf(soleElement(whole, tags.sequence, 'the whole'));
      assert.ok(element);
      assert.deepEqual(Buffer.from(derOf(element)), der);
      assert.deepEqual(Buffer.from(contentOf(element)), octetString(content));
    }),
  );
});

test('a time is read as it was written, in the form of its year, and another library reads the same', () => {
  const times = fc.integer({
    min: Date.UTC(1950, 0, 1) / 1000,
    max: Date.UTC(9999, 11, 31, 23, 59, 59) / 1000,
  });
  fc.assert(
    fc.property(times, (time) => {
      const der = new Uint8Array(timeLength(time));
      assert.equal(writeTime(der, 0, time), der.length);
      assert.equal(timeOf(soleElement(der, der[0] ?? 0, 'the time'), 'the time'), time);
      const read = oracle(der);
      assert.ok(read instanceof asn1js.UTCTime || read instanceof asn1js.GeneralizedTime);
      assert.equal(read instanceof asn1js.GeneralizedTime, new Date(time * 1000).getUTCFullYear() >= 2050);
      assert.equal(read.toDate().getTime(), time * 1000);
    }),
  );
});

const dottedOids = fc
  .tuple(
    fc.oneof(
      fc.tuple(fc.constantFrom('0', '1'), fc.bigInt({ min: 0n, max: 39n })),
      fc.tuple(fc.constant('2'), fc.bigInt({ min: 0n, max: 2n ** 64n })),
    ),
    fc.array(fc.bigInt({ min: 0n, max: 2n ** 120n }), { maxLength: 5 }),
  )
  .map(([[root, second], rest]) => [root, second, ...rest].join('.'));

test('an object identifier is read as it was written', () => {
  fc.assert(fc.property(dottedOids, (dotted) => assert.equal(decodeOid(encodeOid(dotted)), dotted)));
});

test('another library reads the same object identifier', () => {
  const small = fc
    .tuple(fc.integer({ min: 0, max: 39 }), fc.array(fc.nat(), { maxLength: 6 }))
    .map(([second, rest]) => [1, second, ...rest].join('.'));
  fc.assert(
    fc.property(small, (dotted) => {
      const read = oracle(objectIdentifier(dotted));
      assert.ok(read instanceof asn1js.ObjectIdentifier);
      assert.equal(read.getValue(), dotted);
    }),
  );
});

test('PEM is read as it was written', () => {
  const labels = fc.constantFrom('CERTIFICATE', 'PRIVATE KEY', 'CERTIFICATE REQUEST');
  const blocks = fc.array(fc.tuple(labels, fc.uint8Array({ minLength: 1, maxLength: 300 })), {
    minLength: 1,
  });
  fc.assert(
    fc.property(blocks, (list) => {
      const read = decodePem(list.map(([label, der]) => encodePem(label, der)).join(''), { strict: true });
      assert.ok(read.ok);
      assert.deepEqual(
        read.value.map(({ label, der }) => [label, [...der]]),
        list.map(([label, der]) => [label, [...der]]),
      );
    }),
  );
});

test('any element is framed as another library frames it', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(tags.octetString, tags.utf8String, tags.sequence),
      fc.nat(400),
      (tag, length) => {
        const der = encode(
          tag,
          tag === tags.sequence ? octetString(Buffer.alloc(length)) : Buffer.alloc(length, 0x61),
        );
        assert.equal(oracle(der).blockLength, der.length);
      },
    ),
  );
});
