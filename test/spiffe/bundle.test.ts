import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { parseJwks, parseSpiffeBundle, printJwks, printSpiffeBundle } from '../../spiffe/bundle.ts';
import { checkBundle, checkBundleKey } from '../../spiffe/bundle-clauses.ts';
import type { Finding } from '../../spiffe/clauses.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { type PublicJwk, publicJwkOf } from '../../spiffe/jwk.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, makeCa, type TestCa } from './pki/authorities.ts';
import { supportedKey } from './pki/keys.ts';
import { ecKey, rsaKey } from './tokens.ts';

type Json = Record<string, unknown>;

const es256 = ecKey();
const rs256 = rsaKey();
const jwtKeys = [es256, rs256].map(({ kid, publicKey }) => ({ kid, jwk: publicJwkOf(publicKey) }));
let root: TestCa;
let other: TestCa;
let leaf: Uint8Array;
let text = '';
let x509Key: Json = {};
let jwtKey: Json = {};

before(async () => {
  [root, other] = [await makeCa(), await makeCa()];
  const id = makeSpiffeId('example.org', ['ns', 'shop', 'sa', 'web']);
  assert.ok(id.ok);
  ({ leafDer: leaf } = await issueLeaf({
    authority: authorityOf(root),
    profile: svidProfile,
    subject: spiffeSubject(id.value),
    key: supportedKey(es256.publicKey.export({ format: 'der', type: 'spki' })),
    validity: { notBefore: 1_800_000_000, notAfter: 1_900_000_000 },
    serial: makeSerial(randomBytes),
  }));
  text = printSpiffeBundle({ sequence: 7, refreshHintSeconds: 300, roots: [root.facts], jwtKeys });
  [x509Key = {}, jwtKey = {}] = (JSON.parse(text) as { keys: Json[] }).keys;
});

const broken = (findings: readonly Finding[], level: Finding['level'] = 'must') =>
  findings.filter((each) => !each.ok && each.level === level).map(({ message }) => message);

const bundleOf = (keys: readonly unknown[], more: Json = {}) =>
  JSON.stringify({ keys, spiffe_sequence: 1, spiffe_refresh_hint: 300, ...more });

describe('a SPIFFE bundle of ours', () => {
  it('a bundle of ours meets every clause and is read as it was written', () => {
    const document = JSON.parse(text) as Json & { keys: Json[] };
    for (const findings of [checkBundle(document), ...document.keys.map(checkBundleKey)]) {
      assert.deepEqual([broken(findings), broken(findings, 'should')], [[], []]);
    }
    const parsed = parseSpiffeBundle(text);
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
    assert.equal(parsed.value.sequence, 7);
    assert.equal(parsed.value.refreshHintSeconds, 300);
    assert.deepEqual(
      parsed.value.roots.map(({ sha256Hex }) => sha256Hex),
      [root.facts.sha256Hex],
    );
    for (const { kid, publicKey } of [es256, rs256]) {
      assert.ok(parsed.value.jwtKeys.get(kid)?.equals(publicKey));
    }
    assert.deepEqual(parsed.value.ignored, []);
  });

  it('a bundle of ours has one key for each root and each JWT key, with exactly the members of the standard', () => {
    const { keys } = JSON.parse(text) as { keys: Json[] };
    assert.deepEqual(
      keys.map((key) => Object.keys(key)),
      [
        ['crv', 'kty', 'x', 'y', 'use', 'x5c'],
        ['crv', 'kty', 'x', 'y', 'use', 'kid'],
        ['e', 'kty', 'n', 'use', 'kid'],
      ],
    );
  });

  for (const keyName of ['ECDSA P-384', 'RSA 3072', 'Ed25519'] as const) {
    it(`a bundle of ours can hold a root of ${keyName}`, async () => {
      const ca = await makeCa({ keyName });
      const parsed = parseSpiffeBundle(
        printSpiffeBundle({ sequence: 1, refreshHintSeconds: 1, roots: [ca.facts], jwtKeys: [] }),
      );
      assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
      assert.equal(parsed.value.roots.length, 1);
    });
  }
});

