import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain, outcomes } from '../../signer/observe/reasons.ts';

test('the denial of a key names the key, every type that is served, and the keyType of each', () => {
  assert.equal(
    explain('UnsupportedKeyType', 'RSA 2048'),
    'The key is RSA 2048; this signer supports ECDSA P-256, ECDSA P-384, ECDSA P-521, Ed25519, RSA 3072, RSA 4096. ' +
      'Set keyType of the podCertificate source to one of ECDSAP256, ECDSAP384, ECDSAP521, ED25519, RSA3072, ' +
      'RSA4096 and recreate the pod.',
  );
});

test('the sentences of an outcome are whole, and have room for the detail of the case', () => {
  for (const [reason, { message }] of Object.entries(outcomes)) {
    assert.match(message, /^[A-Z].*[^.]\.$|: \{\}$/, reason);
    assert.equal(message.split('{}').length, 2, reason);
  }
});

test('a detail is inserted into a sentence unchanged, even if it looks like a placeholder', () => {
  assert.match(explain('PodGone', 'a $& b $1'), /\(a \$& b \$1\)/);
});
