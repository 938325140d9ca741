import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { parseKeyRef } from '../../signer/keys/key-ref.ts';

const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const google = 'projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3';
const version = '0123456789abcdef0123456789abcdef';

for (const [uri, expected] of [
  ['pkcs11:token=kubespiffe;object=ca-1', { token: { token: 'kubespiffe' }, key: { object: 'ca-1' } }],
  [
    'pkcs11:serial=12;id=%01%Fe;type=private;object=my%20ca%3b',
    { token: { serial: '12' }, key: { object: 'my ca;', id: '01fe' } },
  ],
  ['pkcs11:token=Schlüssel%c3%a9;object=a', { token: { token: 'Schlüsselé' }, key: { object: 'a' } }],
  [`awskms:///${arn}`, { region: 'eu-central-1', arn }],
  [`gcpkms://${google}`, { version: google }],
  [
    `azurekms://my-vault.vault.azure.net/ca/${version}`,
    { host: 'my-vault.vault.azure.net', key: 'ca', version },
  ],
] as const) {
  it(`a reference to a key is read: ${uri}`, () => {
    const read = parseKeyRef(uri);
    assert.ok(read.ok, read.ok ? '' : read.reason);
    const { backend: _, ...rest } = read.value;
    assert.deepEqual(rest, { uri, ...expected });
  });
}

for (const [uri, says] of [
  ['', /starts with pkcs11:/],
  ['-----BEGIN PRIVATE KEY-----', /starts with pkcs11:/],
  ['file:///etc/key', /starts with pkcs11:/],
  [`pkcs11:token=a;object=${'b'.repeat(1100)}`, /longer than 1024/],
  ['pkcs11:', /attribute that is not one of/],
  ['pkcs11:token=a', /names no key/],
  ['pkcs11:object=a', /names no token/],
  ['pkcs11:token=a;token=b;object=c', /attribute token twice/],
  ['pkcs11:token=;object=c', /token that cannot be read/],
  ['pkcs11:token=%zz;object=c', /token that cannot be read/],
  ['pkcs11:token=a;object=b;type=public', /not of type=private/],
  ['pkcs11:token=a;object=b;slot-id=1', /attribute that is not one of/],
  ['pkcs11:token=a;object=b?module-path=/tmp/evil.so', /the module and the PIN are named by settings/],
  ['pkcs11:token=a;object=b?pin-value=1234', /the module and the PIN are named by settings/],
  ['awskms:///alias/my-key', /an alias can be moved/],
  ['awskms:///arn:aws:kms:eu-central-1:111122223333:alias/a', /an alias can be moved/],
  [`awskms://evil.example.com/${arn}`, /is not awskms/],
  ['gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k', /cryptoKeyVersions\/NUMBER/],
  ['gcpkms://projects/p/../q/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1', /is not gcpkms/],
  ['azurekms://my-vault.vault.azure.net/ca', /is not azurekms/],
  [`azurekms://vault.azure.net.evil.example.com/ca/${version}`, /is not azurekms/],
  [`azurekms://evil.example.com#.vault.azure.net/ca/${version}`, /is not azurekms/],
  [`azurekms://user@my-vault.vault.azure.net/ca/${version}`, /is not azurekms/],
] as const) {
  it(`a reference to a key is refused: ${uri.slice(0, 80) || 'the empty reference'}`, () => {
    const read = parseKeyRef(uri);
    assert.ok(!read.ok);
    assert.match(read.reason, says);
  });
}

it('any text is read as a reference to a key without an exception, and none of it is repeated', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('pkcs11:', 'awskms:', 'gcpkms:', 'azurekms:', ''),
      fc.string(),
      (scheme, rest) => {
        const read = parseKeyRef(scheme + rest);
        if (!read.ok && rest.length > 12) assert.ok(!read.reason.includes(rest));
      },
    ),
  );
});
