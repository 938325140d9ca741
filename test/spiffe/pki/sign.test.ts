import assert from 'node:assert/strict';
import { createPublicKey, createSecretKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { test } from 'node:test';
import { authorityKeyNames, certificateSigner, nameOfKey } from '../../../spiffe/pki/sign.ts';
import { makeKey } from './keys.ts';

const tbs = Buffer.from('what is to be signed');
const digests = {
  'ECDSA P-256': 'sha256',
  'ECDSA P-384': 'sha384',
  'RSA 3072': 'sha256',
  'RSA 4096': 'sha256',
  Ed25519: null,
};

for (const name of authorityKeyNames as (keyof typeof digests)[]) {
  const inline = name === 'ECDSA P-256' || name === 'Ed25519';
  test(`a key of ${name} signs ${inline ? 'at once' : 'on the thread pool'}, and the signature verifies`, async () => {
    const { privateKey } = makeKey(name);
    const signer = certificateSigner(privateKey);
    assert.equal(nameOfKey(privateKey), name);
    const signature = signer.sign(tbs);
    assert.equal(signature instanceof Promise, !inline);
    assert.ok(verify(digests[name], tbs, createPublicKey(privateKey), await signature));
  });
}

const refused: readonly [name: string, key: () => KeyObject][] = [
  ['RSA 2048', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ['ECDSA P-521', () => makeKey('ECDSA P-521').privateKey],
  ['ECDSA secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey],
  ['ed448', () => generateKeyPairSync('ed448').privateKey],
  ['rsa-pss', () => generateKeyPairSync('rsa-pss', { modulusLength: 3072 }).privateKey],
  ['ECDSA P-256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey],
  ['secret', () => createSecretKey(Buffer.alloc(32))],
];
for (const [name, make] of refused) {
  test(`a ${make().type} key of type ${name} does not sign`, () => {
    const key = make();
    assert.equal(nameOfKey(key), name);
    assert.throws(() => certificateSigner(key), { code: 'KEY_UNSUPPORTED', message: new RegExp(name) });
  });
}
