import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import {
  allowsDnsName,
  dnsConstraintsOf,
  joinDnsConstraints,
  judgeNameConstraints,
} from '../../spiffe/name-constraints.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { aSupportedKey } from '../issuance/examples.ts';
import { authorityOf, makeCa } from './pki/authorities.ts';
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

test('a CA is refused if its name constraints cannot be read', async () => {
  const extension = nameConstraints({ permitted: [['URI', 'example.org']] });
  const cut = { oid: extension.type, name: 'nameConstraints', critical: true };
  const value = new Uint8Array(extension.value).slice(0, -1);
  const verdict = judgeNameConstraints({ extensions: [{ ...cut, value }] }, 'example.org');
  assert.ok(verdict.kind === 'refused');
  assert.match(verdict.reason, /cannot be read \(truncated\)/);
});

test('a trust domain that is an IP address is refused under URI constraints, because Go cannot apply them', async () => {
  const furtherExtensions = [nameConstraints({ permitted: [['URI', '10.1.2.3']] })];
  const { facts } = await makeCa({ trustDomain: '10.1.2.3', furtherExtensions });
  assert.equal(judgeNameConstraints(facts, '10.1.2.3').kind, 'refused');
});

type Bases = readonly (readonly ['DNS', string])[];
const permit = (...bases: string[]): Bases => bases.map((base) => ['DNS', base]);
const name = 'web.shop.svc';

const dnsCases: [what: string, wish: { permitted?: Bases; excluded?: Bases }, isAllowed: boolean][] = [
  ['permits the name itself', { permitted: permit('web.shop.svc') }, true],
  ['permits a domain of the name', { permitted: permit('svc') }, true],
  ['permits a domain in upper case', { permitted: permit('SHOP.svc') }, true],
  ['permits a domain with a leading dot', { permitted: permit('.shop.svc') }, true],
  ['permits what is below the name alone', { permitted: permit('.web.shop.svc') }, false],
  ['permits every name', { permitted: permit('') }, true],
  ['permits one domain of two', { permitted: permit('bank.svc', 'shop.svc') }, true],
  ['permits another domain', { permitted: permit('bank.svc') }, false],
  ['permits the end of a label', { permitted: permit('hop.svc') }, false],
  ['excludes another domain', { excluded: permit('bank.svc') }, true],
  ['excludes a domain of the name', { excluded: permit('shop.svc') }, false],
  ['excludes the name from a domain', { permitted: permit('svc'), excluded: permit('web.shop.svc') }, false],
];
for (const [what, wish, isAllowed] of dnsCases) {
  test(`a CA that ${what} ${isAllowed ? 'may' : 'may not'} name ${name}, for us and for OpenSSL`, async () => {
    const ca = await makeCa({ furtherExtensions: [nameConstraints(wish)] });
    const constraints = dnsConstraintsOf(ca.facts);
    assert.ok(constraints.ok && constraints.value);
    assert.equal(allowsDnsName(constraints.value, name), isAllowed);

    const now = Math.floor(Date.now() / 1000);
    const { chainPem } = await issueLeaf({
      authority: authorityOf(ca),
      profile: { ...svidProfile, extKeyUsage: ['serverAuth'] },
      subject: { uris: [], dnsNames: [name] },
      key: aSupportedKey,
      validity: { notBefore: now - 60, notAfter: now + 3600 },
      serial: Uint8Array.of(1),
    });
    const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-constraints-'));
    try {
      writeFileSync(join(folder, 'ca.pem'), ca.pem);
      writeFileSync(join(folder, 'leaf.pem'), chainPem);
      const verify = () =>
        execFileSync(
          'openssl',
          ['verify', '-purpose', 'sslserver', '-verify_hostname', name, '-CAfile', 'ca.pem', 'leaf.pem'],
          { cwd: folder, encoding: 'utf8', stdio: 'pipe' },
        );
      if (isAllowed) assert.equal(verify(), 'leaf.pem: OK\n');
      else assert.throws(verify, /permitted subtree violation|excluded subtree violation/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test('joined constraints allow the DNS names that each of them allows, and no other', () => {
  const label = fc.constantFrom('a', 'b');
  const names = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
  const bases = fc.oneof(
    { weight: 1, arbitrary: fc.constant('') },
    { weight: 6, arbitrary: fc.tuple(fc.constantFrom('', '.'), names).map((parts) => parts.join('')) },
  );
  const lists = fc.array(bases, { maxLength: 3 });
  const chains = fc.array(fc.record({ permitted: lists, excluded: lists }), { maxLength: 3 });
  fc.assert(
    fc.property(chains, names, (chain, name) => {
      const isAllowed = chain.every((each) => allowsDnsName(each, name));
      assert.equal(allowsDnsName(joinDnsConstraints(chain), name), isAllowed);
    }),
    { numRuns: 2000 },
  );
});

test('name constraints on other kinds of names leave DNS names free', async () => {
  const ca = await makeCa({ furtherExtensions: [nameConstraints({ permitted: [['URI', 'example.org']] })] });
  assert.deepEqual(dnsConstraintsOf(ca.facts), { ok: true, value: undefined });
});

test('critical constraints that Go does not process are a reason against a CA of DNS names', async () => {
  const ca = await makeCa({ furtherExtensions: [nameConstraints({ permitted: [['directory', '']] })] });
  const read = dnsConstraintsOf(ca.facts);
  assert.ok(!read.ok);
  assert.match(read.reason, /directory names, which Go does not process/);
});
