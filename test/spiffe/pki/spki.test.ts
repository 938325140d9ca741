import assert from 'node:assert/strict';
import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as asn1js from 'asn1js';
import { subjectKeyTypes } from '../../../spiffe/pki/algorithms.ts';
import { bitString, derNull, objectIdentifier, sequence } from '../../../spiffe/pki/der-writer.ts';
import { oids } from '../../../spiffe/pki/oid.ts';
import { readSubjectKey } from '../../../spiffe/pki/spki.ts';
import { keyShelf, subjectKeyNames } from './keys.ts';

const key = keyShelf();

function spki(algorithm: readonly Uint8Array[], octets: Uint8Array): Buffer {
  return sequence(sequence(...algorithm), bitString(octets));
}

function ecSpki(curve: string, point: Uint8Array): Buffer {
  return spki([objectIdentifier(oids.ecPublicKey), objectIdentifier(curve)], point);
}

/** INTEGER of a magnitude, big endian. */
function unsignedInteger(magnitude: Uint8Array): Buffer {
  const value = BigInt(`0x${Buffer.from(magnitude).toString('hex')}`);
  return Buffer.from(asn1js.Integer.fromBigInt(value).toBER());
}

/** An RSA key with a modulus of so many bits: odd, top bit set. Nobody has its private key. */
function rsaSpki(bits: number, exponent: Uint8Array, lowest = 1): Buffer {
  const modulus = Buffer.alloc(Math.ceil(bits / 8), 0xa5);
  modulus[0] = 1 << ((bits - 1) % 8);
  modulus[modulus.length - 1] = 0xa4 | lowest;
  return spki(
    [objectIdentifier(oids.rsaEncryption), derNull],
    sequence(unsignedInteger(modulus), unsignedInteger(exponent)),
  );
}

const f4 = Uint8Array.of(1, 0, 1);

for (const name of subjectKeyNames) {
  test(`${name} is supported, and named by the SHA-1 of its octets`, () => {
    const read = readSubjectKey(key(name).spki);
    assert.equal(read.kind, 'supported');
    if (read.kind !== 'supported') return;
    assert.equal(read.type.name, name);
    assert.deepEqual(read.spki, key(name).spki);
    // The octets of the BIT STRING are the last of the SPKI; how many depends on the key alone.
    const lengths = {
      'ECDSA P-256': 65,
      'ECDSA P-384': 97,
      'ECDSA P-521': 133,
      Ed25519: 32,
      'RSA 3072': 398,
      'RSA 4096': 526,
    };
    const octets = key(name).spki.subarray(-lengths[name]);
    assert.deepEqual(Buffer.from(read.keyId), createHash('sha1').update(octets).digest());
  });
}

test('the table of key types has those of KEP-4317, each once', () => {
  assert.deepEqual(subjectKeyTypes.map((type) => type.kubernetes).toSorted(), [
    'ECDSAP256',
    'ECDSAP384',
    'ECDSAP521',
    'ED25519',
    'RSA3072',
    'RSA4096',
  ]);
  assert.deepEqual(subjectKeyTypes.map((type) => type.name).toSorted(), subjectKeyNames.toSorted());
});

const made = (type: 'ec' | 'x25519' | 'ed448' | 'dsa' | 'rsa-pss', options: object): Buffer =>
  generateKeyPairSync(type as 'ec', options as { namedCurve: string }).publicKey.export({
    type: 'spki',
    format: 'der',
  });

