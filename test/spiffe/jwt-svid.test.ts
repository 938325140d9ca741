import assert from 'node:assert/strict';
import { createHmac, sign } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { jwtVerify, SignJWT } from 'jose';
import type { Finding } from '../../spiffe/clauses.ts';
import { jwtAlgorithms } from '../../spiffe/jwt-algorithms.ts';
import { checkJwtSvid } from '../../spiffe/jwt-clauses.ts';
import { assembleJwt, jwtSigningInput, maxTokenLength, parseJwt } from '../../spiffe/jwt-svid.ts';
import { verifyJwtSvid } from '../../spiffe/jwt-verify.ts';
import { ecKey, inputOf, rsaKey, type TokenKey, tokenOf } from './tokens.ts';

const now = 1_900_000_000;
const key = ecKey();
const rsa = rsaKey();
const keys = new Map([key, rsa].map((each) => [each.kid, each.publicKey]));
const expected = { now, audience: 'https://api.example.org', trustDomain: 'example.org' };
const header = { alg: 'ES256', kid: key.kid, typ: 'JWT' };
const claims = {
  iss: 'https://issuer.example.org',
  sub: 'spiffe://example.org/ns/shop/sa/web',
  aud: 'https://api.example.org',
  exp: now + 300,
  iat: now - 10,
  nbf: now - 10,
  jti: 'a',
};

function broken(findings: readonly Finding[], level: Finding['level'] = 'must'): string[] {
  return findings.filter((each) => !each.ok && each.level === level).map(({ clause }) => clause);
}

/** Without the members that are undefined, as JSON has it. */
function judge(wrongHeader: object, wrongClaims: object): Finding[] {
  const parsed = parseJwt(tokenOf(key, { ...header, ...wrongHeader }, { ...claims, ...wrongClaims }));
  assert.ok(parsed.ok);
  return checkJwtSvid(parsed.value, expected);
}

