import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soleElement, tags } from '../../../spiffe/pki/der.ts';
import { encode, sequence } from '../../../spiffe/pki/der-writer.ts';
import { type Extension, extensionsOf } from '../../../spiffe/pki/extensions.ts';
import { leafExtensions, type PodIdentity, readPodIdentity } from '../../../spiffe/pki/leaf-extensions.ts';
import { oids } from '../../../spiffe/pki/oid.ts';

const identity: PodIdentity = {
  namespace: 'shop',
  serviceAccountName: 'web',
  serviceAccountUID: 'a-1',
  podName: 'web-0',
  podUID: 'p-1',
  nodeName: 'node-1',
  nodeUID: 'n-1',
};
const issuer = 'https://id.example.org/cluster-1';

const podIdentity = leafExtensions({ podIdentity: true, issuer: undefined });
const issuerOf = (url: string) =>
  leafExtensions({ podIdentity: false, issuer: url })(identity) ?? Buffer.of();

const read = (...extensions: Uint8Array[]): Extension[] => {
  const list = sequence(...extensions);
  return extensionsOf(soleElement(list, tags.sequence, 'the extensions'));
};

test('the extension with the pod is the same to the byte as Go writes the struct of the KEP', () => {
  // encoding/asn1 of Go 1.23, put into the SEQUENCE of an extension.
  const expected = [
    ['303a', '06092b0601040183c25301', '042d', '302b'].join(''),
    `8004${Buffer.from('shop').toString('hex')}`,
    '8100',
    `8203${Buffer.from('web').toString('hex')}`,
    `8303${Buffer.from('a-1').toString('hex')}`,
    `8405${Buffer.from('web-0').toString('hex')}`,
    `8503${Buffer.from('p-1').toString('hex')}`,
    `8606${Buffer.from('node-1').toString('hex')}`,
    `8703${Buffer.from('n-1').toString('hex')}`,
  ].join('');
  assert.equal(Buffer.from(podIdentity(identity) ?? []).toString('hex'), expected);
});

test('the extension with the issuer is the same to the byte as in RFC 5280', () => {
  const url = Buffer.from('https://a').toString('hex');
  assert.equal(
    Buffer.from(issuerOf('https://a')).toString('hex'),
    `3014${'0603551d12'}${'040d'}${'300b'}8609${url}`,
  );
});

test('the extensions with pod and issuer can be read again, and neither is critical', () => {
  const extensions = read(leafExtensions({ podIdentity: true, issuer })(identity) ?? Buffer.of());
  assert.deepEqual(
    extensions.map(({ name, critical }) => [name, critical]),
    [
      ['podIdentity', false],
      ['issuerAltName', false],
    ],
  );
  assert.deepEqual(readPodIdentity(extensions), { ok: true, value: { namespaceUID: '', ...identity } });
});

test('a certificate without the extensions names neither pod nor issuer', () => {
  assert.equal(readPodIdentity([]), undefined);
});

test('leaves have only the extensions that are wanted', () => {
  const names = (podIdentity: boolean, url?: string) => {
    const made = leafExtensions({ podIdentity, issuer: url })(identity);
    return made && read(made).map(({ name }) => name);
  };
  assert.equal(names(false), undefined);
  assert.deepEqual(names(true), ['podIdentity']);
  assert.deepEqual(names(false, issuer), ['issuerAltName']);
  assert.deepEqual(names(true, issuer), ['podIdentity', 'issuerAltName']);
});

for (const url of ['', 'https://a b', 'https://\u00e4.example', 'https://a\n']) {
  test(`the issuer ${JSON.stringify(url)} is not written into a leaf`, () => {
    assert.throws(() => issuerOf(url), { code: 'DER_INVALID' });
  });
}

const field = (number: number, content: string | Buffer) => encode(0x80 | number, Buffer.from(content));
const fields = ['shop', '', 'web', 'a', 'web-0', 'p', 'node-1', 'n'].map((text, n) => field(n, text));
const bad: readonly [name: string, value: Uint8Array, reason: RegExp][] = [
  ['nothing', new Uint8Array(), /truncated/],
  ['another type than a SEQUENCE', encode(0x04, Buffer.from('shop')), /tag 0x04/],
  ['a field less', sequence(...fields.slice(0, 7)), /nodeUID is missing/],
  ['a field more', sequence(...fields, field(8, 'x')), /more elements/],
  ['fields in another order', sequence(...fields.toReversed()), /namespace has tag 0x87/],
  ['a field twice', sequence(...fields.slice(0, 7), field(6, 'node-2')), /nodeUID has tag 0x86/],
  ['fields without their tags', sequence(...fields.map(() => encode(0x0c, Buffer.from('a')))), /tag 0x0c/],
  ['explicit tags', sequence(...fields.map((each, n) => encode(0xa0 | n, each))), /tag 0xa0/],
  ['bytes behind it', Buffer.concat([sequence(...fields), Buffer.of(0)]), /trailing/],
  [
    'bytes that are not UTF-8',
    sequence(field(0, Buffer.of(0xff)), ...fields.slice(1)),
    /namespace is not printable UTF-8/,
  ],
  ['a control character', sequence(field(0, 'shop\n'), ...fields.slice(1)), /namespace is not printable/],
];
for (const [name, value, reason] of bad) {
  test(`the extension with the pod is not read with ${name}`, () => {
    const extension = { oid: oids.podIdentity, name: 'podIdentity', critical: false, value };
    const result = readPodIdentity([extension]);
    assert.match(result && !result.ok ? result.reason : 'it was read', reason);
  });
}
