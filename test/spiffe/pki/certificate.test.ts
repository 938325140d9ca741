import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { readCertificate } from '../../../spiffe/pki/certificate.ts';
import { contextTag, tags } from '../../../spiffe/pki/der.ts';
import {
  bitString,
  derNull,
  derTrue,
  encode,
  objectIdentifier,
  octetString,
  sequence,
} from '../../../spiffe/pki/der-writer.ts';
import { isSignedBy } from '../../../spiffe/pki/verify.ts';
import { makeCa } from './authorities.ts';
import { keyShelf } from './keys.ts';

const key = keyShelf();

test('a root that another library made is read', async () => {
  const ca = await makeCa({
    keyName: 'ECDSA P-384',
    subject: 'O=example.org, CN=root',
    notBefore: 1_700_000_000,
    notAfter: 2_600_000_000,
  });
  const { facts } = ca;
  const oracle = new X509Certificate(ca.pem);
  assert.equal(facts.sha256Hex, createHash('sha256').update(oracle.raw).digest('hex'));
  assert.equal(facts.serialHex, oracle.serialNumber.toLowerCase());
  assert.deepEqual([facts.hasIssuer, facts.hasSubject], [true, true]);
  assert.equal(facts.selfIssued, true);
  assert.equal(facts.notBefore, 1_700_000_000);
  assert.equal(facts.notAfter, 2_600_000_000);
  assert.equal(facts.isCa, true);
  assert.equal(facts.pathLen, undefined);
  assert.equal(facts.basicConstraintsCritical, true);
  assert.deepEqual(facts.keyUsage, ['keyCertSign', 'cRLSign']);
  assert.equal(facts.keyUsageCritical, true);
  assert.deepEqual(facts.extKeyUsage, []);
  assert.deepEqual(facts.uris, ['spiffe://example.org']);
  assert.equal(facts.signatureAlgorithm, 'ecdsa-with-SHA384');
  assert.equal(facts.publicKey.kind, 'supported');
  assert.deepEqual(facts.keyId, facts.authorityKeyId);
});

test('a certificate shows which CA signed it', async () => {
  const root = await makeCa({ key: key('Ed25519') });
  const other = await makeCa({ keyName: 'ECDSA P-256' });
  const intermediate = await makeCa({ keyName: 'ECDSA P-256', subject: 'CN=below', issuer: root });
  assert.equal(isSignedBy(root.facts, root.facts), true);
  assert.equal(isSignedBy(intermediate.facts, root.facts), true);
  assert.equal(isSignedBy(intermediate.facts, other.facts), false);
  assert.equal(isSignedBy(root.facts, intermediate.facts), false);
  const altered = Uint8Array.from(intermediate.facts.tbs);
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  assert.equal(isSignedBy({ ...intermediate.facts, tbs: altered }, root.facts), false);
  assert.equal(
    isSignedBy({ ...intermediate.facts, signatureAlgorithm: 'sha1WithRSAEncryption' }, root.facts),
    false,
  );
  assert.equal(
    isSignedBy({ ...intermediate.facts, signatureAlgorithm: 'ecdsa-with-SHA256' }, root.facts),
    false,
  );
});

const version3 = encode(contextTag(0), encode(tags.integer, Uint8Array.of(2)));
const serial = encode(tags.integer, Uint8Array.of(1));
const algorithm = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const otherAlgorithm = sequence(objectIdentifier('1.2.840.113549.1.1.11'), derNull);
const emptyName = sequence();
const utcTime = (text: string): Buffer => encode(tags.utcTime, Buffer.from(text));
const validity = sequence(utcTime('260101000000Z'), utcTime('270101000000Z'));
const extension = (oid: string, value: Uint8Array, critical = false): Buffer =>
  sequence(objectIdentifier(oid), ...(critical ? [derTrue] : []), octetString(value));
const basicConstraints = (hex: string): Buffer => extension('2.5.29.19', Buffer.from(hex, 'hex'));
const keyUsage = (hex: string): Buffer => extension('2.5.29.15', Buffer.from(hex, 'hex'));
const subjectAltName = (hex: string): Buffer => extension('2.5.29.17', Buffer.from(hex, 'hex'));

interface Parts {
  version?: Uint8Array;
  serial?: Uint8Array;
  inner?: Uint8Array;
  validity?: Uint8Array;
  extensions?: Uint8Array | undefined;
  behindExtensions?: Uint8Array;
  behindSignature?: Uint8Array;
}

/** A certificate of parts; its signature is worthless. */
function certificate(parts: Parts = {}): Buffer {
  const list = 'extensions' in parts ? parts.extensions : sequence(basicConstraints('3000'));
  const tbs = sequence(
    parts.version ?? version3,
    parts.serial ?? serial,
    parts.inner ?? algorithm,
    emptyName,
    parts.validity ?? validity,
    emptyName,
    key('ECDSA P-256').spki,
    ...(list ? [encode(contextTag(3), list)] : []),
    ...(parts.behindExtensions ? [parts.behindExtensions] : []),
  );
  return sequence(
    tbs,
    algorithm,
    bitString(Buffer.alloc(8)),
    ...(parts.behindSignature ? [parts.behindSignature] : []),
  );
}