describe('the clauses for a JWT-SVID', () => {
  it('a good JWT-SVID meets all clauses', () => {
    const findings = judge({}, {});
    assert.deepEqual([broken(findings), broken(findings, 'should')], [[], []]);
    assert.ok(findings.length >= 14);
    assert.deepEqual(broken(judge({ typ: 'JOSE' }, { iss: undefined, jti: undefined, nbf: undefined })), []);
    assert.deepEqual(broken(judge({ typ: undefined }, { aud: [claims.aud] })), []);
  });

  for (const [name, wrongHeader, wrongClaims, clause] of [
    ['alg none', { alg: 'none' }, {}, 'JWT-SVID 2.1'],
    ['alg HS256', { alg: 'HS256' }, {}, 'JWT-SVID 2.1'],
    ['alg EdDSA', { alg: 'EdDSA' }, {}, 'JWT-SVID 2.1'],
    ['alg in lower case', { alg: 'es256' }, {}, 'JWT-SVID 2.1'],
    ['no alg', { alg: undefined }, {}, 'JWT-SVID 2.1'],
    ['alg that is a member of every object', { alg: 'constructor' }, {}, 'JWT-SVID 2.1'],
    ['crit', { crit: ['exp'] }, {}, 'JWT-SVID 2'],
    ['an embedded jwk', { jwk: {} }, {}, 'JWT-SVID 2'],
    ['x5u', { x5u: 'https://evil.example' }, {}, 'JWT-SVID 2'],
    ['jku', { jku: 'https://evil.example' }, {}, 'JWT-SVID 2'],
    ['b64', { b64: false }, {}, 'JWT-SVID 2'],
    ['cty', { cty: 'JWT' }, {}, 'JWT-SVID 2'],
    ['kid that is a number', { kid: 1 }, {}, 'RFC 7515 4.1.4'],
    ['empty kid', { kid: '' }, {}, 'RFC 7515 4.1.4'],
    ['typ at+jwt', { typ: 'at+jwt' }, {}, 'JWT-SVID 2.3'],
    ['typ jwt', { typ: 'jwt' }, {}, 'JWT-SVID 2.3'],
    ['typ wit+jwt', { typ: 'wit+jwt' }, {}, 'JWT-SVID 2.3'],
    ['no sub', {}, { sub: undefined }, 'JWT-SVID 3.1'],
    ['sub that is a list', {}, { sub: [claims.sub] }, 'JWT-SVID 3.1'],
    ['sub that is not a SPIFFE ID', {}, { sub: 'system:serviceaccount:shop:web' }, 'JWT-SVID 3.1'],
    ['sub of the trust domain itself', {}, { sub: 'spiffe://example.org' }, 'JWT-SVID 3.1'],
    ['sub with a query', {}, { sub: 'spiffe://example.org/a?b' }, 'JWT-SVID 3.1'],
    ['sub of another trust domain', {}, { sub: 'spiffe://example.com/ns/shop/sa/web' }, 'SPIFFE-ID 2.1'],
    ['no aud', {}, { aud: undefined }, 'JWT-SVID 3.2'],
    ['empty aud', {}, { aud: [] }, 'JWT-SVID 3.2'],
    ['aud with an empty member', {}, { aud: [claims.aud, ''] }, 'JWT-SVID 3.2'],
    ['nested aud', {}, { aud: [[claims.aud]] }, 'JWT-SVID 3.2'],
    ['aud that is an object', {}, { aud: { a: claims.aud } }, 'JWT-SVID 3.2'],
    ['aud of another service', {}, { aud: 'https://other.example.org' }, 'JWT-SVID 3.2'],
    ['aud with another case', {}, { aud: 'https://API.example.org' }, 'JWT-SVID 3.2'],
    ['no exp', {}, { exp: undefined }, 'JWT-SVID 3.3'],
    ['exp as a string', {}, { exp: String(now + 300) }, 'JWT-SVID 3.3'],
    ['exp beyond all time', {}, { exp: 1e300 }, 'JWT-SVID 3.3'],
    ['exp before all time', {}, { exp: -1 }, 'JWT-SVID 3.3'],
    ['exp that has come', {}, { exp: now - 60 }, 'JWT-SVID 3.3'],
    ['nbf to come', {}, { nbf: now + 61 }, 'RFC 7519 4.1.5'],
    ['nbf as a string', {}, { nbf: '1' }, 'RFC 7519 4.1.5'],
    ['iat to come', {}, { iat: now + 61 }, 'RFC 7519 4.1.6'],
    ['iss that is a number', {}, { iss: 1 }, 'RFC 7519 4.1.1'],
    ['jti that is a number', {}, { jti: 1 }, 'RFC 7519 4.1.7'],
  ] as const) {
    it(`the clauses for a JWT-SVID refuse ${name}`, () => {
      assert.ok(broken(judge(wrongHeader, wrongClaims)).includes(clause));
      const token = tokenOf(key, { ...header, ...wrongHeader }, { ...claims, ...wrongClaims });
      assert.equal(verifyJwtSvid(token, keys, expected).ok, false);
    });
  }

  it('the recommendations for a JWT-SVID are only a kid and one audience', () => {
    assert.deepEqual(broken(judge({ kid: undefined }, {}), 'should'), ['JWT-SVID 2.2']);
    const two = judge({}, { aud: [claims.aud, 'https://other.example.org'] });
    assert.deepEqual([broken(two), broken(two, 'should')], [[], ['JWT-SVID 3.2']]);
  });

  it('the clauses for a JWT-SVID accept clocks that are a minute apart, and no more', () => {
    assert.deepEqual(broken(judge({}, { exp: now - 59, nbf: now + 60, iat: now + 60 })), []);
    assert.deepEqual(broken(judge({}, { exp: now - 60 })), ['JWT-SVID 3.3']);
  });
});

