import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesOf, spiffeIdIn, spiffeSubject } from '../../signer/identity/subject.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';

const uri = 'spiffe://example.org/ns/shop/sa/web';
const dnsNames = ['web.shop.svc'];

test('the subject of a SPIFFE ID has that one name and shows it to people', () => {
  const id = parseSpiffeId(uri);
  assert.ok(id.ok);
  assert.deepEqual(spiffeSubject(id.value), { uris: [uri], dnsNames: [], display: uri });
});

test('the SPIFFE ID of a subject is the one among its URIs', () => {
  assert.equal(spiffeIdIn({ uris: ['https://example.org', uri], dnsNames }), uri);
  assert.equal(spiffeIdIn({ uris: ['https://example.org'], dnsNames }), undefined);
});

test('log and audit lines have the names that a subject has, and no empty ones', () => {
  assert.deepEqual(namesOf({ uris: [uri], dnsNames: [] }), { spiffeId: uri });
  assert.deepEqual(namesOf({ uris: [], dnsNames }), { dnsNames });
  assert.deepEqual(namesOf({ uris: [uri], dnsNames }), { spiffeId: uri, dnsNames });
});
