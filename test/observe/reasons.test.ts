import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain, outcomes } from '../../signer/observe/reasons.ts';
import { supportedSubjectKeys } from '../../spiffe/pki/keys.ts';

test('the denial of a key names the key, and every type that is served, as we and as the pod source call it', () => {
  const sentence = explain('UnsupportedKeyType', 'RSA 2048');
  assert.match(sentence, /^The key is RSA 2048; /);
  const [served = '', source = ''] = sentence.split('Set keyType');
  const names = /supports (.*)\. $/.exec(served)?.[1]?.split(/, | and /) ?? [];
  assert.deepEqual(names.sort(), supportedSubjectKeys.map(({ name }) => name as string).sort());
  const values = source.match(/\b(RSA|ECDSA|ED)\w+/g) ?? [];
  assert.deepEqual(values.sort(), supportedSubjectKeys.map(({ kubernetes }) => kubernetes as string).sort());
});

test('what a person reads is one or more whole sentences, and has room for the detail of the case', () => {
  for (const [reason, { message }] of Object.entries(outcomes)) {
    assert.match(message, /^[A-Z].*[^.]\.$|: \{\}$/, reason);
    assert.equal(message.split('{}').length, 2, reason);
  }
});

test('a detail is put in as it is, whatever is in it', () => {
  assert.match(explain('PodGone', 'a $& b $1'), /\(a \$& b \$1\)/);
});
