import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeNameConstraints } from '../../spiffe/name-constraints.ts';
import { makeCa } from './pki/authorities.ts';
import { constraintCases, nameConstraints } from './pki/name-constraints.ts';

for (const [name, wish, expected] of constraintCases) {
  const outcome = expected === 'accepted' ? 'accepted' : 'refused';
  test(`SVIDs below a CA whose name constraints ${name} are ${outcome}`, async () => {
    const { facts } = await makeCa({ furtherExtensions: [nameConstraints(wish)] });
    const verdict = judgeNameConstraints(facts, 'example.org');
    assert.equal(verdict.kind, outcome);
    if (verdict.kind === 'refused' && expected !== 'accepted') assert.match(verdict.reason, expected);
  });
}

test('a CA without name constraints is not judged by them', async () => {
  assert.deepEqual(judgeNameConstraints((await makeCa()).facts, 'example.org'), { kind: 'none' });
});

test('name constraints that cannot be read refuse, rather than count as absent', async () => {
  const extension = nameConstraints({ permitted: [['URI', 'example.org']] });
  const cut = { oid: extension.type, name: 'nameConstraints', critical: true };
  const value = new Uint8Array(extension.value).slice(0, -1);
  const verdict = judgeNameConstraints({ extensions: [{ ...cut, value }] }, 'example.org');
  assert.ok(verdict.kind === 'refused');
  assert.match(verdict.reason, /cannot be read \(truncated\)/);
});

test('Go holds no IP address against URI constraints, so a trust domain that is one is refused', async () => {
  const furtherExtensions = [nameConstraints({ permitted: [['URI', '10.1.2.3']] })];
  const { facts } = await makeCa({ trustDomain: '10.1.2.3', furtherExtensions });
  assert.equal(judgeNameConstraints(facts, '10.1.2.3').kind, 'refused');
});
