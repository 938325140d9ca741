import 'reflect-metadata';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { readCsrKey, readProvenCsrKey } from '../../spiffe/pki/csr.ts';
import { octetString, sequence } from '../../spiffe/pki/der-writer.ts';
import { webAlgorithm, webKeyPair } from '../spiffe/pki/authorities.ts';
import { keyShelf, subjectKeyNames, supportedKey } from '../spiffe/pki/keys.ts';

const key = keyShelf();

const word = fc.string({ unit: fc.constantFrom(...'abcXYZ019 -_.'), minLength: 1, maxLength: 30 });
const host = fc.domain();
const subjects = fc.array(
  fc.tuple(fc.constantFrom('CN', 'O', 'OU', 'C', 'DC'), word).map(([type, value]) => ({ [type]: [value] })),
  { maxLength: 6 },
);
const generalNames = fc.array(
  fc.oneof(
    word.map((name) => ({
      type: 'url' as const,
      value: `spiffe://attacker.example/${encodeURIComponent(name)}`,
    })),
    host.map((value) => ({ type: 'dns' as const, value })),
    fc.ipV4().map((value) => ({ type: 'ip' as const, value })),
    host.map((name) => ({ type: 'email' as const, value: `root@${name}` })),
  ),
  { minLength: 1, maxLength: 10 },
);
const oids = fc
  .array(fc.nat(99_999), { minLength: 1, maxLength: 4 })
  .map((arcs) => ['1.3.6.1.4.1', ...arcs].join('.'));
const extensions = fc.array(
  fc.oneof(
    generalNames.map((names) => new x509.SubjectAlternativeNameExtension(names, true)),
    fc.boolean().map((isCa) => new x509.BasicConstraintsExtension(isCa, isCa ? 5 : undefined, true)),
    fc.integer({ min: 1, max: 511 }).map((usage) => new x509.KeyUsagesExtension(usage, true)),
    fc.constant(new x509.ExtendedKeyUsageExtension(['2.5.29.37.0'], true)),
    fc
      .tuple(oids, fc.boolean(), fc.uint8Array({ maxLength: 200 }))
      .map(([oid, critical, value]) => new x509.Extension(oid, critical, octetString(value))),
  ),
  { maxLength: 6 },
);
const attributes = fc.array(
  fc.oneof(
    word.map((password) => new x509.ChallengePasswordAttribute(password)),
    fc.tuple(oids, fc.array(fc.uint8Array({ maxLength: 100 }), { minLength: 1, maxLength: 3 })).map(
      ([oid, values]) =>
        new x509.Attribute(
          oid,
          values.map((value) => Uint8Array.from(sequence(octetString(value))).buffer),
        ),
    ),
  ),
  { maxLength: 4 },
);

for (const name of subjectKeyNames) {
  test(`only the ${name} key of a request is used, with anything else in it`, async () => {
    const keys = await webKeyPair(name, key(name).privateKey);
    const expected = supportedKey(key(name).spki);
    await fc.assert(
      fc.asyncProperty(subjects, extensions, attributes, async (subject, asked, extra) => {
        const request = await x509.Pkcs10CertificateRequestGenerator.create({
          name: subject,
          keys,
          signingAlgorithm: webAlgorithm(name),
          extensions: asked,
          attributes: extra,
        });
        assert.deepEqual(readCsrKey(Buffer.from(request.rawData)), expected);
        assert.deepEqual(readProvenCsrKey(Buffer.from(request.rawData)), expected);
      }),
      { numRuns: 20 },
    );
  });
}
