import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSpiffeId, parseSpiffeId } from '../../spiffe/id.ts';

const longest = `spiffe://example.org/${'a'.repeat(2048 - 'spiffe://example.org/'.length)}`;

const accepted: readonly [uri: string, trustDomain: string, path: string][] = [
  ['spiffe://example.org', 'example.org', ''],
  ['spiffe://example.org/ns/shop/sa/web', 'example.org', '/ns/shop/sa/web'],
  ['spiffe://10.1.2.3/web', '10.1.2.3', '/web'],
  ['spiffe://a_b-c.d/web', 'a_b-c.d', '/web'],
  ['spiffe://-/web', '-', '/web'],
  ['spiffe://..-_/web', '..-_', '/web'],
  ['spiffe://1/2/3', '1', '/2/3'],
  ['spiffe://example.org/...', 'example.org', '/...'],
  ['spiffe://example.org/.a/b./c..d/-/_', 'example.org', '/.a/b./c..d/-/_'],
  ['spiffe://example.org/UPPER/Case', 'example.org', '/UPPER/Case'],
  [`spiffe://${'a'.repeat(255)}/web`, 'a'.repeat(255), '/web'],
  [longest, 'example.org', longest.slice('spiffe://example.org'.length)],
];
for (const [uri, trustDomain, path] of accepted) {
  test(`a SPIFFE ID is read: ${uri.slice(0, 60)} of ${uri.length} bytes`, () => {
    assert.deepEqual(parseSpiffeId(uri), { ok: true, value: { trustDomain, path, uri } });
  });
}

const refused: readonly [uri: string, reason: RegExp][] = [
  ['', /begins with/],
  ['example.org/web', /begins with/],
  ['https://example.org/web', /begins with/],
  ['SPIFFE://example.org/web', /lower case/],
  ['Spiffe://example.org/web', /lower case/],
  [' spiffe://example.org/web', /begins with/],
  ['spiffe:example.org/web', /begins with/],
  ['spiffe:/example.org/web', /begins with/],
  ['spiffe://', /trust domain is empty/],
  ['spiffe:///web', /trust domain is empty/],
  ['spiffe://user@example.org/web', /no user/],
  ['spiffe://user:secret@example.org/web', /no user/],
  ['spiffe://example.org:443/web', /no port/],
  ['spiffe://example.org:/web', /no port/],
  ['spiffe://[::1]/web', /IPv6/],
  ['spiffe://example.org/web?a=b', /query/],
  ['spiffe://example.org/web?', /query/],
  ['spiffe://example.org?', /query/],
  ['spiffe://example.org/web#a', /fragment/],
  ['spiffe://example.org/web#', /fragment/],
  ['spiffe://example.org#', /fragment/],
  ['spiffe://Example.org/web', /lower case/],
  ['spiffe://example%2eorg/web', /characters/],
  ['spiffe://ex ample.org/web', /characters/],
  ['spiffe://ex\u{e4}mple.org/web', /characters/],
  ['spiffe://example.org\u{0}/web', /characters/],
  ['spiffe://example.org\\web', /characters/],
  ['spiffe://example.org/', /end with/],
  ['spiffe://example.org/web/', /end with/],
  ['spiffe://example.org//web', /empty segment/],
  ['spiffe://example.org/ns//web', /empty segment/],
  ['spiffe://example.org/./web', /segment "\."/],
  ['spiffe://example.org/web/.', /segment "\."/],
  ['spiffe://example.org/../web', /segment "\.\."/],
  ['spiffe://example.org/web/..', /segment "\.\."/],
  ['spiffe://example.org/%2e%2e/web', /percent/],
  ['spiffe://example.org/a%2Fb', /percent/],
  ['spiffe://example.org/%41', /percent/],
  ['spiffe://example.org/a b', /characters/],
  ['spiffe://example.org/a@b', /characters/],
  ['spiffe://example.org/a:b', /characters/],
  ['spiffe://example.org/~a', /characters/],
  ['spiffe://example.org/a+b', /characters/],
  ['spiffe://example.org/a\u{0}b', /characters/],
  ['spiffe://example.org/a\nb', /characters/],
  ['spiffe://example.org/a\n', /characters/],
  ['spiffe://example.org/\u{65e5}', /characters/],
  ['spiffe://example.org/\u{ff0f}', /characters/],
  ['spiffe://example.org/*', /characters/],
  ['spiffe://example.org/a\\b', /characters/],
  [`spiffe://${'a'.repeat(256)}/web`, /at most 255/],
  [`${longest}a`, /at most 2048/],
];
for (const [uri, reason] of refused) {
  test(`a SPIFFE ID is refused: ${JSON.stringify(uri.slice(0, 60))} of ${uri.length} characters`, () => {
    const read = parseSpiffeId(uri);
    assert.equal(read.ok, false);
    assert.match(read.ok ? '' : read.reason, reason);
  });
}

test('the SPIFFE IDs of a workload and of a trust domain are made', () => {
  assert.deepEqual(makeSpiffeId('example.org', ['ns', 'shop', 'sa', 'web']), {
    ok: true,
    value: {
      trustDomain: 'example.org',
      path: '/ns/shop/sa/web',
      uri: 'spiffe://example.org/ns/shop/sa/web',
    },
  });
  assert.deepEqual(makeSpiffeId('example.org', []), {
    ok: true,
    value: { trustDomain: 'example.org', path: '', uri: 'spiffe://example.org' },
  });
});

test('a SPIFFE ID of 2048 bytes is made, and none that is longer', () => {
  const room = 2048 - 'spiffe://example.org/'.length;
  assert.equal(makeSpiffeId('example.org', ['a'.repeat(room)]).ok, true);
  assert.equal(makeSpiffeId('example.org', ['a'.repeat(room + 1)]).ok, false);
});

for (const segments of [
  [''],
  ['a', ''],
  ['', 'a'],
  ['.'],
  ['..'],
  ['a/b'],
  ['a?'],
  ['a#'],
  ['%41'],
  ['a b'],
  ['\u{e4}'],
]) {
  test(`no SPIFFE ID is made of the segments ${JSON.stringify(segments)}`, () => {
    assert.equal(makeSpiffeId('example.org', segments).ok, false);
  });
}