const extensions = (...list: readonly Uint8Array[]): Parts => ({ extensions: sequence(...list) });

const accepted: readonly [name: string, parts: Parts, check: (facts: object) => boolean][] = [
  [
    'no extensions',
    { extensions: undefined },
    (facts) => 'keyUsage' in facts && facts.keyUsage === undefined,
  ],
  [
    'a serial with its top bit set',
    { serial: encode(tags.integer, Uint8Array.of(0, 0xff)) },
    (facts) => 'serialHex' in facts && facts.serialHex === 'ff',
  ],
  [
    'a path length',
    extensions(basicConstraints('30060101ff020103')),
    (facts) => 'pathLen' in facts && facts.pathLen === 3,
  ],
  [
    'an unknown critical extension',
    extensions(extension('1.2.3.4', derNull, true)),
    (facts) => 'extensions' in facts,
  ],
  [
    'nine usage bits',
    extensions(keyUsage('030307ff80')),
    (facts) => 'keyUsage' in facts && Array.isArray(facts.keyUsage) && facts.keyUsage.length === 9,
  ],
  [
    'a DNS name and an IP address',
    extensions(subjectAltName('300b8203612e6287047f000001')),
    (facts) => 'dnsNames' in facts && JSON.stringify(facts.dnsNames) === '["a.b"]',
  ],
];
for (const [name, parts, check] of accepted) {
  test(`a certificate is read with ${name}`, () => {
    const facts = readCertificate(certificate(parts));
    assert.ok(facts.ok, facts.ok ? '' : facts.reason);
    assert.ok(check(facts.value));
  });
}

const refused: readonly [name: string, der: () => Uint8Array, reason: RegExp][] = [
  ['nothing', () => Buffer.alloc(0), /truncated/],
  ['a truncated certificate', () => certificate().subarray(0, -1), /truncated/],
  ['trailing bytes', () => Buffer.concat([certificate(), derNull]), /trailing/],
  [
    'version 1',
    () => certificate({ version: encode(contextTag(0), encode(tags.integer, Uint8Array.of(0))) }),
    /version/,
  ],
  ['the serial zero', () => certificate({ serial: encode(tags.integer, Uint8Array.of(0)) }), /zero/],
  ['a negative serial', () => certificate({ serial: encode(tags.integer, Uint8Array.of(0x80)) }), /negative/],
  [
    'a serial of 21 octets',
    () => certificate({ serial: encode(tags.integer, Buffer.alloc(21, 1)) }),
    /20 octets/,
  ],
  ['two algorithms', () => certificate({ inner: otherAlgorithm }), /differ/],
  [
    'an invalid date',
    () => certificate({ validity: sequence(utcTime('260231000000Z'), utcTime('270101000000Z')) }),
    /calendar/,
  ],
  ['one date', () => certificate({ validity: sequence(utcTime('260101000000Z')) }), /notAfter is missing/],
  ['an empty list of extensions', () => certificate(extensions()), /empty/],
  [
    'an extension twice',
    () => certificate(extensions(basicConstraints('3000'), basicConstraints('3000'))),
    /twice/,
  ],
  ['something behind the extensions', () => certificate({ behindExtensions: derNull }), /more elements/],
  ['something behind the signature', () => certificate({ behindSignature: derNull }), /more elements/],
  ['cA FALSE written out', () => certificate(extensions(basicConstraints('3003010100'))), /writes out/],
  ['cA of value 1', () => certificate(extensions(basicConstraints('3003010101'))), /BOOLEAN/],
  [
    'a negative path length',
    () => certificate(extensions(basicConstraints('30060101ff0201ff'))),
    /out of range/,
  ],
  ['a keyUsage with trailing zero bits', () => certificate(extensions(keyUsage('03020080'))), /shortest/],
  ['a keyUsage with an unused bit set', () => certificate(extensions(keyUsage('03020781'))), /shortest/],
  ['a keyUsage of three octets', () => certificate(extensions(keyUsage('030400808080'))), /list of usages/],
  [
    'an empty extKeyUsage',
    () => certificate(extensions(extension('2.5.29.37', sequence()))),
    /extKeyUsage is empty/,
  ],
  [
    'an empty subjectAltName',
    () => certificate(extensions(subjectAltName('3000'))),
    /subjectAltName is empty/,
  ],
  ['a URI beyond ASCII', () => certificate(extensions(subjectAltName('30048602c3a9'))), /ASCII/],
  ['trailing bytes in an extension', () => certificate(extensions(basicConstraints('30000500'))), /trailing/],
];
for (const [name, der, reason] of refused) {
  test(`a certificate is refused: ${name}`, () => {
    const read = readCertificate(der());
    assert.equal(read.ok, false);
    assert.match(read.ok ? '' : read.reason, reason);
  });
}
