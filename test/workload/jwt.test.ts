import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { fastify } from 'fastify';
import { printSpiffeBundle } from '../../spiffe/bundle.ts';
import type { KubespiffeError } from '../../spiffe/errors.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { exactly } from '../../workload/authorize.ts';
import { openBundleSource } from '../../workload/bundle-source.ts';
import { bearerJwtSvid } from '../../workload/fastify.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { createJwtSource } from '../../workload/jwt-source.ts';
import { openX509Source, type X509Source } from '../../workload/x509-source.ts';
import type { TestCa } from '../spiffe/pki/authorities.ts';
import { ecKey, type TokenKey, tokenOf } from '../spiffe/tokens.ts';
import { credentialsFor, newVolume, swap } from './credentials.ts';
import { makeWorld, partnerId, type World, webId } from './peers.ts';

const audience = 'https://api.example.org';

let folder: string;
let world: World;
let key: TokenKey;
let partnerKey: TokenKey;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-jwt-'));
  world = await makeWorld();
  key = ecKey();
  partnerKey = ecKey();
});
after(() => rmSync(folder, { recursive: true }));

const documentOf = (ca: TestCa, ...keys: readonly TokenKey[]) =>
  printSpiffeBundle({
    sequence: 1,
    refreshHintSeconds: 60,
    roots: [ca.facts],
    jwtKeys: keys.map(({ kid, publicKey }) => ({ kid, jwk: publicJwkOf(publicKey) })),
  });

function tokenFor(signing: TokenKey, claims: object = {}): string {
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: 'ES256', kid: signing.kid, typ: 'JWT' };
  return tokenOf(signing, header, { sub: webId, aud: [audience], iat: now, exp: now + 300, ...claims });
}

const newBundles = () =>
  newVolume(folder, {
    'roots.pem': world.ca.pem,
    'bundle.json': documentOf(world.ca, key),
    'example.com.json': documentOf(world.partner, partnerKey),
  });
const files = { 'example.org': ['roots.pem', 'bundle.json'], 'example.com': 'example.com.json' };

