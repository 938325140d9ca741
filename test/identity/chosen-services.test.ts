import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosenServices } from '../../signer/identity/chosen-services.ts';

const read: [value: string, names: string[]][] = [
  ['web', ['web']],
  ['web,api', ['web', 'api']],
  [' web , api ', ['web', 'api']],
  ['web,web', ['web']],
  [
    Array.from({ length: 100 }, (_, at) => `s${at}`).join(','),
    Array.from({ length: 100 }, (_, at) => `s${at}`),
  ],
];
for (const [value, names] of read) {
  test(`kubespiffe.io/services ${JSON.stringify(value.slice(0, 40))} chooses ${names.length} Services`, () => {
    assert.deepEqual(chosenServices(value), { ok: true, value: names });
  });
}

const refused: [what: string, value: string, reason: RegExp][] = [
  ['without a name', '', /empty name/],
  ['with a comma at the end', 'web,', /empty name/],
  ['with a Service of another namespace', 'bank/vault', /"bank\/vault".*only those of the pod's namespace/],
  ['with a DNS name', 'web.shop.svc', /"web\.shop\.svc"/],
  ['with capitals', 'Web', /"Web"/],
  ['with a letter that is not ASCII', 'wéb', /"wéb"/],
  ['with a line break', 'web\napi', /"web\\napi"/],
  ['with a name of 64 characters', 'a'.repeat(64), /not the name of a Service/],
  ['with 101 names', Array(101).fill('web').join(), /more than 100 Services/],
  ['of 256 KiB', 'a'.repeat(256 * 1024), /not the name of a Service/],
];
for (const [what, value, reason] of refused) {
  test(`kubespiffe.io/services ${what} is refused, in a short sentence`, () => {
    const chosen = chosenServices(value);
    assert.ok(!chosen.ok);
    assert.match(chosen.reason, reason);
    assert.ok(chosen.reason.length < 200);
  });
}
