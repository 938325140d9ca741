import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { makeSpiffeId, parseSpiffeId } from '../../spiffe/id.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';

const domainCharacters = [...'abcdefghijklmnopqrstuvwxyz0123456789.-_'];
const segmentCharacters = [...domainCharacters, ...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
const ofCharacters = (characters: readonly string[], maxLength: number) =>
  fc.array(fc.constantFrom(...characters), { minLength: 1, maxLength }).map((list) => list.join(''));

const trustDomains = ofCharacters(domainCharacters, 255);
const segments = fc.array(
  ofCharacters(segmentCharacters, 40).filter((segment) => segment !== '.' && segment !== '..'),
  { maxLength: 8 },
);

test('an ID that was made is read back as it was made', () => {
  fc.assert(
    fc.property(trustDomains, segments, (trustDomain, path) => {
      const made = makeSpiffeId(trustDomain, path);
      assert.ok(made.ok);
      assert.deepEqual(parseSpiffeId(made.value.uri), made);
      // The URL parser of the platform agrees about where the parts are.
      const url = new URL(made.value.uri);
      assert.equal(url.host, trustDomain);
      assert.equal(url.pathname, made.value.path);
    }),
  );
});

test('an ID that is read is made again from its parts', () => {
  const almost = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.webUrl(),
    fc.tuple(fc.string(), fc.string()).map(([domain, path]) => `spiffe://${domain}/${path}`),
    fc
      .tuple(trustDomains, ofCharacters([...segmentCharacters, '/', '%', '?'], 20))
      .map(([domain, path]) => `spiffe://${domain}/${path}`),
  );
  fc.assert(
    fc.property(almost, (text) => {
      const read = parseSpiffeId(text);
      if (!read.ok) return assert.ok(read.reason.length > 0);
      assert.ok(parseTrustDomain(read.value.trustDomain).ok);
      assert.deepEqual(makeSpiffeId(read.value.trustDomain, read.value.path.split('/').slice(1)), read);
      assert.equal(read.value.uri, text);
    }),
    { numRuns: 2_000 },
  );
});

test('one foreign character anywhere makes an ID unreadable', () => {
  const foreign = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 1 })
    .filter((text) => !/^[A-Za-z0-9._/-]$/.test(text));
  fc.assert(
    fc.property(trustDomains, segments, foreign, fc.nat(), (trustDomain, path, character, position) => {
      const made = makeSpiffeId(trustDomain, path);
      assert.ok(made.ok);
      const { uri } = made.value;
      const at = position % (uri.length + 1);
      assert.equal(parseSpiffeId(uri.slice(0, at) + character + uri.slice(at)).ok, false);
    }),
  );
});