describe('BundleSource', () => {
  it('a BundleSource gives roots and JWT keys of each trust domain, and follows its files', async () => {
    const volume = newBundles();
    await using source = await openBundleSource(volume, files);
    const found = [...source.bundles].map(([name, { roots, jwtKeys }]) => [
      name,
      roots.length,
      [...jwtKeys.keys()],
    ]);
    assert.deepEqual(found, [
      ['example.org', 1, [key.kid]],
      ['example.com', 1, [partnerKey.kid]],
    ]);
    const next = ecKey();
    const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
    swap(volume, {
      'roots.pem': world.ca.pem,
      'bundle.json': documentOf(world.ca, key, next),
      'example.com.json': documentOf(world.partner, partnerKey),
    });
    await updated;
    assert.deepEqual([...(source.bundles.get('example.org')?.jwtKeys.keys() ?? [])], [key.kid, next.kid]);
  });

  it('a BundleSource keeps the last good bundle of one trust domain, and takes a new one of another', async () => {
    const volume = newBundles();
    await using source = await openBundleSource(volume, files);
    const problem = once(source.events, 'problem', { signal: AbortSignal.timeout(5_000) });
    const next = ecKey();
    swap(volume, {
      'roots.pem': world.ca.pem,
      'bundle.json': documentOf(world.ca, next),
      'example.com.json': '{ "keys": 1 }',
    });
    const [{ code, message }] = (await problem) as [KubespiffeError];
    assert.deepEqual([code, message.includes('example.com.json in ')], ['BUNDLE_INVALID', true]);
    assert.ok(source.bundles.get('example.com')?.jwtKeys.has(partnerKey.kid));
    assert.ok(source.bundles.get('example.org')?.jwtKeys.has(next.kid));
  });

  it('a BundleSource gives the bundle of a trust domain as long as its file is not empty', async () => {
    const volume = newBundles();
    const roots = { 'example.org': 'roots.pem', 'example.com': 'example.com.pem' };
    swap(volume, { 'roots.pem': world.ca.pem, 'example.com.pem': '' });
    await using source = await openBundleSource(volume, roots);
    assert.deepEqual([...source.bundles.keys()], ['example.org']);
    for (const [text, expected] of [
      [world.partner.pem, ['example.org', 'example.com']],
      ['', ['example.org']],
    ] as const) {
      const updated = once(source.events, 'update', { signal: AbortSignal.timeout(5_000) });
      swap(volume, { 'roots.pem': world.ca.pem, 'example.com.pem': text });
      await updated;
      assert.deepEqual([...source.bundles.keys()], expected);
    }
  });

  it('a BundleSource does not use roots of one trust domain in the file of another one', async () => {
    const volume = newVolume(folder, { 'a.pem': world.ca.pem + world.partner.pem });
    await using source = await openBundleSource(volume, { 'example.com': 'a.pem' });
    assert.deepEqual([...source.bundles.keys()], ['example.com']);
    const [{ message }] = (await once(source.events, 'problem')) as [KubespiffeError];
    assert.match(message, /root 1: it is of the trust domain example\.org, not example\.com/);
  });

  for (const [what, content, says] of [
    ['a file that has only white space', '\n', /no PEM block/],
    ['a document that is cut off', '{"keys": [', /not JSON/],
    ['a document with a name twice', '{"keys": [], "keys": []}', /name twice/],
    [
      'a document with a private key',
      '{"keys": [{"kty":"EC","crv":"P-256","x":"","y":"","d":"","use":"jwt-svid","kid":"a"}]}',
      /private member/,
    ],
  ] as const) {
    it(`a BundleSource is not opened with ${what}`, async () => {
      const volume = newVolume(folder, { 'bundle.json': content });
      await assert.rejects(
        openBundleSource(volume, { 'example.org': 'bundle.json' }),
        (error: KubespiffeError) => {
          assert.match(error.message, says);
          return error.code === 'BUNDLE_INVALID';
        },
      );
    });
  }

  it('a BundleSource is not opened for a name that is not a trust domain', async () => {
    await assert.rejects(openBundleSource(folder, { 'spiffe://example.org': 'a' }), {
      code: 'SPIFFE_ID_INVALID',
    });
  });
});

/** A token that is refused, and what the error says. */
const badTokens: readonly [what: string, make: () => string, says: RegExp][] = [
  ['no token', () => '', /no token/],
  ['a text that is not a token', () => 'secret', /1 parts/],
  ['a token of 100 KB', () => 'a'.repeat(100_000), /longer than/],
  ['a token for another audience', () => tokenFor(key, { aud: ['other'] }), /audience/],
  ['a token without audience', () => tokenFor(key, { aud: [] }), /aud is empty/],
  ['an expired token', () => tokenFor(key, { exp: 1_700_000_000 }), /expired/],
  ['a token without expiry', () => tokenFor(key, { exp: undefined }), /exp is missing/],
  ['a token without a SPIFFE ID', () => tokenFor(key, { sub: 'web' }), /sub: a SPIFFE ID begins/],
  [
    'a token of a trust domain without a bundle',
    () => tokenFor(key, { sub: 'spiffe://example.net/a' }),
    /no bundle of example\.net/,
  ],
  ['a token that another trust domain signed', () => tokenFor(partnerKey), /kid names no JWT key/],
  [
    'our token for the ID of another trust domain',
    () => tokenFor(key, { sub: partnerId }),
    /kid names no JWT key/,
  ],
  [
    'a token without a signature',
    () => `${tokenFor(key).split('.').slice(0, 2).join('.')}.`,
    /signature has 0 bytes/,
  ],
  [
    'a token with alg none',
    () => tokenOf(key, { alg: 'none', kid: key.kid }, { sub: webId, aud: audience, exp: 9e9 }),
    /alg is "none"/,
  ],
];

