import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { compactVerify, jwtVerify } from 'jose';
import { expiryOf, mintJwtSvid } from '../../../signer/token/svid/mint-jwt.ts';
import { makeSpiffeId } from '../../../spiffe/id.ts';
import { keyTypes } from '../../../spiffe/pki/algorithms.ts';
import { keyInMemory } from '../../../spiffe/pki/sign.ts';

const now = 1_800_000_000;
const made = makeSpiffeId('example.org', ['ns', 'shop', 'sa', 'web']);
assert.ok(made.ok);
const spiffeId = made.value.uri;
const types = { ES256: keyTypes['ecdsa-p256'], RS256: keyTypes['rsa-3072'] };
const keys = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
};

const mint = (algorithm: 'ES256' | 'RS256', audiences: readonly string[] = ['https://api.example.com']) =>
  mintJwtSvid({
    signer: {
      kid: 'key-1',
      algorithm,
      signingKey: keyInMemory(keys[algorithm].privateKey, types[algorithm]),
    },
    spiffeId,
    audiences,
    issuer: 'https://id.example.org',
    now,
    expiresAt: now + 300,
    id: 'an-id',
  });

describe('a JWT-SVID', () => {
  for (const algorithm of ['ES256', 'RS256'] as const) {
    it(`a JWT-SVID of ${algorithm} verifies by another library, and has the expected claims and no more`, async () => {
      const token = await mint(algorithm);
      const { payload, protectedHeader } = await jwtVerify(token, keys[algorithm].publicKey, {
        issuer: 'https://id.example.org',
        audience: 'https://api.example.com',
        currentDate: new Date(now * 1000),
      });
      assert.deepEqual(protectedHeader, { alg: algorithm, kid: 'key-1', typ: 'JWT' });
      assert.deepEqual(payload, {
        iss: 'https://id.example.org',
        sub: 'spiffe://example.org/ns/shop/sa/web',
        aud: 'https://api.example.com',
        exp: now + 300,
        iat: now - 10,
        nbf: now - 10,
        jti: 'an-id',
      });
    });
  }

  it('a JWT-SVID of ES256 verifies with r and s of any length: short ones come once in 128 times', async () => {
    for (let i = 0; i < 600; i += 1) {
      const token = await mint('ES256', [`audience-${i}`]);
      await compactVerify(token, keys.ES256.publicKey, { algorithms: ['ES256'] });
    }
  });

  it('a JWT-SVID of ES256 has a signature of 64 octets', async () => {
    const token = await mint('ES256');
    assert.equal(Buffer.from(token.split('.')[2] ?? '', 'base64url').length, 64);
  });
});

describe('the end of a JWT-SVID', () => {
  const cases: [
    name: string,
    lifetimeSeconds: number,
    credentialLeft: number,
    expected: number | 'refused',
  ][] = [
    ['is after its lifetime', 300, 3600, 300],
    ['is never after that of the credential', 300, 120, 120],
    ['leaves at least 30 s', 300, 30, 30],
    ['is refused below 30 s', 300, 29, 'refused'],
    ['is refused for a credential that has ended', 300, -1, 'refused'],
    ['may be an hour away', 3600, 86_400, 3600],
  ];
  for (const [name, lifetimeSeconds, left, expected] of cases) {
    it(`the end of a JWT-SVID ${name}`, () => {
      const expiry = expiryOf({ now, lifetimeSeconds, credentialEndsAt: now + left });
      if (expected === 'refused')
        assert.partialDeepStrictEqual(expiry, { ok: false, code: 'TokenEndsTooSoon' });
      else assert.deepEqual(expiry, { ok: true, value: now + expected });
    });
  }
});
