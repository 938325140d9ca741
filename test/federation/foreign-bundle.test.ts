import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { Extension } from '@peculiar/x509';
import fc from 'fast-check';
import {
  type ForeignBundle,
  maxForeignBytes,
  printForeignBundle,
  readBootstrapBundle,
  readForeignBundle,
  replacementProblem,
} from '../../signer/federation/foreign-bundle.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { makeCa, type TestCa } from '../authority/authorities.ts';
import { x509KeyOf } from './bundles.ts';

const now = 1_800_000_000;
const trustDomain = 'partner.example';
const uris = [`spiffe://${trustDomain}`];
const years = { notBefore: now - 3600, notAfter: now + 3600 };

/** One key for many: making them takes long. */
const shared = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const jwtKeyOf = (kid: string, pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })) => ({
  ...publicJwkOf(pair.publicKey),
  use: 'jwt-svid',
  kid,
});

describe('reading the bundle of another trust domain', () => {
  let ca: TestCa;
  before(async () => {
    ca = await makeCa({ ...years, uris });
  });

  const read = (document: object | string | Uint8Array) =>
    readForeignBundle(
      typeof document === 'string' || document instanceof Uint8Array ? document : JSON.stringify(document),
      trustDomain,
      now,
    );
  const refused = (document: object | string | Uint8Array, reason: RegExp) => {
    const result = read(document);
    assert.ok(!result.ok, 'accepted');
    assert.match(result.reason, reason);
  };

  it('a foreign bundle is read with roots, JWT keys, sequence and refresh hint', () => {
    const result = read({
      keys: [x509KeyOf(ca), x509KeyOf(ca), jwtKeyOf('a')],
      spiffe_sequence: 7,
      spiffe_refresh_hint: 300,
    });
    assert.ok(result.ok);
    const { sequence, refreshHintSeconds, roots, jwtKeys, ignored } = result.value;
    assert.deepEqual([sequence, refreshHintSeconds, roots.length, [...jwtKeys.keys()]], [7, 300, 1, ['a']]);
    assert.deepEqual(ignored, []);
  });

  it('a printed foreign bundle is read again as the same', () => {
    const first = read({
      keys: [x509KeyOf(ca), jwtKeyOf('a'), { use: 'other', kty: 'EC' }],
      spiffe_sequence: 1,
    });
    assert.ok(first.ok);
    const text = printForeignBundle(first.value);
    const second = read(text);
    assert.ok(second.ok);
    assert.equal(printForeignBundle(second.value), text);
    assert.deepEqual(second.value.ignored, []);
    assert.doesNotMatch(text, /other/);
  });

  it('a foreign bundle is printed the same in any order of its keys', async () => {
    const keys = [x509KeyOf(ca), x509KeyOf(await makeCa({ ...years, uris })), jwtKeyOf('a'), jwtKeyOf('b')];
    const texts = [keys, keys.toReversed()].map((each) => {
      const result = read({ keys: each });
      return result.ok && printForeignBundle(result.value);
    });
    assert.equal(texts[0], texts[1]);
  });

  it('a foreign bundle is read without keys of an unknown use, which are reported', () => {
    const result = read({
      keys: [x509KeyOf(ca), { ...jwtKeyOf('a'), use: 'wit-svid' }, { ...jwtKeyOf('b'), use: undefined }],
    });
    assert.ok(result.ok);
    assert.equal(result.value.jwtKeys.size, 0);
    assert.deepEqual(result.value.ignored, ['keys[1]: use is "wit-svid"', 'keys[2]: use is missing']);
  });

  it('a foreign bundle is read without an expired root, and its expiry is reported', async () => {
    const old = await makeCa({ notBefore: now - 7200, notAfter: now - 3600, uris });
    const result = read({ keys: [x509KeyOf(old), x509KeyOf(ca)] });
    assert.ok(result.ok);
    assert.equal(result.value.roots.length, 1);
    assert.match(
      result.value.ignored[0] ?? '',
      /^the root with SHA-256 \w{64} expired at 2027-01-15T07:00:00Z$/,
    );
  });

  it('a foreign bundle may have a root without a name, such as an upstream CA', async () => {
    const result = read({ keys: [x509KeyOf(await makeCa({ ...years, uris: [] }))] });
    assert.ok(result.ok && result.value.roots.length === 1);
  });

  it('a CA in a foreign bundle that another one has signed is an anchor of its own', async () => {
    const below = await makeCa({ ...years, uris, issuer: ca, subject: 'CN=below' });
    const result = read({ keys: [x509KeyOf(below)] });
    assert.ok(result.ok, result.ok ? '' : result.reason);
    assert.deepEqual(
      result.value.roots.map(({ der }) => new X509Certificate(der).subject),
      ['CN=below'],
    );
  });

  it('only the first certificate of x5c is used', async () => {
    const other = x509KeyOf(await makeCa({ ...years, uris }));
    const result = read({ keys: [{ ...x509KeyOf(ca), x5c: [...x509KeyOf(ca).x5c, ...other.x5c] }] });
    assert.ok(result.ok && result.value.roots.length === 1);
  });

  for (const [what, document, reason] of [
    ['nothing', '', /not JSON/],
    ['a web page', '<!doctype html><p>keys</p>', /not JSON/],
    ['a list', '[]', /not a JSON object/],
    ['a byte order mark', '\uFEFF{"keys":[]}', /not JSON/],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /not UTF-8/],
    [
      'gzip',
      Buffer.from('1f8b0800000000000003ab56ca4ead2c56b28a8ead05000a4a4c5d0b000000', 'hex'),
      /not UTF-8/,
    ],
    ['1 MiB and a byte', ' '.repeat(maxForeignBytes + 1), /has 1048577 bytes; at most 1048576/],
    ['a name twice', '{"keys":[],"keys":[]}', /has a name twice/],
    ['no keys', {}, /no list "keys"/],
    ['keys that are an object', { keys: {} }, /no list "keys"/],
    ['a key that is a text', { keys: ['a'] }, /a key that is not a JSON object/],
    ['a sequence as text', { keys: [], spiffe_sequence: '7' }, /spiffe_sequence is not a whole number/],
    ['a negative sequence', { keys: [], spiffe_sequence: -1 }, /spiffe_sequence is not a whole number/],
    [
      'the sequence 2^64',
      '{"keys":[],"spiffe_sequence":18446744073709551616}',
      /spiffe_sequence is not a whole/,
    ],
    ['a refresh hint of 1.5', { keys: [], spiffe_refresh_hint: 1.5 }, /spiffe_refresh_hint is not a whole/],
    ['a JWT key without kid', { keys: [{ ...jwtKeyOf('a'), kid: undefined }] }, /kid is missing/],
    [
      'two JWT keys with one kid',
      { keys: [jwtKeyOf('a'), jwtKeyOf('a')] },
      /two jwt-svid keys have the same kid/,
    ],
    [
      'a kid of 257 characters',
      { keys: [jwtKeyOf('k'.repeat(257), shared)] },
      /the JWT key "k{100}" has a kid of 257 characters; at most 256 are read/,
    ],
    [
      'the private half of a key',
      {
        keys: [
          {
            ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
            use: 'jwt-svid',
            kid: 'a',
          },
        ],
      },
      /the private member "d" is in it/,
    ],
    [
      'a JWT key of RSA 1024',
      { keys: [jwtKeyOf('weak', generateKeyPairSync('rsa', { modulusLength: 1024 }))] },
      /the JWT key "weak" is RSA with 1024 bits; at least 2048/,
    ],
    [
      '201 keys',
      { keys: Array.from({ length: 201 }, (_, n) => ({ ...jwtKeyOf('x', shared), kid: String(n) })) },
      /has 201 keys; at most 200/,
    ],
    [
      // The first key alone would be refused with another reason.
      'thousands of keys before it parses any',
      { keys: [{ ...jwtKeyOf('x', shared), kid: undefined }, ...Array(9_999).fill({})] },
      /has 10000 keys; at most 200/,
    ],
  ] as const) {
    it(`a foreign bundle is refused with ${what}`, () => refused(document, reason));
  }

  it('a root of another trust domain is refused, also if only the beginning of the name is the same', async () => {
    for (const uri of [
      'spiffe://example.org',
      'spiffe://partner.example.org',
      'spiffe://partner.example/a',
    ]) {
      const other = await makeCa({ ...years, uris: [uri] });
      refused(
        { keys: [x509KeyOf(ca), x509KeyOf(other)] },
        /has the name "spiffe:.*, not spiffe:\/\/partner\.example/,
      );
    }
  });

  it('a kid of 256 characters is accepted', () => {
    const kid = 'k'.repeat(256);
    const result = read({ keys: [jwtKeyOf(kid, shared)] });
    assert.deepEqual(result.ok && [...result.value.jwtKeys.keys()], [kid]);
  });

  it('roots that do not fit into a ClusterTrustBundle are refused, whose lines take more than one text', async () => {
    const filler = new Extension('1.3.6.1.4.1.99999.1', false, new Uint8Array(776_000));
    const large = x509KeyOf(await makeCa({ ...years, uris, furtherExtensions: [filler] }));
    assert.ok(JSON.stringify({ keys: [large] }).length < maxForeignBytes);
    refused({ keys: [large] }, /the roots take 105\d{4} bytes of PEM; a ClusterTrustBundle holds 1 MiB/);
  });

  it('a root that is not a CA is refused, and one whose key is not that of the certificate', async () => {
    refused({ keys: [x509KeyOf(await makeCa({ ...years, uris, isCa: false }))] }, /not one of a CA/);
    const other = x509KeyOf(await makeCa({ ...years, uris }));
    refused({ keys: [{ ...other, x5c: x509KeyOf(ca).x5c }] }, /not that of the certificate in x5c/);
  });

  it('a root with a weak key is refused', async () => {
    const algorithm = {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      publicExponent: Uint8Array.of(1, 0, 1),
      modulusLength: 1024,
    };
    refused(
      { keys: [x509KeyOf(await makeCa({ ...years, uris, algorithm }))] },
      /is RSA with 1024 bits; at least 2048/,
    );
  });

  it('a root on the curve P-224 is ignored, because readers do not know it', () => {
    const result = read({
      keys: [{ use: 'x509-svid', kty: 'EC', crv: 'P-224', x: 'AA', y: 'AA', x5c: ['AAAA'] }],
    });
    assert.ok(result.ok);
    assert.deepEqual(result.value.ignored, ['keys[0]: crv is "P-224"']);
  });

  it('reading any document as a bundle never throws, and never quotes a key', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string(), fc.uint8Array()), (document) => {
        read(document);
      }),
    );
  });

  describe('a bootstrap bundle', () => {
    const bootstrap = (text: string) => readBootstrapBundle(text, trustDomain, now);

    it('a bootstrap bundle may be PEM or a SPIFFE bundle', () => {
      for (const text of [ca.certificate, JSON.stringify({ keys: [x509KeyOf(ca)] })]) {
        const roots = bootstrap(text);
        assert.ok(roots.ok && roots.value.length === 1);
      }
    });

    it('a bootstrap bundle is refused without a root, with a private key, a leaf, or too many roots', async () => {
      const leaf = await makeCa({ ...years, uris, isCa: false });
      for (const [text, reason] of [
        ['{"keys":[]}', /has no root that can be used/],
        [ca.privateKey, /PEM block 1 is not a certificate/],
        [leaf.certificate, /PEM block 1 is not a CA certificate/],
        ['-----BEGIN CERTIFICATE-----\n', /no END line/],
        [ca.certificate.repeat(201), /has 201 PEM blocks; at most 200/],
      ] as const) {
        const roots = bootstrap(text);
        assert.ok(!roots.ok);
        assert.match(roots.reason, reason);
      }
    });
  });
});