describe('validateJwtSvid', () => {
  it('validateJwtSvid gives SPIFFE ID, audiences and expiry of a token of each trust domain', async () => {
    await using bundles = await openBundleSource(newBundles(), files);
    const { id, audiences } = validateJwtSvid(tokenFor(key), audience, bundles);
    assert.deepEqual([id.uri, audiences], [webId, [audience]]);
    assert.equal(
      validateJwtSvid(tokenFor(partnerKey, { sub: partnerId }), audience, bundles).id.uri,
      partnerId,
    );
  });

  for (const [what, make, says] of badTokens) {
    it(`validateJwtSvid refuses ${what}`, async () => {
      await using bundles = await openBundleSource(newBundles(), files);
      const token = make();
      assert.throws(
        () => validateJwtSvid(token, audience, bundles),
        (error: KubespiffeError) => {
          assert.match(error.message, says);
          assert.ok(token === '' || !error.message.includes(token));
          return error.code === 'TOKEN_INVALID';
        },
      );
    });
  }

  it('validateJwtSvid refuses every token if no audience is expected', async () => {
    await using bundles = await openBundleSource(newBundles(), files);
    assert.throws(() => validateJwtSvid(tokenFor(key, { aud: [''] }), '', bundles), /no audience/);
  });
});

describe('the fastify plugin', () => {
  async function answerTo(headers: Record<string, string>) {
    await using bundles = await openBundleSource(newBundles(), files);
    const app = fastify();
    await app.register(bearerJwtSvid, { audience, bundles, authorize: exactly(webId) });
    app.get('/', async (request) => request.jwtSvid?.id.uri);
    const { statusCode, headers: answered, body } = await app.inject({ url: '/', headers });
    return { statusCode, challenge: String(answered['www-authenticate']), body };
  }

  it('the fastify plugin lets a request with an authorized token through, and gives its SPIFFE ID', async () => {
    for (const scheme of ['Bearer', 'bearer']) {
      const { statusCode, body } = await answerTo({ authorization: `${scheme} ${tokenFor(key)}` });
      assert.deepEqual([statusCode, body], [200, webId]);
    }
  });

  it('the fastify plugin answers 401 without a token, and to any credential but a Bearer token', async () => {
    for (const headers of [
      {},
      { authorization: 'Basic YTpi' },
      { authorization: 'Bearer' },
      { authorization: 'Bearer a b' },
    ]) {
      const { statusCode, challenge } = await answerTo(headers as Record<string, string>);
      assert.deepEqual([statusCode, challenge], [401, 'Bearer']);
    }
  });

  it('the fastify plugin answers 401 to an invalid token, with a header that its content cannot break', async () => {
    const { statusCode, challenge } = await answerTo({
      authorization: `Bearer ${tokenFor(key, { sub: 'a"\r\nset-cookie: b' })}`,
    });
    assert.equal(statusCode, 401);
    assert.match(challenge, /^Bearer error="invalid_token", error_description="[^"\\]+"$/);
  });

  it('the fastify plugin answers 403 to a token that is not authorized, and does not say who is', async () => {
    const token = tokenFor(key, { sub: 'spiffe://example.org/ns/shop/sa/batch' });
    const { statusCode, challenge, body } = await answerTo({ authorization: `Bearer ${token}` });
    assert.equal(statusCode, 403);
    assert.match(challenge, /error="insufficient_scope"/);
    assert.ok(!`${challenge}${body}`.includes(webId));
  });

  it('the fastify plugin does not start without an authorizer', async () => {
    const app = fastify();
    const options = { audience, bundles: { bundles: new Map() } } as unknown as Parameters<
      typeof bearerJwtSvid
    >[1];
    await assert.rejects(async () => app.register(bearerJwtSvid, options), TypeError);
  });
});