describe('parsing a token', () => {
  const good = tokenOf(key, header, claims);
  const [head = '', body = '', signature = ''] = good.split('.');
  const json = { payload: body, protected: head, signature };
  for (const [name, token, reason] of [
    ['nothing', '', /1 parts/],
    ['two parts', `${head}.${body}`, /2 parts/],
    ['five parts, as of an encrypted token', `${good}.a.b`, /5 parts/],
    ['the flattened JSON serialization', JSON.stringify(json), /JSON serialization/],
    [
      'the general JSON serialization',
      ` ${JSON.stringify({ payload: body, signatures: [json] })}`,
      /JSON serial/,
    ],
    ['padding', `${head}=.${body}.${signature}`, /base64url/],
    ['white space in front', ` ${good}`, /base64url/],
    ['a line end behind', `${good}\n`, /base64url/],
    ['base64 that is not for URLs', `${head}.${body}.${'+'.repeat(86)}`, /base64url/],
    ['bits that say nothing', `${head}.${body}.${signature.slice(0, -1)}B`, /base64url/],
    ['a header that is a list', `${inputOf('[]', claims)}.${signature}`, /the header is not a JSON object/],
    [
      'a header twice',
      `${inputOf('{"alg":"ES256","alg":"none"}', claims)}.${signature}`,
      /header has a name twice/,
    ],
    ['a claim twice', `${inputOf(header, '{"sub":"a","sub":"b"}')}.${signature}`, /claims has a name twice/],
    ['claims that are no JSON', `${inputOf(header, '{')}.${signature}`, /claims is not JSON/],
    ['a megabyte', `${inputOf({ ...header, kid: 'k'.repeat(1 << 20) }, claims)}.${signature}`, /longer than/],
  ] as const) {
    it(`a token is not parsed with ${name}`, () => {
      const parsed = parseJwt(token);
      assert.ok(!parsed.ok);
      assert.match(parsed.reason, reason);
    });
  }

  it('parsing a token never throws, and never repeats what it read', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(good.length), (noise, at) => {
        const parsed = parseJwt(`${good.slice(0, at)}${noise}${good.slice(at)}`);
        if (!parsed.ok) assert.ok(!parsed.reason.includes(head.slice(0, 12)));
      }),
    );
  });

  it('parsing a token gives back what was written', () => {
    const text = fc.string({ minLength: 1, maxLength: 50, unit: 'grapheme' });
    const time = fc.nat();
    const any = fc.record({
      iss: text,
      sub: text,
      aud: fc.array(text, { minLength: 1, maxLength: 3 }),
      exp: time,
      iat: time,
      nbf: time,
      jti: text,
    });
    fc.assert(
      fc.property(any, text, fc.uint8Array({ minLength: 1, maxLength: 64 }), (written, kid, bytes) => {
        const token = assembleJwt(jwtSigningInput({ alg: 'ES256', kid }, written), bytes);
        if (token.length > maxTokenLength) return;
        const parsed = parseJwt(token);
        assert.ok(parsed.ok);
        assert.deepEqual(parsed.value.header, { alg: 'ES256', kid, typ: 'JWT' });
        const aud = written.aud.length === 1 ? written.aud[0] : written.aud;
        assert.deepEqual(parsed.value.claims, { ...written, aud });
        assert.deepEqual(Buffer.from(parsed.value.signature), Buffer.from(bytes));
      }),
    );
  });
});

