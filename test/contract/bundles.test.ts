import 'reflect-metadata';
import assert from 'node:assert/strict';
import { randomUUID, sign } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { jwksDocument, rootsPem, spiffeBundleDocument } from '../../signer/authority/documents.ts';
import { jwtSigningAt } from '../../signer/authority/jwt-signing.ts';
import {
  compilePool,
  type JwtSigningAlgorithm,
  type Pool,
  signingAuthorityAt,
} from '../../signer/authority/pool.ts';
import { assembleJwt, jwtSigningInput } from '../../signer/spiffe/jwt-svid.ts';
import { type Judges, openJudges, type Verdict } from '../judges/judges.ts';
import { serve, svidOf, type TestEndpoint, webCredentials } from './bundle-endpoint.ts';

const now = Math.floor(Date.now() / 1000);
const trustDomain = 'example.org';
const audience = 'https://api.example.org';
const sub = 'spiffe://example.org/ns/shop/sa/web';

let judges: Judges;
let pool: Pool;
before(async () => {
  judges = await openJudges();
  pool = compile([
    await createAuthority({ id: 'x1', trustDomain, now }),
    { ...(await createAuthority({ id: 'x2', trustDomain, now, keyType: 'rsa-3072' })), state: 'trusted' },
    await createJwtAuthority({ key: 'es256', now }),
    await createJwtAuthority({ key: 'rs256', now }),
    { ...(await createJwtAuthority({ key: 'es256', now })), id: 'old', state: 'retiring' },
    { ...(await createJwtAuthority({ key: 'es256', now })), id: 'new', state: 'prepared' },
  ]);
});

function compile(authorities: readonly AuthorityRecord[]): Pool {
  const compiled = compilePool({ ...newPool(trustDomain), sequence: 7, authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}

function bundleOf(some: Pool): { trustDomain: string; content: Uint8Array } {
  const document = spiffeBundleDocument(some, 300);
  assert.ok(document);
  return { trustDomain, content: document.bytes };
}

const kidsOf = (some: Pool, ...states: string[]) =>
  some.jwt
    .filter(({ state }) => states.includes(state))
    .map(({ kid }) => kid)
    .sort()
    .join(' ');

function assertAccepted(verdict: Verdict): void {
  assert.deepEqual(verdict.errors, []);
  assert.ok(verdict.ok);
}

function assertRefused(verdict: Verdict, reason: RegExp): void {
  assert.equal(verdict.ok, false);
  assert.match(verdict.errors.join('\n'), reason);
}

/** A token as the endpoint makes it, by the key of the pool that signs now. */
function mint(
  algorithm: JwtSigningAlgorithm,
  changes: { sub?: string; aud?: string[]; exp?: number } = {},
): string {
  const signable = jwtSigningAt(pool, algorithm, now, 900);
  assert.ok(signable.ok, signable.ok ? '' : signable.problem.message);
  const { kid, privateKey } = signable.authority;
  const claims = { sub, aud: [audience], exp: now + 300, iat: now - 10, nbf: now - 10, jti: randomUUID() };
  const input = jwtSigningInput({ alg: algorithm, kid }, { ...claims, ...changes });
  return assembleJwt(
    input,
    sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }),
  );
}

describe('go-spiffe, of the documents of a pool,', () => {
  it('reads the SPIFFE bundle with all that is published, its sequence and its hint', async () => {
    const verdict = await judges.spiffeBundle(bundleOf(pool));
    assertAccepted(verdict);
    assert.deepEqual(verdict.facts, {
      roots: pool.roots
        .map(({ sha256Hex }) => sha256Hex)
        .sort()
        .join(' '),
      kids: kidsOf(pool, 'active', 'retiring'),
      sequence: '7',
      refreshHint: '5m0s',
    });
  });

  it('reads the JWK set as a JWT bundle', async () => {
    const verdict = await judges.jwtBundle({ trustDomain, content: jwksDocument(pool).bytes });
    assertAccepted(verdict);
    assert.equal(verdict.facts.kids, kidsOf(pool, 'active', 'retiring'));
  });

  it('refuses what our clauses refuse, so that it is the judge that it should be', async () => {
    const bundle = JSON.parse(Buffer.from(bundleOf(pool).content).toString()) as { keys: { kid?: string }[] };
    const keys = bundle.keys.map(({ kid: _, ...rest }) => rest);
    const without = { trustDomain, content: JSON.stringify({ ...bundle, keys }) };
    assertRefused(await judges.spiffeBundle(without), /key ?ID/i);
    assertRefused(await judges.jwtBundle(bundleOf(pool)), /key ?ID/i);
    const text = { trustDomain, content: JSON.stringify({ ...bundle, spiffe_sequence: '7' }) };
    assertRefused(await judges.spiffeBundle(text), /sequence/);
  });
});