/** A token endpoint that answers what a test wants; test/contract has the real one. */
describe('JwtSource', () => {
  let source: X509Source;
  let server: https.Server;
  let port: number;
  let asked: { path: string | undefined; body: string; authenticated: boolean }[] = [];
  let answer: (audience: string) => object | undefined | Promise<object>;
  before(async () => {
    const volume = newVolume(folder, {
      'credentials.pem': (await credentialsFor(webId, world.ca)).pem,
      'roots.pem': world.ca.pem,
    });
    source = await openX509Source(volume);
    const own = await credentialsFor('spiffe://example.org/kubespiffe/token-endpoint', world.ca);
    server = https.createServer(
      { key: own.keyPem, cert: own.chainPem, ca: world.ca.pem, requestCert: true, rejectUnauthorized: false },
      async (request, response) => {
        const body = await text(request);
        const { authorized = false } = request.socket as { authorized?: boolean };
        asked.push({ path: request.url, body, authenticated: authorized });
        const form = body.startsWith('{') ? JSON.parse(body) : Object.fromEntries(new URLSearchParams(body));
        const given = await answer(form.audience);
        response.statusCode = given ? 200 : 503;
        response.end(given ? JSON.stringify(given) : '{"error":"server_error","error_description":"later"}');
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  });
  after(async () => {
    server.close();
    server.closeAllConnections();
    await source[Symbol.asyncDispose]();
  });

  const given = (token: string) => ({
    access_token: token,
    issued_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  });
  let skewMs = 0;
  function newSource(path = '/jwt-svid', signal?: AbortSignal) {
    asked = [];
    skewMs = 0;
    answer = (wanted) => given(tokenFor(key, { aud: [wanted] }));
    return createJwtSource({
      endpoint: `https://localhost:${port}${path}`,
      credential: { source },
      now: () => Date.now() + skewMs,
      ...(signal && { signal }),
    });
  }

  it('a JwtSource makes one request for many callers of one audience, with the certificate of the pod', async () => {
    const tokens = newSource();
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, index) => tokens.get(index % 2 ? 'a' : 'b')),
    );
    assert.equal(new Set(all.map(({ token }) => token)).size, 2);
    assert.deepEqual(all[0]?.id.uri, webId);
    assert.deepEqual(
      asked.map(({ path, authenticated }) => [path, authenticated]),
      [
        ['/jwt-svid', true],
        ['/jwt-svid', true],
      ],
    );
  });

  it('a JwtSource exchanges a ServiceAccount token, and reads its file each time', async () => {
    newSource();
    const tokenFile = join(folder, 'token');
    const tokens = createJwtSource({
      endpoint: `https://localhost:${port}/token`,
      credential: { tokenFile, bundles: source, trustDomain: 'example.org' },
    });
    writeFileSync(tokenFile, 'a.b.c\n');
    await tokens.get('x');
    writeFileSync(tokenFile, 'd.e.f\n');
    await tokens.get('y');
    assert.deepEqual(
      asked.map(({ path, body }) => [path, new URLSearchParams(body).get('subject_token')]),
      [
        ['/token', 'a.b.c'],
        ['/token', 'd.e.f'],
      ],
    );
    writeFileSync(tokenFile, '-----BEGIN PRIVATE KEY-----\n');
    await assert.rejects(tokens.get('z'), {
      code: 'TOKEN_REFUSED',
      message: /holds no ServiceAccount token/,
    });
  });

  for (const how of ['its signal', 'its disposal'] as const) {
    it(`a JwtSource reports each token that it gets, and is ended by ${how}`, async () => {
      const ending = new AbortController();
      const tokens = newSource('/jwt-svid', ending.signal);
      let updates = 0;
      tokens.events.on('update', () => {
        updates += 1;
      });
      for (const each of ['a', 'a', 'b']) await tokens.get(each);
      assert.equal(updates, 2);
      const { promise: reached, resolve } = Promise.withResolvers<void>();
      answer = () => {
        resolve();
        // The request is still open when the source ends.
        return new Promise(() => undefined);
      };
      const open = assert.rejects(tokens.get('c'), { name: 'AbortError' });
      await reached;
      if (how === 'its signal') ending.abort();
      else await tokens[Symbol.asyncDispose]();
      await open;
      await assert.rejects(tokens.get('a'), { name: 'AbortError' });
    });
  }

  it('a JwtSource keeps a token until half of its lifetime, then requests a new one', async () => {
    const tokens = newSource();
    const first = await tokens.get(audience);
    skewMs = 145_000;
    assert.equal(await tokens.get(audience), first);
    skewMs = 155_000;
    answer = (wanted) => given(tokenFor(key, { aud: [wanted], exp: Math.floor(Date.now() / 1000) + 600 }));
    assert.notEqual((await tokens.get(audience)).token, first.token);
    assert.equal(asked.length, 2);
  });

  it('a JwtSource requests a new token when the clock was set back, or far ahead', async () => {
    const tokens = newSource();
    await tokens.get(audience);
    for (const [jumpMs, count] of [
      [-3_600_000, 2],
      [0, 3],
    ] as const) {
      skewMs = jumpMs;
      const exp = Math.floor((Date.now() + skewMs) / 1000) + 300;
      answer = (wanted) => given(tokenFor(key, { aud: [wanted], iat: exp - 300, exp }));
      await tokens.get(audience);
      await tokens.get(audience);
      assert.equal(asked.length, count);
    }
  });

  it('a JwtSource gives the known token while no new one is available, until it expires', async () => {
    const tokens = newSource();
    const problems: string[] = [];
    tokens.events.on('problem', ({ message }) => problems.push(message));
    const first = await tokens.get(audience);
    answer = () => undefined;
    skewMs = 200_000;
    assert.equal(await tokens.get(audience), first);
    assert.equal(await tokens.get(audience), first);
    assert.deepEqual([asked.length, problems.length], [2, 1]);
    assert.match(problems[0] ?? '', /503.*later/);
    skewMs = 206_000;
    assert.equal(await tokens.get(audience), first);
    assert.deepEqual([asked.length, problems.length], [3, 1], 'the same problem is not reported again');
    skewMs = 301_000;
    await assert.rejects(tokens.get(audience), { code: 'TOKEN_REFUSED' });
    answer = (wanted) => given(tokenFor(key, { aud: [wanted], exp: Math.floor(Date.now() / 1000) + 900 }));
    assert.notEqual((await tokens.get(audience)).token, first.token);
  });

  for (const [what, make] of [
    ['a token for another audience', () => given(tokenFor(key, { aud: ['other'] }))],
    ['a token that is expired', () => given(tokenFor(key, { exp: 1_700_000_000 }))],
    ['a token without a SPIFFE ID', () => given(tokenFor(key, { sub: 'web' }))],
    ['a text that is not a token', () => given('secret')],
    ['a token of another type', () => ({ access_token: tokenFor(key), issued_token_type: 'saml' })],
    ['a list as a token', () => []],
  ] as const) {
    it(`a JwtSource does not use ${what}, and asks again`, async () => {
      const tokens = newSource();
      answer = make;
      await assert.rejects(tokens.get(audience), { code: 'TOKEN_REFUSED' });
      answer = (wanted) => given(tokenFor(key, { aud: [wanted] }));
      assert.equal((await tokens.get(audience)).id.uri, webId);
    });
  }

  it('a JwtSource does not send its credential to an endpoint of a federated trust domain', async () => {
    const volume = newVolume(folder, {
      'credentials.pem': (await credentialsFor(partnerId, world.partner)).pem,
      'roots.pem': world.partner.pem + world.ca.pem,
    });
    newSource();
    await using partner = await openX509Source(volume);
    const tokens = createJwtSource({
      endpoint: `https://localhost:${port}/jwt-svid`,
      credential: { source: partner },
    });
    await assert.rejects(tokens.get(audience), { code: 'TOKEN_REFUSED' });
    assert.deepEqual(asked, []);
  });

  it('a JwtSource reports an endpoint that is down', async () => {
    const tokens = createJwtSource({ endpoint: 'https://localhost:1/jwt-svid', credential: { source } });
    await assert.rejects(tokens.get(audience), { code: 'TOKEN_REFUSED', message: /ECONNREFUSED/ });
  });
});
