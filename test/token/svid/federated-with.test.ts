import assert from 'node:assert/strict';
import { it } from 'node:test';
import { federatedWith } from '../../../signer/token/svid/federated-with.ts';

const registration = 'shop/web';
const rows: [
  what: string,
  terms: Parameters<typeof federatedWith>[0],
  byAll: 'all' | string[],
  byNone: 'all' | string[],
][] = [
  ['without a credential or a registration', undefined, 'all', []],
  ['with a registration that says nothing', { registration }, 'all', []],
  [
    'with a registration that names one',
    { registration, federatesWith: ['a.example'] },
    ['a.example'],
    ['a.example'],
  ],
  ['with a registration that names none', { registration, federatesWith: [] }, [], []],
];
for (const [what, terms, byAll, byNone] of rows) {
  it(`a caller ${what} gets the bundles of the registration or else of the setting`, () => {
    assert.deepEqual(federatedWith(terms, 'all').trustDomains, byAll);
    assert.deepEqual(federatedWith(terms, 'none').trustDomains, byNone);
  });
}