describe('verifying a token', () => {
  const curves = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const;
  for (const alg of Object.keys(jwtAlgorithms) as (keyof typeof jwtAlgorithms)[]) {
    it(`verifying a token accepts what jose signs with ${alg}, and nothing with a bit changed`, async () => {
      const own: TokenKey = alg in curves ? ecKey(curves[alg as keyof typeof curves]) : rsa;
      const token = await new SignJWT({ ...claims })
        .setProtectedHeader({ alg, kid: own.kid, typ: 'JWT' })
        .sign(own.privateKey);
      const ownKeys = new Map([[own.kid, own.publicKey]]);
      const verified = verifyJwtSvid(token, ownKeys, expected);
      assert.ok(verified.ok, verified.ok ? '' : verified.reason);
      assert.equal(verified.value.id.uri, claims.sub);
      assert.deepEqual(verified.value.audiences, [claims.aud]);
      assert.equal(verified.value.expiresAt, claims.exp);

      const [head, body, signature = ''] = token.split('.');
      const bytes = Buffer.from(signature, 'base64url');
      bytes[5] = (bytes[5] ?? 0) ^ 1;
      const changed = `${head}.${body}.${bytes.toString('base64url')}`;
      assert.equal(verifyJwtSvid(changed, ownKeys, expected).ok, false);
    });
  }

  it('jose verifies the tokens that we write', async () => {
    const { alg, kid } = { alg: 'ES256', kid: key.kid } as const;
    const input = jwtSigningInput({ alg, kid }, { ...claims, aud: [claims.aud] });
    const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
    const token = assembleJwt(input, signature);
    const { payload, protectedHeader } = await jwtVerify(token, key.publicKey, {
      audience: claims.aud,
      issuer: claims.iss,
      currentDate: new Date(now * 1000),
    });
    assert.deepEqual(payload, claims);
    assert.deepEqual(protectedHeader, header);
  });

  const forged = (own: TokenKey, wrong: object) => tokenOf(own, { ...header, ...wrong }, claims);
  const hs256 = () => {
    const input = inputOf({ ...header, alg: 'HS256' }, claims);
    const secret = key.publicKey.export({ format: 'pem', type: 'spki' });
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const der = () => {
    const input = inputOf(header, claims);
    return `${input}.${sign('sha256', Buffer.from(input), key.privateKey).toString('base64url')}`;
  };
  for (const [name, token] of [
    ['a foreign key under our kid', forged(ecKey(), {})],
    ['a kid that is not in the bundle', forged(key, { kid: 'other' })],
    ['a kid that is a path', forged(key, { kid: '../../dev/null' })],
    ['a kid that is a member of every object', forged(key, { kid: '__proto__' })],
    ['a foreign key without kid', forged(ecKey(), { kid: undefined })],
    ['no kid and another algorithm', tokenOf(key, { alg: 'RS256' }, claims)],
    ['the kid of the RSA key with ES256', forged(key, { kid: rsa.kid })],
    ['the kid of the EC key with RS256', tokenOf(rsa, { ...header, alg: 'RS256' }, claims)],
    ['ES384 with a key of P-256', tokenOf(key, { ...header, alg: 'ES384' }, claims, 'sha384')],
    ['HS256 with the public key as secret', hs256()],
    ['a signature in DER', der()],
    ['no signature', `${inputOf(header, claims)}.`],
    ['a signature of zeros', `${inputOf(header, claims)}.${Buffer.alloc(64).toString('base64url')}`],
    ['PS256 for a signature of RS256', tokenOf(rsa, { ...header, alg: 'PS256', kid: rsa.kid }, claims)],
  ] as const) {
    it(`verifying a token refuses ${name}`, () =>
      assert.equal(verifyJwtSvid(token, keys, expected).ok, false));
  }

  it('verifying a token finds the key of a token without kid, which the standard allows', () => {
    const more = new Map([ecKey(), rsaKey()].map((each) => [each.kid, each.publicKey]));
    for (const [own, alg] of [
      [key, 'ES256'],
      [rsa, 'RS256'],
    ] as const) {
      const token = tokenOf(own, { alg, typ: 'JWT' }, claims);
      const verified = verifyJwtSvid(token, new Map([...more, ...keys]), expected);
      assert.ok(verified.ok, verified.ok ? '' : verified.reason);
      assert.equal(verified.value.id.uri, claims.sub);
      assert.equal(verifyJwtSvid(token, more, expected).ok, false);
    }
  });

  it('verifying a token refuses RSA keys below 2048 bits', () => {
    const weak = rsaKey(1024);
    const token = tokenOf(weak, { ...header, alg: 'RS256', kid: weak.kid }, claims);
    const result = verifyJwtSvid(token, new Map([[weak.kid, weak.publicKey]]), expected);
    assert.ok(!result.ok);
    assert.match(result.reason, /not one for RS256/);
  });
});
