import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { type LeafPolicy, leafValidity } from '../../signer/issuance/validity.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { isSignedBy } from '../../spiffe/pki/verify.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, makeCa } from '../spiffe/pki/authorities.ts';
import { keyShelf, supportedKey } from '../spiffe/pki/keys.ts';

const key = keyShelf();
const hour = 3600;
const day = 24 * hour;
const now = Date.UTC(2026, 10, 22, 12) / 1000;
const policy: LeafPolicy = {
  maxLifetimeSeconds: day,
  refreshFraction: 0.5,
  refreshJitter: 0.1,
};
const usual = {
  now,
  maxExpirationSeconds: day,
  policy,
  authorityNotBefore: now - day,
  authorityNotAfter: now + 365 * day,
  jitter: 0,
};
/** What a validity comes to, in seconds relative to now, for reading. */
type Expected = { notBefore: number; notAfter: number; beginRefreshAt: number } | undefined;

const cases: readonly [name: string, change: Partial<typeof usual>, expected: Expected][] = [
  ['a day', {}, { notBefore: -120, notAfter: day - 120, beginRefreshAt: day / 2 - 120 }],
  [
    'the full jitter',
    { jitter: 0.999_999 },
    { notBefore: -120, notAfter: day - 120, beginRefreshAt: 0.45 * day - 120 },
  ],
  [
    'an hour asked for gives exactly an hour',
    { maxExpirationSeconds: hour },
    { notBefore: -120, notAfter: hour - 120, beginRefreshAt: 1680 },
  ],
  [
    '91 days asked for are cut by policy',
    { maxExpirationSeconds: 7_862_400 },
    { notBefore: -120, notAfter: day - 120, beginRefreshAt: day / 2 - 120 },
  ],
  [
    '91 days allowed by policy',
    { maxExpirationSeconds: 7_862_400, policy: { ...policy, maxLifetimeSeconds: 1e9 } },
    { notBefore: -120, notAfter: 7_862_280, beginRefreshAt: 3_931_080 },
  ],
  [
    'a clock within a second',
    { now: now + 0.999 },
    { notBefore: -120, notAfter: day - 120, beginRefreshAt: day / 2 - 120 },
  ],
  [
    'an authority that ends within the day',
    { authorityNotAfter: now + 2 * hour },
    { notBefore: -120, notAfter: 2 * hour, beginRefreshAt: 3540 },
  ],
  [
    'an authority with exactly an hour for the leaf',
    { authorityNotAfter: now + hour - 120 },
    { notBefore: -120, notAfter: hour - 120, beginRefreshAt: 1680 },
  ],
  ['an authority with a second less', { authorityNotAfter: now + hour - 121 }, undefined],
  ['an authority that has expired', { authorityNotAfter: now - 1 }, undefined],
  [
    'an authority that is valid since a minute',
    { authorityNotBefore: now - 60 },
    { notBefore: -60, notAfter: day - 60, beginRefreshAt: day / 2 - 60 },
  ],
  [
    'an authority that is valid from this second',
    { authorityNotBefore: now },
    { notBefore: 0, notAfter: day, beginRefreshAt: day / 2 },
  ],
  ['an authority that is not valid yet', { authorityNotBefore: now + 1 }, undefined],
  ['less than an hour asked for', { maxExpirationSeconds: hour - 1 }, undefined],
  ['less than an hour in the policy', { policy: { ...policy, maxLifetimeSeconds: hour - 1 } }, undefined],
  [
    'a refresh at once',
    { policy: { ...policy, refreshFraction: 0 } },
    { notBefore: -120, notAfter: day - 120, beginRefreshAt: 480 },
  ],
  [
    'a refresh at the very end, moved forward by the delays of kubelet',
    { policy: { ...policy, refreshFraction: 1 } },
    { notBefore: -120, notAfter: day - 120, beginRefreshAt: day - 120 - 1020 },
  ],
];
for (const [name, change, expected] of cases) {
  test(`the validity of a certificate: ${name}`, () => {
    const validity = leafValidity({ ...usual, ...change });
    assert.deepEqual(
      validity && {
        notBefore: validity.notBefore - now,
        notAfter: validity.notAfter - now,
        beginRefreshAt: validity.beginRefreshAt - now,
      },
      expected,
    );
  });
}