const unsupported: readonly [algorithm: string, spki: () => Uint8Array][] = [
  ['RSA 2048', () => rsaSpki(2048, f4)],
  ['RSA 1024', () => rsaSpki(1024, f4)],
  ['RSA 3071', () => rsaSpki(3071, f4)],
  ['RSA 3080', () => rsaSpki(3080, f4)],
  ['RSA 8192', () => rsaSpki(8192, f4)],
  ['RSA 3072 with exponent 1', () => rsaSpki(3072, Uint8Array.of(1))],
  ['RSA 3072 with exponent 3', () => rsaSpki(3072, Uint8Array.of(3))],
  ['RSA 3072 with exponent 65536', () => rsaSpki(3072, Uint8Array.of(1, 0, 0))],
  ['RSA 4096 with exponent 65538', () => rsaSpki(4096, Uint8Array.of(1, 0, 2))],
  ['RSA 3072 with exponent 2147483649', () => rsaSpki(3072, Uint8Array.of(0x80, 0, 0, 1))],
  ['RSA 3072 with an exponent of 5 octets', () => rsaSpki(3072, Uint8Array.of(1, 0, 0, 0, 1))],
  ['RSA 3072 with an even modulus', () => rsaSpki(3072, f4, 0)],
  ['ECDSA P-224', () => made('ec', { namedCurve: 'secp224r1' })],
  ['ECDSA P-192', () => made('ec', { namedCurve: 'prime192v1' })],
  ['ECDSA secp256k1', () => made('ec', { namedCurve: 'secp256k1' })],
  ['ECDSA brainpoolP256r1', () => made('ec', { namedCurve: 'brainpoolP256r1' })],
  ['ECDSA 1.2.3.4', () => ecSpki('1.2.3.4', Uint8Array.of(4))],
  [
    'ECDSA with explicit curve parameters',
    () => made('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }),
  ],
  ['X25519', () => made('x25519', {})],
  ['Ed448', () => made('ed448', {})],
  ['DSA', () => made('dsa', { modulusLength: 1024, divisorLength: 160 })],
  ['RSASSA-PSS', () => made('rsa-pss', { modulusLength: 1024 })],
  ['ML-DSA-44', () => spki([objectIdentifier('2.16.840.1.101.3.4.3.17')], Buffer.alloc(1312))],
  ['ML-DSA-65', () => spki([objectIdentifier('2.16.840.1.101.3.4.3.18')], Buffer.alloc(1952))],
  ['ML-DSA-87', () => spki([objectIdentifier('2.16.840.1.101.3.4.3.19')], Buffer.alloc(2592))],
  ['1.3.6.1.4.1.99999.1', () => spki([objectIdentifier('1.3.6.1.4.1.99999.1'), derNull], Buffer.alloc(7))],
];
for (const [algorithm, bytes] of unsupported) {
  test(`${algorithm} can be read and is not supported`, () => {
    assert.deepEqual(readSubjectKey(bytes()), { kind: 'unsupported', algorithm });
  });
}

function p256Point(): Buffer {
  return key('ECDSA P-256').spki.subarray(-65);
}

/** The last octet of y changed: a point beside the curve. */
function offCurve(): Buffer {
  const point = Buffer.from(p256Point());
  point[64] = (point[64] ?? 0) ^ 1;
  return point;
}

function compressed(): Buffer {
  const point = p256Point();
  return Buffer.concat([Uint8Array.of(2 + ((point[64] ?? 0) & 1)), point.subarray(1, 33)]);
}

const unreadable: readonly [name: string, spki: () => Uint8Array, reason: RegExp][] = [
  ['nothing', () => Buffer.alloc(0), /truncated/],
  ['text', () => Buffer.from('-----BEGIN PUBLIC KEY-----'), /tag|truncated/],
  ['a truncated key', () => key('ECDSA P-256').spki.subarray(0, -1), /truncated/],
  ['trailing bytes', () => Buffer.concat([key('ECDSA P-256').spki, Uint8Array.of(0)]), /trailing/],
  [
    'a key of two BIT STRINGs',
    () =>
      sequence(
        sequence(objectIdentifier(oids.ed25519)),
        bitString(Buffer.alloc(32)),
        bitString(Buffer.alloc(32)),
      ),
    /more elements/,
  ],
  ['a compressed point', () => ecSpki(oids.p256, compressed()), /uncompressed/],
  ['a point beside the curve', () => ecSpki(oids.p256, offCurve()), /uncompressed/],
  ['a coordinate not below p', () => ecSpki(oids.p256, Buffer.alloc(65, 0xff).fill(4, 0, 1)), /uncompressed/],
  ['the point at infinity', () => ecSpki(oids.p256, Uint8Array.of(0)), /uncompressed/],
  ['a hybrid point', () => ecSpki(oids.p256, Buffer.from(p256Point()).fill(6, 0, 1)), /uncompressed/],
  ['a P-256 point marked as P-384', () => ecSpki(oids.p384, p256Point()), /P-384/],
  ['an EC key without a curve', () => spki([objectIdentifier(oids.ecPublicKey)], p256Point()), /curve/],
  [
    'an EC key with NULL for a curve',
    () => spki([objectIdentifier(oids.ecPublicKey), derNull], p256Point()),
    /curve/,
  ],
  [
    'an Ed25519 key of 31 octets',
    () => spki([objectIdentifier(oids.ed25519)], Buffer.alloc(31)),
    /32 octets/,
  ],
  [
    'an Ed25519 key with parameters',
    () => spki([objectIdentifier(oids.ed25519), derNull], Buffer.alloc(32)),
    /parameters/,
  ],
  ['an RSA key without NULL', () => spki([objectIdentifier(oids.rsaEncryption)], Buffer.alloc(9)), /NULL/],
  [
    'an RSA key that is not a SEQUENCE',
    () => spki([objectIdentifier(oids.rsaEncryption), derNull], Buffer.alloc(9)),
    /tag/,
  ],
  [
    'an RSA modulus of zero',
    () =>
      spki(
        [objectIdentifier(oids.rsaEncryption), derNull],
        sequence(unsignedInteger(Uint8Array.of(0)), unsignedInteger(f4)),
      ),
    /modulus is zero/,
  ],
  [
    'an RSA exponent that is negative',
    () =>
      spki(
        [objectIdentifier(oids.rsaEncryption), derNull],
        sequence(unsignedInteger(f4), Uint8Array.of(2, 1, 0x81)),
      ),
    /exponent is negative/,
  ],
  [
    'unused bits',
    () => sequence(sequence(objectIdentifier(oids.ed25519)), Buffer.from(`032101${'00'.repeat(32)}`, 'hex')),
    /whole number of octets/,
  ],
];
for (const [name, bytes, reason] of unreadable) {
  test(`${name} is unreadable`, () => {
    const read = readSubjectKey(bytes());
    assert.equal(read.kind, 'unreadable');
    assert.match(read.kind === 'unreadable' ? read.reason : '', reason);
  });
}

test('OpenSSL can read all keys that are supported', () => {
  for (const name of subjectKeyNames) {
    assert.ok(createPublicKey({ key: key(name).spki, format: 'der', type: 'spki' }));
  }
});
