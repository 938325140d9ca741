import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodePem, encodePem } from '../../../spiffe/pki/pem.ts';

const one = encodePem(
  'CERTIFICATE',
  Buffer.from('some bytes that are longer than one line of sixty-four characters'),
);
const two = encodePem('CERTIFICATE', Buffer.from([1, 2, 3]));

test('PEM is written in lines of 64 characters and ends with a line end', () => {
  assert.match(
    one,
    /^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/]{64}\n[A-Za-z0-9+/]{1,64}={0,2}\n-----END CERTIFICATE-----\n$/,
  );
  assert.equal(encodePem('X', Buffer.alloc(48)), `-----BEGIN X-----\n${'A'.repeat(64)}\n-----END X-----\n`);
});

test('PEM of a view into a larger array has only the bytes of the view', () => {
  const array = new Uint8Array([9, 9, 1, 2, 3, 9]);
  assert.equal(encodePem('CERTIFICATE', array.subarray(2, 5)), two);
});

test('several PEM blocks are read in order', () => {
  const read = decodePem(one + two, { strict: true });
  assert.ok(read.ok);
  assert.deepEqual(
    read.value.map((block) => block.der.length),
    [65, 3],
  );
});

test('PEM is read with CRLF, other line lengths and blank lines between blocks', () => {
  const loose = `\n${two.replaceAll('\n', '\r\n')}\n\n-----BEGIN A B-----\nAQ\nID\n-----END A B-----`;
  const read = decodePem(loose, { strict: true });
  assert.ok(read.ok);
  assert.deepEqual(
    read.value.map((block) => [block.label, ...block.der]),
    [
      ['CERTIFICATE', 1, 2, 3],
      ['A B', 1, 2, 3],
    ],
  );
});

test('headers and text around PEM blocks are flagged, and refused when strict', () => {
  const headers = '-----BEGIN KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END KEY-----\n';
  for (const [text, flag] of [
    [headers, 'hasHeaders'],
    [`subject=O = example\n${two}`, 'hasTextAround'],
    [`${two}the end`, 'hasTextAround'],
  ] as const) {
    const read = decodePem(text);
    assert.ok(read.ok);
    assert.deepEqual([...(read.value[0]?.der ?? [])], [1, 2, 3]);
    assert.equal(read.value[0]?.[flag], true);
    assert.equal(decodePem(text, { strict: true }).ok, false);
  }
});

const malformed: readonly [name: string, text: string, reason: RegExp][] = [
  ['nothing', '', /no PEM block/],
  ['base64 without boundaries', 'AQID', /no PEM block/],
  ['an END line alone', '-----END CERTIFICATE-----', /line 1: it looks like the boundary/],
  ['no END line', '-----BEGIN CERTIFICATE-----\nAQID\n', /no END line/],
  ['an END line of another label', '-----BEGIN A-----\nAQID\n-----END B-----\n', /no END line/],
  ['a block inside a block', `-----BEGIN A-----\n${two}-----END A-----\n`, /no END line/],
  ['a BEGIN line without its dashes', '-----BEGIN A----\nAQID\n-----END A-----\n', /malformed BEGIN/],
  ['a label of odd characters', '-----BEGIN A<b>-----\nAQID\n-----END A<b>-----\n', /malformed BEGIN/],
  ['an empty block', '-----BEGIN A-----\n-----END A-----\n', /not base64/],
  ['characters outside base64', '-----BEGIN A-----\nAQ*D\n-----END A-----\n', /not base64/],
  ['base64url', '-----BEGIN A-----\n_-__\n-----END A-----\n', /not base64/],
  ['missing padding', '-----BEGIN A-----\nAQI\n-----END A-----\n', /not base64/],
  ['padding in the middle', '-----BEGIN A-----\nAQ==AQ==\n-----END A-----\n', /not base64/],
  ['bits beyond the last octet', '-----BEGIN A-----\nAQJ=\n-----END A-----\n', /not base64/],
  ['spaces inside', '-----BEGIN A-----\nAQ ID\n-----END A-----\n', /not base64/],
  ['a byte order mark before a block', `\ufeff${one}${two}`, /line 1: it looks like the boundary/],
  ['an indented block', `${two} ${one}`, /line 4: it looks like the boundary/],
  ['text in front of a boundary', `${two}root: ${one}`, /line 4: it looks like the boundary/],
  ['a boundary with four hyphens', `${two}-${one.replaceAll('-----', '----')}`, /line 4/],
  ['a boundary in lower case', `${two}${one.replaceAll('BEGIN', 'begin')}`, /line 4: it looks like/],
  ['a boundary with dashes of a word processor', `${two}${one.replaceAll('-----', '———')}`, /line 4/],
  ['a block that has lost its first line', `${two}${one.slice(one.indexOf('\n') + 1)}`, /line 6: it looks/],
  ['a good block before a bad one', `${two}-----BEGIN A-----\n?\n-----END A-----\n`, /line 4/],
];
for (const [name, text, reason] of malformed) {
  test(`PEM is refused with ${name}`, () => {
    const read = decodePem(text);
    assert.equal(read.ok, false);
    assert.match(read.ok ? '' : read.reason, reason);
  });
}

test('errors about PEM never quote the text, which may be a private key', () => {
  const secret = 'c2VjcmV0IHNlY3JldCBzZWNyZXQ';
  for (const text of [
    `-----BEGIN PRIVATE KEY-----\n${secret}!\n-----END PRIVATE KEY-----\n`,
    `-----BEGIN ${secret}-----\nAQID\n`,
    `-----BEGIN ${secret}-----\n!\n-----END ${secret}-----\n`,
    `-----BEGIN ${secret}\n`,
  ]) {
    const read = decodePem(text);
    assert.ok(!read.ok && !read.reason.includes('c2Vj'), text);
  }
});

test('PEM with tens of thousands of blocks is read in linear time, and a longer one refused', () => {
  const started = performance.now();
  assert.ok(decodePem('-----BEGIN A-----\nAQID\n-----END A-----\n'.repeat(50_000)).ok);
  assert.ok(!decodePem('-----BEGIN A-----\n'.repeat(200_000)).ok);
  assert.ok(performance.now() - started < 5_000);
  assert.ok(!decodePem('x'.repeat(4 * 1024 * 1024 + 1)).ok);
});