test('every validity passes the rules of the API server and stays inside the authority', () => {
  const seconds = (min: number, max: number) => fc.integer({ min, max });
  const inputs = fc.record({
    now: fc.double({ min: now, max: now + 10, noNaN: true }),
    maxExpirationSeconds: seconds(hour, 7_862_400),
    policy: fc.record({
      maxLifetimeSeconds: seconds(hour, 100 * day),
      refreshFraction: fc.double({ min: 0, max: 1, noNaN: true }),
      refreshJitter: fc.double({ min: 0, max: 0.5, noNaN: true }),
    }),
    authorityNotBefore: seconds(now - 600, now + 20),
    authorityNotAfter: fc.oneof(seconds(now, now + 2 * day), seconds(now, now + 1000 * day)),
    jitter: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  });
  fc.assert(
    fc.property(inputs, (input) => {
      const validity = leafValidity(input);
      if (!validity) return;
      const { notBefore, notAfter, beginRefreshAt } = validity;
      assert.ok([notBefore, notAfter, beginRefreshAt].every(Number.isInteger));
      assert.ok(notAfter - notBefore >= hour && notAfter - notBefore <= input.maxExpirationSeconds);
      assert.ok(notAfter - notBefore <= input.policy.maxLifetimeSeconds);
      assert.ok(notBefore <= input.now && input.now - notBefore < 300);
      assert.ok(notBefore >= input.authorityNotBefore && notAfter <= input.authorityNotAfter);
      assert.ok(beginRefreshAt >= notBefore + 600 && beginRefreshAt <= notAfter - 600 - 420);
    }),
    { numRuns: 2_000 },
  );
});

test('a leaf has the computed validity, and its chain ends below the root', async () => {
  const root = await makeCa({ keyName: 'ECDSA P-384' });
  const upper = await makeCa({ subject: 'CN=upper', issuer: root });
  const signing = await makeCa({ keyName: 'Ed25519', subject: 'CN=signing', issuer: upper });
  const authority = authorityOf(signing, upper, root);
  const current = Math.floor(Date.now() / 1000);
  const validity = leafValidity({
    ...usual,
    now: current,
    authorityNotBefore: authority.notBefore,
    authorityNotAfter: authority.notAfter,
  });
  const id = makeSpiffeId('example.org', ['ns', 'shop', 'sa', 'web']);
  assert.ok(validity && id.ok);
  const serial = makeSerial(randomBytes);
  const issued = await issueLeaf({
    authority,
    profile: svidProfile,
    subject: spiffeSubject(id.value),
    key: supportedKey(key('RSA 3072').spki),
    validity,
    serial,
  });
  assert.equal(issued.serialHex, Buffer.from(serial).toString('hex'));

  const chain = decodePem(issued.chainPem, { strict: true });
  assert.ok(chain.ok);
  const facts = chain.value.map((block) => readCertificate(block.der));
  const [leaf, first, second, ...rest] = facts.map((read) => (read.ok ? read.value : undefined));
  assert.ok(leaf && first && second && rest.length === 0);
  assert.deepEqual(
    { notBefore: leaf.notBefore, notAfter: leaf.notAfter, serial: leaf.serialHex, uris: leaf.uris },
    {
      notBefore: validity.notBefore,
      notAfter: validity.notAfter,
      serial: issued.serialHex,
      uris: [id.value.uri],
    },
  );
  assert.ok(isSignedBy(leaf, first) && isSignedBy(first, second) && isSignedBy(second, root.facts));
  assert.equal(first.sha256Hex, signing.facts.sha256Hex);
});

test('an RSA authority signs leaves that its certificate verifies', async () => {
  const root = await makeCa({ keyName: 'RSA 3072' });
  const authority = authorityOf(root);
  const id = makeSpiffeId('example.org', ['web']);
  const validity = leafValidity({
    ...usual,
    now: Math.floor(Date.now() / 1000),
    authorityNotBefore: authority.notBefore,
  });
  assert.ok(validity && id.ok);
  const issued = await issueLeaf({
    authority,
    profile: svidProfile,
    subject: spiffeSubject(id.value),
    key: supportedKey(key('Ed25519').spki),
    validity,
    serial: makeSerial(randomBytes),
  });
  const leaf = readCertificate(issued.leafDer);
  assert.ok(leaf.ok && isSignedBy(leaf.value, root.facts));
});
