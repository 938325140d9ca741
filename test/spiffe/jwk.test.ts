import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { publicJwkOf, readPublicJwk, thumbprintOf } from '../../spiffe/jwk.ts';

const pairs: Readonly<Record<string, { privateKey: KeyObject; publicKey: KeyObject }>> = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'P-521': generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  'RSA 2048': generateKeyPairSync('rsa', { modulusLength: 2048 }),
  Ed25519: generateKeyPairSync('ed25519'),
};

for (const [name, { privateKey, publicKey }] of Object.entries(pairs)) {
  test(`a ${name} key becomes a public JWK, from either half, with the thumbprint that jose computes`, async () => {
    const jwk = publicJwkOf(privateKey);
    assert.deepEqual(jwk, publicJwkOf(publicKey));
    assert.deepEqual({ ...jwk }, { ...publicKey.export({ format: 'jwk' }) });
    assert.equal(thumbprintOf(jwk), await calculateJwkThumbprint(jwk as JWK, 'sha256'));
    const read = readPublicJwk(jwk);
    assert.ok(read.ok && read.value.equals(publicKey));
  });

  test(`a ${name} key that brings its private half is refused`, () => {
    const read = readPublicJwk(privateKey.export({ format: 'jwk' }));
    assert.ok(!read.ok);
    assert.match(read.reason, /private member "d"/);
  });
}

test('the JWK of the example of RFC 7638 has its thumbprint', () => {
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst' +
    'n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
  assert.equal(thumbprintOf({ kty: 'RSA', e: 'AQAB', n }), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
});

test('a JWK that is not encoded as in RFC 7518 is refused', () => {
  const ec = publicJwkOf(pairs['P-256']?.publicKey as KeyObject);
  const rsa = publicJwkOf(pairs['RSA 2048']?.publicKey as KeyObject);
  const withLeadingZero = Buffer.concat([Buffer.of(0), Buffer.from(rsa.n ?? '', 'base64url')]);
  for (const jwk of [
    undefined,
    'x',
    {},
    { kty: 'oct', k: 'AAAA' },
    { ...ec, x: undefined },
    { ...ec, x: ec.x?.slice(0, -2) },
    { ...ec, x: `${ec.x}=` },
    { ...ec, y: ec.x },
    { ...ec, crv: 'P-384' },
    { ...ec, kty: 'ec' },
    { ...rsa, n: withLeadingZero.toString('base64url') },
    { ...rsa, n: `${rsa.n}==` },
    { ...rsa, e: 5 },
  ]) {
    assert.equal(readPublicJwk(jwk).ok, false, JSON.stringify(jwk));
  }
});