describe('the replacement of a bundle', () => {
  const root = {} as ForeignBundle['roots'][number];
  const bundle = (sequence: number | undefined, roots: number, expiredRoots = 0) => ({
    ...{ sequence, expiredRoots },
    roots: Array(roots).fill(root),
  });
  const rows: [
    what: string,
    next: ReturnType<typeof bundle>,
    held: ReturnType<typeof bundle> | undefined,
    reason?: string,
  ][] = [
    ['the first one', bundle(undefined, 0), undefined],
    ['a higher sequence', bundle(8, 1), bundle(7, 1)],
    ['the same sequence, as of a publisher that counts wrongly', bundle(7, 2), bundle(7, 1)],
    ['a sequence where there was none', bundle(1, 1), bundle(undefined, 1)],
    ['no sequence before and after', bundle(undefined, 1), bundle(undefined, 1)],
    ['no roots before and after', bundle(8, 0), bundle(7, 0)],
    ['a lower sequence', bundle(6, 1), bundle(7, 1), 'BundleSequenceWentBack'],
    ['no sequence where there was one', bundle(undefined, 1), bundle(0, 1), 'BundleSequenceWentBack'],
    ['no roots where there were some', bundle(8, 0), bundle(7, 1), 'BundleWithoutRoots'],
    ['no roots where all have expired', bundle(8, 0), bundle(7, 0, 1), 'BundleWithoutRoots'],
    ['roots that have all expired', bundle(8, 0, 2), bundle(7, 1), 'BundleWithoutRoots'],
    [
      'roots that have all expired since they were taken',
      bundle(7, 0, 1),
      bundle(7, 0, 1),
      'BundleWithoutRoots',
    ],
    ['roots that have all expired, as the first ones', bundle(7, 0, 1), undefined, 'BundleWithoutRoots'],
    ['one root that has expired of two', bundle(8, 1, 1), bundle(7, 2)],
  ];
  for (const [what, next, held, reason] of rows) {
    it(`a bundle replaces the held one or not, by sequence and roots: ${what}`, () => {
      assert.equal(replacementProblem(next, held)?.reason, reason);
    });
  }
});
