import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { parseSpiffeBundle, printSpiffeBundle } from '../../spiffe/bundle.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { verifyJwtSvid } from '../../spiffe/jwt-verify.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { ecKey, inputOf, rsaKey, tokenOf } from '../spiffe/tokens.ts';

/** What our readers accept, go-spiffe accepts as well, with the exceptions that have a test of their own below. */
type Verdict = 'both accept' | 'both refuse' | 'go-spiffe accepts, we refuse';

function verdictOf(
  weAccept: boolean,
  theirErrors: readonly string[],
): Verdict | 'we accept, go-spiffe refuses' {
  const theyAccept = theirErrors.length === 0;
  if (weAccept) return theyAccept ? 'both accept' : 'we accept, go-spiffe refuses';
  return theyAccept ? 'go-spiffe accepts, we refuse' : 'both refuse';
}

function rowsOf<T>(table: Record<Verdict, Record<string, T>>): [name: string, input: T, verdict: Verdict][] {
  return (Object.entries(table) as [Verdict, Record<string, T>][]).flatMap(([verdict, rows]) =>
    Object.entries(rows).map(([name, input]): [string, T, Verdict] => [name, input, verdict]),
  );
}

const now = Math.floor(Date.now() / 1000);
const trustDomain = 'example.org';
const audience = 'https://api.example.org';
const key = ecKey();
const rsa = rsaKey();
const jwtKeys = [key, rsa].map(({ kid, publicKey }) => ({ kid, jwk: publicJwkOf(publicKey) }));
const keys = new Map([key, rsa].map(({ kid, publicKey }) => [kid, publicKey]));

let judges: Judges;
let root: TestCa;
let bundle = '';
before(async () => {
  judges = await openJudges();
  root = await makeCa();
  bundle = printSpiffeBundle({ sequence: 1, refreshHintSeconds: 300, roots: [root.facts], jwtKeys });
});

describe('JWT-SVIDs, judged by our verifier and by go-spiffe', () => {
  const header = { alg: 'ES256', kid: key.kid, typ: 'JWT' };
  const claims = { sub: 'spiffe://example.org/a', aud: audience, exp: now + 300, iat: now, nbf: now };
  const good = tokenOf(key, header, claims);
  const [head = '', body = '', signature = ''] = good.split('.');
  const made = (wrongHeader: object, wrongClaims: object) =>
    tokenOf(key, { ...header, ...wrongHeader }, { ...claims, ...wrongClaims });
  const tokens: Record<Verdict, Record<string, string>> = {
    'both accept': {
      'a good one': good,
      'a good one of RS256': tokenOf(rsa, { ...header, alg: 'RS256', kid: rsa.kid }, claims),
      'typ JOSE': made({ typ: 'JOSE' }, {}),
      'no typ': made({ typ: undefined }, {}),
      'sub of 2048 bytes': made({}, { sub: `spiffe://example.org/${'a'.repeat(2048 - 21)}` }),
      'a list of audiences': made({}, { aud: ['b', audience] }),
      'exp with a fraction': made({}, { exp: now + 300.5 }),
      'exp half a minute ago': made({}, { exp: now - 30 }),
      'nbf in half a minute': made({}, { nbf: now + 30 }),
      'no iat and no nbf': made({}, { iat: undefined, nbf: undefined }),
      'a claim of its own': made({}, { extra: { a: [1] } }),
      'white space in the claims': tokenOf(key, header, ` ${JSON.stringify(claims, undefined, 2)}\n`),
    },
    'both refuse': {
      'typ at+jwt': made({ typ: 'at+jwt' }, {}),
      'another kid': made({ kid: 'a' }, {}),
      'kid of the other key': made({ kid: rsa.kid }, {}),
      'alg none': `${inputOf({ ...header, alg: 'none' }, claims)}.`,
      'alg HS256': made({ alg: 'HS256' }, {}),
      'another alg': made({ alg: 'ES384' }, {}),
      crit: made({ crit: ['exp'] }, {}),
      'no sub': made({}, { sub: undefined }),
      'sub of another trust domain': made({}, { sub: 'spiffe://example.com/a' }),
      'sub in upper case': made({}, { sub: 'SPIFFE://example.org/a' }),
      'sub with an empty segment': made({}, { sub: 'spiffe://example.org//a' }),
      'another audience': made({}, { aud: 'b' }),
      'no audience': made({}, { aud: [] }),
      'an audience that is a number': made({}, { aud: 1 }),
      'no exp': made({}, { exp: undefined }),
      'exp as a string': made({}, { exp: String(now + 300) }),
      'exp long ago': made({}, { exp: now - 300 }),
      'exp at the end of time': made({}, { exp: 1e300 }),
      'nbf in an hour': made({}, { nbf: now + 3600 }),
      'iat in an hour': made({}, { iat: now + 3600 }),
      'jti that is a number': made({}, { jti: 1 }),
      'a claim twice': tokenOf(
        key,
        header,
        `${JSON.stringify(claims).slice(0, -1)},"sub":"spiffe://example.org/b"}`,
      ),
      padding: `${head}=.${body}.${signature}`,
      'another signature': `${head}.${body}.${Buffer.alloc(64, 1).toString('base64url')}`,
      'no signature': `${head}.${body}.`,
    },
    'go-spiffe accepts, we refuse': {
      jku: made({ jku: 'https://evil.example' }, {}),
      'sub without path': made({}, { sub: 'spiffe://example.org' }),
      'sub of 2049 bytes': made({}, { sub: `spiffe://example.org/${'a'.repeat(2049 - 21)}` }),
    },
  };

  for (const [name, token, verdict] of rowsOf(tokens)) {
    it(`our verifier and go-spiffe on a JWT-SVID, ${name}: ${verdict}`, async () => {
      const ours = verifyJwtSvid(token, keys, { now, audience, trustDomain });
      const theirs = await judges.jwtSvid({ token, audience, bundle: { trustDomain, content: bundle } });
      assert.equal(verdictOf(ours.ok, theirs.errors), verdict, theirs.errors.join());
    });
  }
});