describe('a bundle of another publisher', () => {
  const privateHalf = () => es256.privateKey.export({ format: 'jwk' }) as Json;
  const cases: [name: string, make: () => string, reason: RegExp][] = [
    ['is no JSON', () => 'hello', /is not JSON/],
    ['has keys twice', () => '{"keys":[],"keys":[]}', /a name twice/],
    ['has no keys', () => '{}', /no list "keys"/],
    ['has a key that is not an object', () => bundleOf(['a']), /not a JSON object/],
    ['has its sequence as a string', () => bundleOf([x509Key], { spiffe_sequence: '1' }), /spiffe_sequence/],
    ['has its sequence as a float', () => bundleOf([x509Key], { spiffe_sequence: 1.5 }), /spiffe_sequence/],
    ['has a negative sequence', () => bundleOf([x509Key], { spiffe_sequence: -1 }), /spiffe_sequence/],
    [
      'has a sequence beyond 2^53',
      () => bundleOf([x509Key], { spiffe_sequence: 2 ** 60 }),
      /spiffe_sequence/,
    ],
    [
      'has its hint as a string',
      () => bundleOf([x509Key], { spiffe_refresh_hint: '5m' }),
      /spiffe_refresh_hint/,
    ],
    ['has x5c of numbers', () => bundleOf([{ ...x509Key, x5c: [1] }]), /no element that is a string/],
    [
      'has two certificates in x5c, the first of another key',
      () =>
        bundleOf([
          {
            ...x509Key,
            x5c: [Buffer.from(other.facts.der).toString('base64'), ...(x509Key.x5c as string[])],
          },
        ]),
      /not that of the certificate/,
    ],
    [
      'has x5c in base64url',
      () => bundleOf([{ ...x509Key, x5c: [Buffer.from(root.facts.der).toString('base64url')] }]),
      /base64 of DER|cannot be read/,
    ],
    ['has x5c in PEM', () => bundleOf([{ ...x509Key, x5c: [root.pem] }]), /base64 of DER/],
    [
      'has a root whose numbers are those of another key',
      () => bundleOf([{ ...x509Key, ...publicJwkOf(es256.publicKey) }]),
      /not that of the certificate/,
    ],
    [
      'has a root whose certificate is another',
      () => bundleOf([{ ...x509Key, x5c: [Buffer.from(other.facts.der).toString('base64')] }]),
      /not that of the certificate/,
    ],
    [
      'has a root that is the certificate of a workload',
      () =>
        bundleOf([
          {
            ...publicJwkOf(es256.publicKey),
            use: 'x509-svid',
            x5c: [Buffer.from(leaf).toString('base64')],
          },
        ]),
      /not one of a CA/,
    ],
    ['has a JWT key without kid', () => bundleOf([{ ...jwtKey, kid: undefined }]), /kid is missing/],
    ['has two JWT keys of one kid', () => bundleOf([jwtKey, jwtKey]), /same kid/],
    [
      'has a short coordinate',
      () => bundleOf([{ ...jwtKey, x: String(jwtKey.x).slice(0, -2) }]),
      /not a readable EC key/,
    ],
    [
      'has a private key',
      () => bundleOf([{ ...privateHalf(), use: 'jwt-svid', kid: 'a' }]),
      /not secret any more/,
    ],
  ];
  for (const [name, make, reason] of cases) {
    it(`a bundle of another publisher is refused if it ${name}`, () => {
      const parsed = parseSpiffeBundle(make());
      assert.ok(!parsed.ok);
      assert.match(parsed.reason, reason);
    });
  }

  it('a bundle is read without the keys that readers must ignore', () => {
    const parsed = parseSpiffeBundle(
      bundleOf([
        { ...jwtKey, use: 'sig' },
        { ...jwtKey, use: 'JWT-SVID' },
        { ...jwtKey, use: undefined },
        { kty: 'AKP', use: 'jwt-svid', kid: 'a' },
        { use: 'x509-svid' },
        { ...jwtKey, use: 'wit-svid' },
        jwtKey,
      ]),
    );
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
    assert.deepEqual([...parsed.value.jwtKeys.keys()], [jwtKey.kid]);
    assert.equal(parsed.value.ignored.length, 6);
    assert.match(parsed.value.ignored.join(), /keys\[1\]: use is "JWT-SVID"/);
  });

  it('a bundle is read without roots that have no certificate (X509-SVID 6.2)', () => {
    const withoutX5c = [
      { ...x509Key, x5c: undefined },
      { ...x509Key, x5c: [] },
      { ...x509Key, x5c: 'a' },
    ];
    const parsed = parseSpiffeBundle(bundleOf([...withoutX5c, x509Key]));
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
    assert.equal(parsed.value.roots.length, 1);
    assert.deepEqual(
      parsed.value.ignored,
      [0, 1, 2].map((index) => `keys[${index}]: x5c is missing or empty`),
    );
    const alone = parseSpiffeBundle(bundleOf(withoutX5c));
    assert.ok(alone.ok && alone.value.roots.length === 0);
  });

  it('a bundle is read with the first certificate of a root, and with a root that has a kid', () => {
    const x5c = [...(x509Key.x5c as string[]), Buffer.from(other.facts.der).toString('base64'), 'AA=='];
    const parsed = parseSpiffeBundle(bundleOf([{ ...x509Key, x5c, kid: 'a' }]));
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
    assert.deepEqual(
      parsed.value.roots.map(({ sha256Hex }) => sha256Hex),
      [root.facts.sha256Hex],
    );
  });

  it('a bundle that violates a clause for publishers only is read, with that clause reported', () => {
    const x5c = [...(x509Key.x5c as string[]), 'AA=='];
    for (const [key, problem] of [
      [{ ...x509Key, kid: 'a' }, 'kid is present'],
      [{ ...x509Key, x5c }, 'x5c has 2 elements'],
    ] as const) {
      assert.deepEqual(broken(checkBundleKey(key)), [problem]);
      assert.ok(parseSpiffeBundle(bundleOf([key])).ok);
    }
    const without = broken(checkBundleKey({ ...x509Key, x5c: [] }));
    assert.deepEqual(without, ['x5c has 0 elements', 'x5c has no element that is a string']);
  });

  it('an empty bundle revokes everything, which is reported and not an error', () => {
    const parsed = parseSpiffeBundle('{"keys":[]}');
    assert.ok(parsed.ok);
    assert.equal(parsed.value.roots.length + parsed.value.jwtKeys.size, 0);
    assert.match(broken(checkBundle({ keys: [] }), 'should').join(), /revoked/);
  });

  it('a bundle with further members is read', () => {
    const parsed = parseSpiffeBundle(bundleOf([{ ...jwtKey, alg: 'ES256' }], { x_note: 'a' }));
    assert.ok(parsed.ok);
    assert.match(broken(checkBundleKey({ ...jwtKey, alg: 'ES256' }), 'should').join(), /does not name alg/);
  });
});

