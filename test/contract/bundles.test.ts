import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createPrivateKey, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { jwtSigningAt, signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { jwksDocument, rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import type { JwtSigningAlgorithm } from '../../spiffe/jwt-algorithms.ts';
import { assembleJwt, jwtSigningInput } from '../../spiffe/jwt-svid.ts';
import { joinedFromDer } from '../../spiffe/pki/ecdsa-signature.ts';
import { type Judges, openJudges, type Verdict } from '../judges/judges.ts';
import { openPySpiffe, type PySpiffe } from '../judges/py-spiffe.ts';
import { type Ran, run } from '../tools/run.ts';
import {
  type Answers,
  type ServerCredentials,
  serve,
  svidOf,
  type TestEndpoint,
  webCredentials,
} from './bundle-endpoint.ts';

const now = Math.floor(Date.now() / 1000);
const trustDomain = 'example.org';
const audience = 'https://api.example.org';
const sub = 'spiffe://example.org/ns/shop/sa/web';

let judges: Judges;
let pySpiffe: PySpiffe;
let pool: Pool;
before(async () => {
  judges = await openJudges();
  pySpiffe = await openPySpiffe();
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
async function mint(
  algorithm: JwtSigningAlgorithm,
  changes: { sub?: string; aud?: string[]; exp?: number } = {},
): Promise<string> {
  const signable = jwtSigningAt(pool, algorithm, now, 900);
  assert.ok(signable.ok, signable.ok ? '' : signable.problem.message);
  const { kid, signingKey } = signable.authority;
  const claims = { sub, aud: [audience], exp: now + 300, iat: now - 10, nbf: now - 10, jti: randomUUID() };
  const input = jwtSigningInput({ alg: algorithm, kid }, { ...claims, ...changes });
  const signature = await signingKey.sign(Buffer.from(input));
  return assembleJwt(input, algorithm === 'ES256' ? joinedFromDer(signature) : signature);
}

describe('go-spiffe as reader of the documents of a pool', () => {
  it('go-spiffe reads the SPIFFE bundle of a pool with all that is published, its sequence and its hint', async () => {
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

  it('go-spiffe reads the JWK set of a pool as a JWT bundle', async () => {
    const verdict = await judges.jwtBundle({ trustDomain, content: jwksDocument(pool).bytes });
    assertAccepted(verdict);
    assert.equal(verdict.facts.kids, kidsOf(pool, 'active', 'retiring'));
  });

  it('go-spiffe refuses what our clauses refuse, so that it is a valid judge', async () => {
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
    it(`a token with ${algorithm} is accepted by go-spiffe, by the SPIFFE bundle and by the JWK set`, async () => {
      const token = await mint(algorithm);
      const jwks = { trustDomain, content: jwksDocument(pool).bytes };
      for (const input of [{ bundle: bundleOf(pool) }, { bundle: jwks, isJwks: true }]) {
        const verdict = await judges.jwtSvid({ token, audience, ...input });
        assertAccepted(verdict);
        assert.equal(verdict.facts.id, sub);
        assert.equal(verdict.facts.audience, audience);
        assert.equal(Date.parse(verdict.facts.expiry ?? '') / 1000, now + 300);
      }
    });

    it(`a token with ${algorithm} is accepted by py-spiffe, by the JWK set, and for no other audience`, async () => {
      const question = {
        trustDomain,
        jwks: jwksDocument(pool).bytes.toString(),
        token: await mint(algorithm),
      };
      const verdict = await pySpiffe.judge({ ...question, audience });
      assertAccepted(verdict);
      assert.deepEqual(verdict.facts, { kids: kidsOf(pool, 'active', 'retiring'), id: sub, audience });
      assertRefused(await pySpiffe.judge({ ...question, audience: 'b' }), /[Aa]udience/);
    });

    it(`a token with ${algorithm} is accepted by jose, by the JWK set`, async () => {
      const keys = createLocalJWKSet(JSON.parse(jwksDocument(pool).bytes.toString()));
      const { payload, protectedHeader } = await jwtVerify(await mint(algorithm), keys, {
        audience,
        subject: sub,
      });
      assert.equal(payload.aud, audience);
      assert.deepEqual(Object.keys(protectedHeader), ['alg', 'kid', 'typ']);
    });
  }

  it('a token is refused by go-spiffe for another audience, after its time, and once its key is retired', async () => {
    const bundle = bundleOf(pool);
    assertRefused(
      await judges.jwtSvid({ token: await mint('ES256'), audience: 'b', bundle }),
      /expected audience/,
    );
    const late = await mint('ES256', { exp: now - 120 });
    assertRefused(await judges.jwtSvid({ token: late, audience, bundle }), /expired/);
    const without = compile([
      await createAuthority({ id: 'x1', trustDomain, now }),
      await createJwtAuthority({ key: 'es256', now }),
    ]);
    const other = bundleOf(without);
    assertRefused(
      await judges.jwtSvid({ token: await mint('ES256'), audience, bundle: other }),
      /no JWT authority/,
    );
  });
});

describe('go-spiffe as client of the bundle endpoints', () => {
  const servers: TestEndpoint[] = [];
  after(() => Promise.all(servers.map((server) => server.close())));

  it('go-spiffe fetches the bundle over https_web, and not from a server of another root', async () => {
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

  it('go-spiffe fetches the bundle over https_spiffe, and not from an endpoint with another ID', async () => {
    const signing = signingAuthorityAt(pool, now, 0);
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

describe('`kubespiffe bundle fetch`', () => {
  const bundlePath = '/bundle';
  const endpointId = `spiffe://${trustDomain}/kubespiffe/bundle-endpoint`;
  const servers: TestEndpoint[] = [];
  let dir = '';
  let web: ServerCredentials;
  let svid: ServerCredentials;
  let roots = '';
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'kubespiffe-fetch-'));
    const signing = signingAuthorityAt(pool, now, 0);
    assert.ok(signing.ok);
    web = await webCredentials();
    svid = await svidOf(signing.authority, ['kubespiffe', 'bundle-endpoint']);
    roots = file('roots.pem', rootsPem(pool)?.bytes ?? '');
  });
  after(async () => {
    rmSync(dir, { recursive: true, force: true });
    await Promise.all(servers.map((server) => server.close()));
  });

  function file(name: string, content: string | Uint8Array): string {
    const path = join(dir, name);
    writeFileSync(path, content);
    return path;
  }

  async function open(credentials: ServerCredentials, answers: Answers): Promise<string> {
    const server = await serve(credentials, answers);
    servers.push(server);
    return server.url;
  }

  const good = () => ({ [bundlePath]: { body: bundleOf(pool).content } });
  const fetch = (url: string, ...more: string[]) =>
    run(['bundle', 'fetch', `${url}${bundlePath}`, '--trust-domain', trustDomain, ...more]);
  const overWeb = (url: string, ...more: string[]) =>
    fetch(url, '--web-roots', file('web.pem', web.cert), ...more);
  const overSpiffe = (url: string, id = endpointId, bundle = roots) =>
    fetch(url, '--profile', 'https_spiffe', '--endpoint-id', id, '--endpoint-bundle', bundle);

  function assertFailed({ code, stdout, stderr }: Ran, says: RegExp): void {
    assert.equal(code, 1, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, says);
  }

  it('bundle fetch prints the bundle unchanged, its JWT keys and its roots, over https_web', async () => {
    const url = await open(web, good());
    const { code, stdout, stderr } = await overWeb(url);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, Buffer.from(bundleOf(pool).content).toString());
    const jwks = await overWeb(url, '--format', 'jwks');
    const verdict = await judges.jwtBundle({ trustDomain, content: jwks.stdout });
    assertAccepted(verdict);
    assert.equal(verdict.facts.kids, kidsOf(pool, 'active', 'retiring'));
    assert.equal((await overWeb(url, '--format', 'pem')).stdout, rootsPem(pool)?.bytes.toString());
  });

  it('bundle fetch works over https_spiffe, beginning with PEM roots or with the last bundle', async () => {
    const url = await open(svid, good());
    for (const known of [roots, file('known.json', bundleOf(pool).content)]) {
      const { code, stdout, stderr } = await overSpiffe(url, endpointId, known);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, Buffer.from(bundleOf(pool).content).toString());
    }
  });

  it('bundle fetch accepts no server that does not prove its identity', async () => {
    const [webUrl, spiffeUrl] = [await open(web, good()), await open(svid, good())];
    assertFailed(await fetch(webUrl), /self-signed|certificate/);
    assertFailed(await overWeb(spiffeUrl), /certificate/);
    assertFailed(await overSpiffe(webUrl), /certificate/);
    const other = `spiffe://${trustDomain}/ns/shop/sa/web`;
    assertFailed(
      await overSpiffe(spiffeUrl, other),
      /it is spiffe:\/\/example\.org\/kubespiffe\/bundle-endpoint, not/,
    );
    const foreign = compile([await createAuthority({ id: 'x', trustDomain, now })]);
    const foreignRoots = file('foreign.pem', rootsPem(foreign)?.bytes ?? '');
    assertFailed(await overSpiffe(spiffeUrl, endpointId, foreignRoots), /certificate|issuer/);
  });

  it('bundle fetch follows redirects to endpoints that prove the same identity, and no others', async () => {
    const target = await open(web, good());
    const to = (location: string) => ({ [bundlePath]: { status: 307, headers: { location } } });
    const right = await open(web, to(`${target}${bundlePath}`));
    assert.equal((await overWeb(right)).code, 0);
    assertFailed(await overWeb(right, '--no-redirects'), /0 redirects are followed/);
    const plain = await open(web, to(`http://127.0.0.1:1${bundlePath}`));
    assertFailed(await overWeb(plain), /begins with https/);
    const untrusted = await open(web, to(`${await open(svid, good())}${bundlePath}`));
    assertFailed(await overWeb(untrusted), /certificate/);
    const loop = await open(web, to(bundlePath));
    assertFailed(await overWeb(loop), /5 redirects are followed/);
  });

  it('bundle fetch prints nothing of an answer that is not a valid bundle', async () => {
    const document = JSON.parse(Buffer.from(bundleOf(pool).content).toString());
    const secret = (await createJwtAuthority({ key: 'es256', now })).privateKey ?? '';
    const leaked = { ...createPrivateKey(secret).export({ format: 'jwk' }), use: 'jwt-svid', kid: 'a' };
    const cases: [answer: Answers[string], says: RegExp][] = [
      [{ status: 500, body: bundleOf(pool).content }, /status 500/],
      [{ status: 404 }, /status 404/],
      [{ body: '<html>' }, /is not JSON/],
      [{ body: '{"error":"none"}' }, /no list "keys"/],
      [{ body: JSON.stringify({ ...document, spiffe_sequence: 1.5 }) }, /spiffe_sequence/],
      [{ body: JSON.stringify({ keys: [leaked] }) }, /private member "d"/],
      [{ body: ' '.repeat(5 * 1024 * 1024) }, /longer than/],
      [
        { headers: { 'content-encoding': 'gzip' }, body: gzipSync(bundleOf(pool).content) },
        /is not (UTF-8|JSON)/,
      ],
    ];
    for (const [answer, says] of cases) {
      assertFailed(await overWeb(await open(web, { [bundlePath]: answer })), says);
    }
  });

  it('bundle fetch warns of keys that are ignored, and of an empty bundle', async () => {
    const url = await open(web, {
      [bundlePath]: { body: JSON.stringify({ keys: [{ kty: 'AKP', use: 'jwt-svid', kid: 'a' }] }) },
    });
    const { code, stderr } = await overWeb(url);
    assert.equal(code, 0);
    assert.match(stderr, /warning: keys\[0\]: kty is "AKP", so the key is ignored/);
    assert.match(stderr, /warning: the bundle is empty: all of example\.org is revoked/);
  });
});