describe('a token that is signed by a key of the pool', () => {
  for (const algorithm of ['ES256', 'RS256'] as const) {
    it(`with ${algorithm} is accepted by go-spiffe, by the SPIFFE bundle and by the JWK set`, async () => {
      const token = mint(algorithm);
      const jwks = { trustDomain, content: jwksDocument(pool).bytes };
      for (const input of [{ bundle: bundleOf(pool) }, { bundle: jwks, isJwks: true }]) {
        const verdict = await judges.jwtSvid({ token, audience, ...input });
        assertAccepted(verdict);
        assert.equal(verdict.facts.id, sub);
        assert.equal(verdict.facts.audience, audience);
        assert.equal(Date.parse(verdict.facts.expiry ?? '') / 1000, now + 300);
      }
    });

    it(`with ${algorithm} is accepted by jose, by the JWK set`, async () => {
      const keys = createLocalJWKSet(JSON.parse(jwksDocument(pool).bytes.toString()));
      const { payload, protectedHeader } = await jwtVerify(mint(algorithm), keys, { audience, subject: sub });
      assert.equal(payload.aud, audience);
      assert.deepEqual(Object.keys(protectedHeader), ['alg', 'kid', 'typ']);
    });
  }

  it('is refused by go-spiffe for another audience, after its time, and once its key is retired', async () => {
    const bundle = bundleOf(pool);
    assertRefused(await judges.jwtSvid({ token: mint('ES256'), audience: 'b', bundle }), /expected audience/);
    const late = mint('ES256', { exp: now - 120 });
    assertRefused(await judges.jwtSvid({ token: late, audience, bundle }), /expired/);
    const without = compile([
      await createAuthority({ id: 'x1', trustDomain, now }),
      await createJwtAuthority({ key: 'es256', now }),
    ]);
    const other = bundleOf(without);
    assertRefused(
      await judges.jwtSvid({ token: mint('ES256'), audience, bundle: other }),
      /no JWT authority/,
    );
  });
});

describe('go-spiffe fetches the bundle', () => {
  const servers: TestEndpoint[] = [];
  after(() => Promise.all(servers.map((server) => server.close())));

  it('over https_web, and not from a server of another root', async () => {
    const [credentials, others] = [await webCredentials(), await webCredentials()];
    const server = await serve(credentials, { '/bundle': { body: bundleOf(pool).content } });
    servers.push(server);
    const ask = (roots: string) =>
      judges.federation({ trustDomain, url: `${server.url}/bundle`, profile: { name: 'https_web', roots } });
    const verdict = await ask(credentials.cert);
    assertAccepted(verdict);
    assert.equal(verdict.facts.sequence, '7');
    assertRefused(await ask(others.cert), /unknown authority|verify certificate/);
  });

  it('over https_spiffe from an endpoint with an SVID of ours, and not from one with another ID', async () => {
    const signing = signingAuthorityAt(pool, now);
    assert.ok(signing.ok);
    const server = await serve(await svidOf(signing.authority, ['kubespiffe', 'bundle-endpoint']), {
      '/bundle': { body: bundleOf(pool).content },
    });
    servers.push(server);
    const bundles = { [trustDomain]: rootsPem(pool)?.bytes.toString() ?? '' };
    const ask = (endpointId: string) =>
      judges.federation({
        trustDomain,
        url: `${server.url}/bundle`,
        profile: { name: 'https_spiffe', endpointId, bundles },
      });
    const verdict = await ask(`spiffe://${trustDomain}/kubespiffe/bundle-endpoint`);
    assertAccepted(verdict);
    assert.equal(verdict.facts.kids, kidsOf(pool, 'active', 'retiring'));
    assertRefused(await ask(`spiffe://${trustDomain}/ns/shop/sa/web`), /unexpected ID/);
  });
});