/** Keys that a reader of a key set leaves out (RFC 7517 5), with the reason. */
const unsupportedKeys: readonly [name: string, key: Json, reason: string][] = [
  ['ML-DSA', { kty: 'AKP', alg: 'ML-DSA-65', pub: 'AAAA' }, 'kty is "AKP"'],
  ['a symmetric key', { kty: 'oct', k: 'AAAA' }, 'kty is "oct"'],
  ['a key without type', { crv: 'P-256' }, 'kty is missing'],
  ['an unknown curve', { ...publicJwkOf(es256.publicKey), crv: 'secp256k1' }, 'crv is "secp256k1"'],
  ['X25519', { kty: 'OKP', crv: 'X25519', x: 'AAAA' }, 'crv is "X25519"'],
  ['EC without curve', { ...publicJwkOf(es256.publicKey), crv: undefined }, 'crv is missing'],
  ['EC without y', { ...publicJwkOf(es256.publicKey), y: undefined }, 'y is missing'],
  ['RSA without modulus', { kty: 'RSA', e: 'AQAB' }, 'n is missing'],
];
for (const [name, key, reason] of unsupportedKeys) {
  it(`a JWK set and a SPIFFE bundle with ${name} are read without that key`, () => {
    const good = { ...publicJwkOf(rs256.publicKey), kid: 'good' };
    const jwks = parseJwks(JSON.stringify({ keys: [{ ...key, kid: 'odd' }, good] }));
    assert.ok(jwks.ok, jwks.ok ? '' : jwks.reason);
    assert.deepEqual(
      [[...jwks.value.jwtKeys.keys()], jwks.value.ignored],
      [['good'], [`keys[0]: ${reason}`]],
    );
    const bundle = parseSpiffeBundle(
      bundleOf([
        { ...key, kid: 'odd', use: 'jwt-svid' },
        { ...good, use: 'jwt-svid' },
      ]),
    );
    assert.ok(bundle.ok, bundle.ok ? '' : bundle.reason);
    assert.deepEqual(
      [[...bundle.value.jwtKeys.keys()], bundle.value.ignored],
      [['good'], [`keys[0]: ${reason}`]],
    );
  });
}

describe('a JWK set for OIDC', () => {
  const printed = () =>
    printJwks([
      { kid: es256.kid, jwk: publicJwkOf(es256.publicKey), algorithm: 'ES256' },
      { kid: rs256.kid, jwk: publicJwkOf(rs256.publicKey), algorithm: 'RS256' },
    ]);

  it('a JWK set holds JWT keys with use, alg and kid, and is read again', () => {
    const { keys } = JSON.parse(printed()) as { keys: Json[] };
    assert.deepEqual(
      keys.map(({ use, alg }) => [use, alg]),
      [
        ['sig', 'ES256'],
        ['sig', 'RS256'],
      ],
    );
    const parsed = parseJwks(printed());
    assert.ok(parsed.ok);
    assert.ok(parsed.value.jwtKeys.get(rs256.kid)?.equals(rs256.publicKey));
  });

  it('a JWK set of another publisher is read without keys for other uses, and refused with a malformed key', () => {
    const key: PublicJwk = publicJwkOf(es256.publicKey);
    const left = parseJwks(
      JSON.stringify({ keys: [{ ...key, use: 'enc', kid: 'a' }, key, { kty: 'oct', kid: 'b' }] }),
    );
    assert.ok(left.ok && left.value.jwtKeys.size === 0);
    for (const keys of [
      [{ ...key, kid: 'a', x: 'AA' }],
      [
        { ...key, kid: 'a' },
        { ...key, kid: 'a' },
      ],
    ]) {
      assert.equal(parseJwks(JSON.stringify({ keys })).ok, false);
    }
  });
});
