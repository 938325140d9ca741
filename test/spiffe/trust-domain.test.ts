import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIssuingTrustDomain, parseTrustDomain } from '../../spiffe/trust-domain.ts';

for (const name of ['example.org', 'a', '1', '-', '_', '.', '-a.', '192.168.0.1', 'a'.repeat(255)]) {
  test(`a trust domain is accepted: ${name.slice(0, 40)} of ${name.length} characters`, () => {
    assert.deepEqual(parseTrustDomain(name), { ok: true, value: name });
  });
}

const refused: readonly [name: string, reason: RegExp][] = [
  ['', /empty/],
  ['a'.repeat(256), /at most 255 characters, this one 256/],
  ['Example.org', /lower case/],
  ['spiffe://example.org', /bare name/],
  ['example.org/', /characters/],
  ['example.org/web', /characters/],
  ['example.org:443', /characters/],
  ['user@example.org', /characters/],
  ['[::1]', /characters/],
  ['a%2eb', /characters/],
  ['a b', /characters/],
  ['a\n', /characters/],
  ['a\u{0}', /characters/],
  ['\u{e4}.org', /characters/],
  ['*.example.org', /characters/],
];
for (const [name, reason] of refused) {
  test(`a trust domain is refused: ${JSON.stringify(name.slice(0, 40))}`, () => {
    const read = parseTrustDomain(name);
    assert.equal(read.ok, false);
    assert.match(read.ok ? '' : read.reason, reason);
  });
}

for (const name of ['example.org', '-', '_', '10.1.2.3', 'a'.repeat(255)]) {
  test(`certificates are issued for the trust domain ${name.slice(0, 40)} of ${name.length} characters`, () => {
    assert.deepEqual(parseIssuingTrustDomain(name), { ok: true, value: name });
  });
}

for (const name of ['.', '.example.org', 'example.org.', 'example..org', 'Example.org', '']) {
  test(`certificates are not issued for the trust domain ${JSON.stringify(name)}`, () => {
    assert.equal(parseIssuingTrustDomain(name).ok, false);
  });
}