describe('JWT-SVIDs without kid, which is optional', () => {
  it('a JWT-SVID without kid is accepted by our verifier and refused by go-spiffe', async () => {
    const claims = { sub: 'spiffe://example.org/a', aud: audience, exp: now + 300, iat: now };
    const token = tokenOf(key, { alg: 'ES256', typ: 'JWT' }, claims);
    const ours = verifyJwtSvid(token, keys, { now, audience, trustDomain });
    assert.ok(ours.ok, ours.ok ? '' : ours.reason);
    const theirs = await judges.jwtSvid({ token, audience, bundle: { trustDomain, content: bundle } });
    assert.match(theirs.errors.join(), /key ?id/i);
  });
});

describe('SPIFFE bundles, judged by our reader and by go-spiffe', () => {
  type Key = Record<string, unknown>;
  const change = (edit: (document: Key & { keys: Key[] }) => unknown) => () => {
    const document = JSON.parse(bundle) as Key & { keys: Key[] };
    edit(document);
    return JSON.stringify(document);
  };
  const edited = (index: number, edit: (one: Key) => unknown) =>
    change(({ keys: all }) => edit(all[index] ?? {}));
  const bundles: Record<Verdict, Record<string, () => string>> = {
    'both accept': {
      'a good one': () => bundle,
      'no sequence': change((document) => delete document.spiffe_sequence),
      'a sequence of 0': change((document) => Object.assign(document, { spiffe_sequence: 0 })),
      'a member of its own': change((document) => Object.assign(document, { note: 'a' })),
      'a key of an unknown use': edited(1, (one) => Object.assign(one, { use: 'sig' })),
      'a key without use': edited(1, (one) => delete one.use),
      'a root with a kid': edited(0, (one) => Object.assign(one, { kid: 'a' })),
      'a JWT key with alg': edited(1, (one) => Object.assign(one, { alg: 'ES256' })),
      'keys in reverse': change(({ keys: all }) => all.reverse()),
    },
    'both refuse': {
      'a sequence that is a float': change((document) => Object.assign(document, { spiffe_sequence: 1.5 })),
      'a sequence that is a string': change((document) => Object.assign(document, { spiffe_sequence: '1' })),
      'a root with x5c in base64url': edited(0, (one) =>
        Object.assign(one, { x5c: [Buffer.from(root.facts.der).toString('base64url')] }),
      ),
      'a root with x5c in PEM': edited(0, (one) => Object.assign(one, { x5c: [root.pem] })),
      'a JWT key without kid': edited(1, (one) => delete one.kid),
      'a short coordinate': edited(1, (one) =>
        Object.assign(one, { x: String(one.x ?? one.n).slice(0, -2) }),
      ),
      'a curve that does not fit': edited(1, (one) => Object.assign(one, { crv: 'P-384' })),
      'no JSON': () => `${bundle}}`,
      'a list': () => '[]',
    },
    'go-spiffe accepts, we refuse': {
      'a hint that is negative': change((document) => Object.assign(document, { spiffe_refresh_hint: -1 })),
    },
  };
  for (const [name, make, verdict] of rowsOf(bundles)) {
    it(`our reader and go-spiffe on a SPIFFE bundle, ${name}: ${verdict}`, async () => {
      const content = make();
      const ours = parseSpiffeBundle(content);
      const theirs = await judges.spiffeBundle({ trustDomain, content });
      assert.equal(verdictOf(ours.ok, theirs.errors), verdict, theirs.errors.join());
    });
  }

  const readers: [name: string, edit: (root: Key) => unknown, roots: number][] = [
    ['roots without certificate', (one) => delete one.x5c, 0],
    [
      'certificates of a root behind the first',
      (one) => Object.assign(one, { x5c: [...(one.x5c as string[]), ...(one.x5c as string[])] }),
      1,
    ],
  ];
  for (const [name, edit, roots] of readers) {
    it(`a SPIFFE bundle with ${name} is read without them, as in the standard, and refused by go-spiffe`, async () => {
      const content = edited(0, edit)();
      const ours = parseSpiffeBundle(content);
      assert.ok(ours.ok, ours.ok ? '' : ours.reason);
      assert.deepEqual([ours.value.roots.length, ours.value.jwtKeys.size], [roots, 2]);
      const theirs = await judges.spiffeBundle({ trustDomain, content });
      assert.match(theirs.errors.join(), /expected a single certificate/);
    });
  }

  it('a SPIFFE bundle with a key of unknown type is read without it, as in the standard, and refused by go-jose', async () => {
    const content = change(({ keys: all }) => all.push({ kty: 'AKP', use: 'jwt-svid', kid: 'a' }))();
    assert.ok(parseSpiffeBundle(content).ok);
    const theirs = await judges.spiffeBundle({ trustDomain, content });
    assert.match(theirs.errors.join(), /unsupported key type/);
  });
});
