import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../spiffe/nearest.ts';

const words = ['trustDomain', 'pool', 'maxLifetime', 'logLevel'];
const cases: [string, string | undefined][] = [
  ['trustdomain', 'trustDomain'],
  ['trust-domain', 'trustDomain'],
  ['TRUST_DOMAIN', 'trustDomain'],
  ['pol', 'pool'],
  ['polo', 'pool'],
  ['maxLifetme', 'maxLifetime'],
  ['logLvl', 'logLevel'],
  ['max', undefined],
  ['tool', 'pool'],
  ['tolo', undefined],
  ['', undefined],
];
for (const [word, expected] of cases) {
  test(`the word nearest to "${word}" is ${expected ?? 'unknown'}`, () => {
    assert.equal(nearest(word, words), expected);
  });
}
