import 'reflect-metadata';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { type CertificateNames, subjectAltName } from '../../../spiffe/pki/subject-alt-name.ts';

const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
const dnsName = fc.array(label, { minLength: 1, maxLength: 12 }).map((labels) => labels.join('.'));
const uri = fc
  .string({ unit: fc.constantFrom(...'aZ09-_./'), maxLength: 300, size: 'max' })
  .map((path) => `spiffe://example.org/${path}`);

test('another library reads the same subjectAltName in the same order, and as critical', () => {
  fc.assert(
    fc.property(fc.array(uri, { maxLength: 3 }), fc.array(dnsName, { maxLength: 5 }), (uris, dnsNames) => {
      fc.pre(uris.length + dnsNames.length > 0);
      const der = subjectAltName({ uris, dnsNames });
      const extension = new x509.SubjectAlternativeNameExtension(Uint8Array.from(der));
      assert.ok(extension.critical);
      assert.deepEqual(
        extension.names.items.map(({ type, value }) => [type, value]),
        [...uris.map((name) => ['url', name]), ...dnsNames.map((name) => ['dns', name])],
      );
    }),
  );
});

const refused: readonly (readonly [what: string, names: Partial<CertificateNames>])[] = [
  ['no name at all', {}],
  ['an empty URI', { uris: [''] }],
  ['a URI with a space', { uris: ['spiffe://example.org/a b'] }],
  ['a URI with a line end', { uris: ['spiffe://example.org/a\n'] }],
  ['a URI beyond ASCII', { uris: ['spiffe://example.org/\u{161}'] }],
  ['a bad DNS name after a good one', { dnsNames: ['a.example.org', 'a b'] }],
  ...['', '*', 'a b', 'a\u00e9', 'a.', '-a', 'A'].map(
    (name) => [`the DNS name ${JSON.stringify(name)}`, { dnsNames: [name] }] as const,
  ),
];
for (const [what, { uris = [], dnsNames = [] }] of refused) {
  test(`a subjectAltName is refused with ${what}`, () => {
    assert.throws(() => subjectAltName({ uris, dnsNames }), { code: 'DER_INVALID' });
  });
}
