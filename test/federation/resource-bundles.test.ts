import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundleNamesOf, isNamedAsSelf } from '../../signer/federation/resource-bundles.ts';

const signerName = 'kubespiffe.io/spiffe';
const namesOf = (name: string) =>
  bundleNamesOf({ name, trustDomain: 'example.org', isSelf: true }, signerName);

test('another cluster of the trust domain has a live and a preview bundle', () => {
  assert.deepEqual(namesOf('a'), ['kubespiffe.io:spiffe:self.a', 'kubespiffe.io:spiffe:self-preview.a']);
});

test('no two resources share a bundle, also where one is named as the preview of the other', () => {
  const resources = ['a', 'a-preview', 'preview.a', 'self-preview.a', 'preview', 'a'.repeat(64), '-a'];
  const names = resources.flatMap(namesOf);
  assert.equal(new Set(names).size, 2 * resources.length);
});

test('no two trust domains share a bundle, with any characters in their names', () => {
  const names = [
    'a_b',
    '.a_b',
    'a-b',
    '-a_b',
    '_',
    '._',
    '..',
    'sha256-a',
    '.sha256-a',
    'a'.repeat(64),
    `.${'a'.repeat(64)}`,
  ];
  const bundles = names.flatMap((trustDomain) =>
    bundleNamesOf({ name: 'any', trustDomain, isSelf: false }, signerName),
  );
  assert.equal(new Set(bundles).size, names.length);
  for (const name of bundles)
    assert.match(name, /^kubespiffe\.io:spiffe:peer(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/);
});

test('bundles of other clusters are known by their names, and those of the own pool are not among them', () => {
  for (const name of namesOf('a')) assert.equal(isNamedAsSelf(name, signerName), true);
  for (const suffix of ['roots', 'roots-preview', 'peer.self.a', 'self', 'selfish.a'])
    assert.equal(isNamedAsSelf(`kubespiffe.io:spiffe:${suffix}`, signerName), false);
});
