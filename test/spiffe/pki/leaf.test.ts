import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCertificate } from '../../../spiffe/pki/certificate.ts';
import { encode, objectIdentifier, sequence } from '../../../spiffe/pki/der-writer.ts';
import { type CertificateProfile, type LeafFields, leafTemplates } from '../../../spiffe/pki/leaf.ts';
import { extension } from '../../../spiffe/pki/leaf-extensions.ts';
import { oids } from '../../../spiffe/pki/oid.ts';
import { encodePem } from '../../../spiffe/pki/pem.ts';
import { certificateSigner } from '../../../spiffe/pki/sign.ts';
import { subjectAltName } from '../../../spiffe/pki/subject-alt-name.ts';
import { svidProfile } from '../../../spiffe/svid-profile.ts';
import { fixedKey, keyShelf, supportedKey } from './keys.ts';

const key = keyShelf();
const authorityKey = fixedKey('authority of the golden leaf');
const authoritySpki = createPublicKey(authorityKey).export({ type: 'spki', format: 'der' });
const subject = supportedKey(
  createPublicKey(fixedKey('subject of the golden leaf')).export({ type: 'spki', format: 'der' }),
);
const signer = certificateSigner(authorityKey);
/** CN=root, as UTF8String. */
const issuerDer = sequence(
  encode(0x31, sequence(objectIdentifier('2.5.4.3'), encode(0x0c, Buffer.from('root')))),
);
const templateFor = leafTemplates({
  issuerDer,
  keyId: supportedKey(authoritySpki).keyId,
  algorithmDer: signer.algorithmDer,
});
const template = templateFor(svidProfile);
const uri = 'spiffe://example.org/ns/shop/sa/web';

const golden: LeafFields = {
  serial: Uint8Array.from({ length: 20 }, (_, octet) => 0x40 + octet),
  notBefore: Date.UTC(2026, 10, 22, 12) / 1000,
  notAfter: Date.UTC(2026, 10, 23, 12) / 1000,
  key: subject,
  subjectAltName: subjectAltName({ uris: [uri], dnsNames: [] }),
};

async function leafOf(fields: LeafFields, profile = svidProfile): Promise<Uint8Array> {
  const template = templateFor(profile);
  const tbs = template.build(fields);
  return template.assemble(tbs, await signer.sign(tbs));
}

test('a leaf of fixed keys, serial and dates is the same to the byte as the golden one', async () => {
  const expected = readFileSync(join(import.meta.dirname, '../../vectors/leaf-ed25519.pem'), 'utf8');
  assert.equal(encodePem('CERTIFICATE', await leafOf(golden)), expected);
});

test('every field of a leaf is at its place', async () => {
  const facts = readCertificate(await leafOf(golden));
  assert.ok(facts.ok);
  const { value } = facts;
  assert.equal(value.serialHex, '404142434445464748494a4b4c4d4e4f50515253');
  assert.deepEqual([value.hasIssuer, value.hasSubject], [true, false]);
  assert.equal(value.notBefore, golden.notBefore);
  assert.equal(value.notAfter, golden.notAfter);
  assert.deepEqual(Buffer.from(value.spki), Buffer.from(subject.spki));
  assert.deepEqual(Buffer.from(value.keyId), Buffer.from(subject.keyId));
  assert.deepEqual(Buffer.from(value.authorityKeyId ?? []), Buffer.from(supportedKey(authoritySpki).keyId));
  assert.deepEqual(value.uris, [uri]);
  assert.deepEqual(value.keyUsage, ['digitalSignature']);
  assert.deepEqual(value.extKeyUsage, ['serverAuth', 'clientAuth']);
  assert.equal(value.isCa, false);
  assert.deepEqual(
    value.extensions.map(({ name, critical }) => [name, critical]),
    [
      ['keyUsage', true],
      ['extKeyUsage', false],
      ['basicConstraints', true],
      ['authorityKeyIdentifier', false],
      ['subjectKeyIdentifier', false],
      ['subjectAltName', true],
    ],
  );
});

for (const length of [1, 100, 126, 127, 128, 129, 200, 240, 255, 256, 257, 1000, 2048]) {
  test(`a URI of ${length} bytes in a leaf is read unchanged`, async () => {
    const uri = 'spiffe://example.org/'.padEnd(length, 'a').slice(0, length);
    const names = subjectAltName({ uris: [uri], dnsNames: [] });
    const facts = readCertificate(await leafOf({ ...golden, subjectAltName: names }));
    assert.deepEqual(facts.ok && facts.value.uris, [uri]);
  });
}

for (const serial of [[1], [0x7f], [0, 0x80], [0, 0xff, 0xff]]) {
  test(`a leaf can have the serial ${serial}`, async () => {
    const facts = readCertificate(await leafOf({ ...golden, serial: Uint8Array.from(serial) }));
    assert.equal(
      facts.ok && facts.value.serialHex,
      Buffer.from(serial.filter((octet) => octet > 0)).toString('hex'),
    );
  });
}

const refused: readonly [name: string, fields: Partial<LeafFields>][] = [
  ['no serial', { serial: new Uint8Array() }],
  ['the serial zero', { serial: Uint8Array.of(0) }],
  ['a negative serial', { serial: Uint8Array.of(0x80, 1) }],
  ['a serial with a redundant zero octet', { serial: Uint8Array.of(0, 0x7f) }],
  ['a serial of 21 octets', { serial: new Uint8Array(21).fill(1) }],
  ['a notBefore with a fraction', { notBefore: golden.notBefore + 0.5 }],
  ['a notAfter beyond 9999', { notAfter: 1e12 }],
];
for (const [name, fields] of refused) {
  test(`a leaf is not built with ${name}`, () => {
    assert.throws(() => template.build({ ...golden, ...fields }), { code: 'DER_INVALID' });
  });
}

test('a profile decides about key usage, by kind of key, and extended key usage', async () => {
  const profile: CertificateProfile = {
    keyUsage: {
      EC: ['digitalSignature', 'keyAgreement'],
      RSA: ['digitalSignature', 'keyEncipherment'],
      Ed25519: ['digitalSignature', 'decipherOnly'],
    },
    extKeyUsage: ['serverAuth'],
  };
  for (const [name, expected] of [
    ['ECDSA P-256', profile.keyUsage.EC],
    ['RSA 3072', profile.keyUsage.RSA],
    ['Ed25519', profile.keyUsage.Ed25519],
  ] as const) {
    const facts = readCertificate(await leafOf({ ...golden, key: supportedKey(key(name).spki) }, profile));
    assert.ok(facts.ok, facts.ok ? '' : facts.reason);
    assert.deepEqual([facts.value.keyUsage, facts.value.extKeyUsage], [expected, ['serverAuth']], name);
  }
});

test('the template of a profile is compiled once', () => {
  assert.equal(templateFor(svidProfile), template);
  assert.notEqual(templateFor({ ...svidProfile }), template);
});

test('further extensions of a leaf come after those of the template', async () => {
  const furtherExtensions = extension(oids.issuerAltName, 'not critical', sequence());
  const facts = readCertificate(await leafOf({ ...golden, furtherExtensions }));
  assert.equal(facts.ok && facts.value.extensions.at(-1)?.name, 'issuerAltName');
});
