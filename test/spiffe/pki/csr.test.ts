import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxCsrBytes, readCsrKey } from '../../../spiffe/pki/csr.ts';
import { contextTag, tags } from '../../../spiffe/pki/der.ts';
import {
  bitString,
  encode,
  objectIdentifier,
  octetString,
  sequence,
} from '../../../spiffe/pki/der-writer.ts';
import { readSubjectKey } from '../../../spiffe/pki/spki.ts';
import { keyShelf, subjectKeyNames } from './keys.ts';
import { requestAround, stubRequest } from './requests.ts';

const key = keyShelf();

for (const name of subjectKeyNames) {
  test(`the ${name} key of a request as kubelet makes it is found`, () => {
    assert.deepEqual(readCsrKey(stubRequest(key(name))), readSubjectKey(key(name).spki));
  });
}

test('an unsupported key inside a valid request is unsupported, not unreadable', () => {
  const mlDsa = sequence(
    sequence(objectIdentifier('2.16.840.1.101.3.4.3.18')),
    bitString(Buffer.alloc(1952)),
  );
  assert.deepEqual(readCsrKey(requestAround(mlDsa)), { kind: 'unsupported', algorithm: 'ML-DSA-65' });
});

const valid = (): Buffer => stubRequest(key('ECDSA P-256'));
const version0 = encode(tags.integer, Uint8Array.of(0));
const attributes = encode(contextTag(0));
const algorithm = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const signature = bitString(Buffer.alloc(8));
const info = (...fields: readonly Uint8Array[]): Buffer => sequence(...fields);
const spki = (): Buffer => key('ECDSA P-256').spki;

/** The same request with its outer length in the indefinite form of BER. */
function indefinite(): Buffer {
  const request = valid();
  const header = request[1] === 0x81 ? 3 : 2;
  return Buffer.concat([Uint8Array.of(0x30, 0x80), request.subarray(header), Uint8Array.of(0, 0)]);
}

const unreadable: readonly [name: string, request: () => Uint8Array, reason: RegExp][] = [
  ['an empty request', () => Buffer.alloc(0), /truncated/],
  ['PEM instead of DER', () => Buffer.from('-----BEGIN CERTIFICATE REQUEST-----\n'), /tag|truncated/],
  ['a truncated request', () => valid().subarray(0, 100), /truncated/],
  ['a request cut by one octet', () => valid().subarray(0, -1), /truncated/],
  ['trailing bytes', () => Buffer.concat([valid(), Uint8Array.of(0)]), /trailing/],
  ['two requests', () => Buffer.concat([valid(), valid()]), /trailing/],
  ['an indefinite length', indefinite, /indefinite/],
  [
    'a request longer than the API server allows',
    () => sequence(Buffer.alloc(maxCsrBytes)),
    /longer than 10240/,
  ],
  ['a public key where the request should be', spki, /signature algorithm|tag|missing/],
  [
    'no attributes element',
    () => sequence(info(version0, sequence(), spki()), algorithm, signature),
    /attributes is missing/,
  ],
  [
    'no signature',
    () => sequence(info(version0, sequence(), spki(), attributes), algorithm),
    /signature is missing/,
  ],
  [
    'a signature of another type',
    () => sequence(info(version0, sequence(), spki(), attributes), algorithm, octetString(Buffer.alloc(8))),
    /signature has tag/,
  ],
  [
    'a key that cannot be read',
    () => requestAround(sequence(sequence(), bitString(Buffer.alloc(4)))),
    /algorithm.*missing/,
  ],
  [
    'a length inside that reaches beyond the request',
    () => {
      const request = Buffer.from(valid());
      request.fill(0xff, request.indexOf(spki()) + 1, request.indexOf(spki()) + 2);
      return request;
    },
    /octets|truncated/,
  ],
];
for (const [name, request, reason] of unreadable) {
  test(`a request is unreadable: ${name}`, () => {
    const read = readCsrKey(request());
    assert.equal(read.kind, 'unreadable');
    assert.match(read.kind === 'unreadable' ? read.reason : '', reason);
  });
}

const lenient: readonly [name: string, request: () => Uint8Array][] = [
  [
    'another version',
    () =>
      sequence(
        info(encode(tags.integer, Uint8Array.of(3)), sequence(), spki(), attributes),
        algorithm,
        signature,
      ),
  ],
  [
    'something behind the attributes',
    () => sequence(info(version0, sequence(), spki(), attributes, attributes), algorithm, signature),
  ],
  [
    'something behind the signature',
    () => sequence(info(version0, sequence(), spki(), attributes), algorithm, signature, algorithm),
  ],
];
for (const [name, request] of lenient) {
  test(`${name} in a request does not matter, as for the API server`, () => {
    assert.deepEqual(readCsrKey(request()), readSubjectKey(spki()));
  });
}

test('a request nested thousands deep is answered at once', () => {
  let nested: Buffer = sequence();
  for (let depth = 0; depth < 2_400; depth++) nested = sequence(nested);
  assert.ok(nested.length <= maxCsrBytes);
  assert.equal(readCsrKey(nested).kind, 'unreadable');
});
