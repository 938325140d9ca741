import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as x509 from '@peculiar/x509';
import { maxCsrBytes, readCsrKey, readProvenCsrKey } from '../../../spiffe/pki/csr.ts';
import { contextTag, tags } from '../../../spiffe/pki/der.ts';
import { bitString, encode, objectIdentifier, sequence } from '../../../spiffe/pki/der-writer.ts';
import { readSubjectKey } from '../../../spiffe/pki/spki.ts';
import { webAlgorithm, webKeyPair } from './authorities.ts';
import { keyShelf, subjectKeyNames, type TestKey } from './keys.ts';
import { requestAround, stubRequest } from './requests.ts';

const key = keyShelf();

const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-csr-'));
after(() => rmSync(folder, { recursive: true }));

/** A request made by OpenSSL (DER) with a subject, a SAN and more options. */
function openssl(of: TestKey, ...options: string[]): Buffer {
  const file = join(folder, 'key.pem');
  writeFileSync(file, of.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const usual = [
    '-subj',
    '/CN=admin/O=attacker',
    '-addext',
    'subjectAltName=URI:spiffe://attacker.example/x',
  ];
  const args = ['req', '-new', '-key', file, '-outform', 'DER', ...usual, ...options];
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
}

const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:-1'];
for (const name of subjectKeyNames) {
  const expected = () => readSubjectKey(key(name).spki);

  test(`a request proves the ${name} key that has signed it, made by any program`, async () => {
    assert.deepEqual(readProvenCsrKey(stubRequest(key(name))), expected());
    assert.deepEqual(readProvenCsrKey(openssl(key(name))), expected());
    const made = await x509.Pkcs10CertificateRequestGenerator.create({
      name: 'CN=admin',
      keys: await webKeyPair(name, key(name).privateKey),
      signingAlgorithm: webAlgorithm(name),
      attributes: [new x509.ChallengePasswordAttribute('open sesame')],
    });
    assert.deepEqual(readProvenCsrKey(Buffer.from(made.rawData)), expected());
  });

  const isRsa = name.startsWith('RSA');
  for (const digest of name === 'Ed25519' ? [] : ['sha256', 'sha384', 'sha512']) {
    test(`a request that is signed with ${digest} proves its ${name} key`, () => {
      assert.deepEqual(readProvenCsrKey(openssl(key(name), `-${digest}`)), expected());
      if (isRsa) assert.deepEqual(readProvenCsrKey(openssl(key(name), `-${digest}`, ...pss)), expected());
    });
  }

  test(`a request with the ${name} key of another requester is refused`, () => {
    const info = sequence(
      encode(tags.integer, Uint8Array.of(0)),
      sequence(),
      key(name).spki,
      encode(contextTag(0)),
    );
    const thief = key(name === 'ECDSA P-256' ? 'ECDSA P-384' : 'ECDSA P-256');
    const forged = sequence(
      info,
      sequence(objectIdentifier('1.2.840.10045.4.3.2')),
      bitString(sign('sha256', info, thief.privateKey)),
    );
    assert.equal(readCsrKey(forged).kind, 'supported');
    assert.deepEqual(readProvenCsrKey(forged), {
      kind: 'unproven',
      reason: 'is not one of the key that is in it',
    });
  });
}

for (const name of ['ECDSA P-256', 'Ed25519'] as const) {
  test(`a request of a ${name} key with any bit inverted is refused`, () => {
    const request = openssl(key(name));
    for (let bit = 0; bit < request.length * 8; bit++) {
      const altered = Buffer.from(request);
      altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const read = readProvenCsrKey(altered);
      assert.notEqual(read.kind, 'supported', `bit ${bit}`);
    }
  });
}

const unproven: readonly [name: string, request: () => Uint8Array, reason: RegExp][] = [
  ['SHA-1', () => openssl(key('RSA 3072'), '-sha1'), /^is made with sha1WithRSAEncryption; use SHA-256/],
  ['SHA-1 and ECDSA', () => openssl(key('ECDSA P-256'), '-sha1'), /^is made with ecdsa-with-SHA1; use/],
  [
    'a salt of another length than the hash',
    () => openssl(key('RSA 3072'), '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:20'),
    /^is made with RSASSA-PSS; use/,
  ],
  ['an invalid signature', () => requestAround(key('ECDSA P-256').spki), /is not one of the key/],
  [
    'the name of an algorithm for another kind of key',
    () => {
      const request = stubRequest(key('RSA 3072'));
      const info = request.subarray(4, 4 + request.readUInt16BE(6) + 4);
      const signature = sign('sha256', info, key('RSA 3072').privateKey);
      return sequence(info, sequence(objectIdentifier('1.2.840.10045.4.3.2')), bitString(signature));
    },
    /is not one of the key/,
  ],
];
for (const [name, request, reason] of unproven) {
  test(`a request with ${name} does not prove its key`, () => {
    assert.equal(readCsrKey(request()).kind, 'supported');
    const read = readProvenCsrKey(request());
    assert.equal(read.kind, 'unproven');
    assert.match(read.kind === 'unproven' ? read.reason : '', reason);
  });
}

test('an unsupported key is reported as that, and bytes that are not a request as unreadable', () => {
  const rsa2048 = execFileSync(
    'openssl',
    ['req', '-new', '-newkey', 'rsa:2048', '-nodes', '-subj', '/', '-keyout', '/dev/null', '-outform', 'DER'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  assert.deepEqual(readProvenCsrKey(rsa2048), { kind: 'unsupported', algorithm: 'RSA 2048' });
  assert.equal(readProvenCsrKey(Buffer.alloc(0)).kind, 'unreadable');
  assert.equal(readProvenCsrKey(sequence(Buffer.alloc(maxCsrBytes))).kind, 'unreadable');
  assert.equal(readProvenCsrKey(key('ECDSA P-256').spki).kind, 'unreadable');
});
