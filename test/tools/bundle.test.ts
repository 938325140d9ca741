import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { jwksDocument, rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { assembleJwt, jwtSigningInput } from '../../spiffe/jwt-svid.ts';
import { joinedFromDer } from '../../spiffe/pki/ecdsa-signature.ts';
import { ecKey, tokenOf } from '../spiffe/tokens.ts';
import { run } from './run.ts';

const now = Math.floor(Date.now() / 1000);
const trustDomain = 'example.org';
const audience = 'https://api.example.org';
const claims = {
  sub: 'spiffe://example.org/ns/shop/sa/web',
  aud: [audience],
  exp: now + 300,
  iat: now - 10,
  nbf: now - 10,
  jti: 'a',
};

let dir = '';
let pool: Pool;
let token = '';
const files = { spiffe: '', jwks: '', pem: '', token: '' };
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'kubespiffe-bundle-'));
  const root = await createAuthority({ id: 'x1', trustDomain, now });
  const jwt = await createJwtAuthority({ key: 'es256', now });
  const compiled = compilePool(newPool(trustDomain, root, jwt), trustDomain);
  assert.ok(compiled.ok);
  pool = compiled.pool;
  const active = pool.activeJwt('ES256');
  assert.ok(active?.signingKey);
  const input = jwtSigningInput({ alg: 'ES256', kid: active.kid }, claims);
  token = assembleJwt(input, joinedFromDer(await active.signingKey.sign(Buffer.from(input))));
  files.spiffe = file('bundle.json', spiffeBundleDocument(pool, 300)?.bytes);
  files.jwks = file('jwks.json', jwksDocument(pool).bytes);
  files.pem = file('roots.pem', rootsPem(pool)?.bytes);
  files.token = file('token.jwt', `${token}\n`);
});
after(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string | Buffer | undefined): string {
  const path = join(dir, name);
  writeFileSync(path, content ?? '');
  return path;
}

const signatureOf = (text: string) => text.slice(text.lastIndexOf('.') + 1);

describe('`kubespiffe bundle verify`', () => {
  for (const format of ['spiffe', 'jwks', 'pem'] as const) {
    it(`kubespiffe bundle verify finds nothing wrong with our own bundle as ${format}`, async () => {
      const { code, stdout, stderr } = await run([
        'bundle',
        'verify',
        files[format],
        '--trust-domain',
        trustDomain,
      ]);
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /Result: conforms/);
      if (format !== 'pem') assert.ok(stdout.includes(pool.jwt[0]?.kid ?? ''));
    });
  }

  it('kubespiffe bundle verify ends with 1 for a bundle that a strict reader refuses, and reports why', async () => {
    const bundle = JSON.parse(spiffeBundleDocument(pool, 300)?.bytes.toString() ?? '');
    const [rootKey, jwtKey] = bundle.keys;
    const cases: [content: string, says: RegExp][] = [
      [JSON.stringify({ ...bundle, keys: [rootKey, { ...jwtKey, kid: undefined }] }), /kid is missing/],
      [JSON.stringify({ ...bundle, spiffe_sequence: '1' }), /spiffe_sequence is not a whole number/],
      ['{"keys":[],"keys":[]}', /has a name twice/],
      ['{"spiffe_sequence":1,"spiffe_sequence":2,"keys":[]}', /has a name twice/],
      [JSON.stringify({ keys: [{ ...jwtKey, use: 'sig', y: jwtKey.x }] }), /not a readable EC key/],
      [
        JSON.stringify({ ...bundle, keys: [{ ...rootKey, ...jwtKey, use: 'x509-svid', kid: undefined }] }),
        /not that of the certificate/,
      ],
    ];
    for (const [input, says] of cases) {
      const { code, stdout } = await run(['bundle', 'verify', '-'], { input });
      assert.equal(code, 1, stdout);
      assert.match(stdout, says);
    }
  });

  it('kubespiffe bundle verify accepts a JWK set with an unknown type of key, and reports that readers ignore it', async () => {
    const { keys } = JSON.parse(readFileSync(files.jwks, 'utf8')) as { keys: object[] };
    const input = JSON.stringify({
      keys: [{ kty: 'AKP', alg: 'ML-DSA-65', pub: 'AAAA', kid: 'pq' }, ...keys],
    });
    const { code, stdout } = await run(['bundle', 'verify', '-'], { input });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /SHOULD.*RFC 7517 5: keys\[0\]: kty is "AKP", so the key is ignored/);
  });

  for (const [encoding, encode] of [
    ['UTF-8', (text: string) => Buffer.from(`\ufeff${text}`)],
    ['UTF-16', (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le')],
  ] as const) {
    it(`kubespiffe bundle verify reads every root of PEM in ${encoding}, and advises against a byte order mark`, async () => {
      const { certificate } = await createAuthority({ id: 'x2', trustDomain, now });
      const input = encode(`${certificate}${rootsPem(pool)?.bytes}`);
      const { code, stdout } = await run(['bundle', 'verify', '-'], { input });
      assert.equal(code, 0, stdout);
      assert.match(stdout, /Roots +2\n/);
      assert.match(stdout, /SHOULD RFC 7468 3: a byte order mark precedes the first block/);
    });
  }

  for (const format of ['spiffe', 'jwks'] as const) {
    it(`kubespiffe bundle verify ends with 1 for JSON with a byte order mark as ${format}`, async () => {
      const input = `\ufeff${readFileSync(files[format], 'utf8')}`;
      const { code, stdout } = await run(['bundle', 'verify', '-'], { input });
      assert.equal(code, 1, stdout);
      assert.match(stdout, /MUST RFC 8259 8\.1: a byte order mark precedes the text/);
      assert.equal(stdout.match(/MUST/g)?.length, 1, stdout);
    });
  }

  it('kubespiffe bundle verify warns about roots of two trust domains in one file, as inspect --roots does', async () => {
    const other = await createAuthority({ id: 'x2', trustDomain: 'foo.org', now });
    const merged = file('merged.pem', `${other.certificate}${rootsPem(pool)?.bytes}`);
    const says = /the roots are of foo\.org and example\.org: each of their CAs can sign names of the others/;
    const verified = await run(['bundle', 'verify', merged]);
    assert.equal(verified.code, 0, verified.stdout);
    assert.match(verified.stdout, /SHOULD SPIFFE Federation 5: /);
    assert.match(verified.stdout, says);
    const inspected = await run(['inspect', files.pem, '--roots', merged]);
    assert.match(inspected.stderr, /^warning: /);
    assert.match(inspected.stderr, says);
    assert.doesNotMatch((await run(['bundle', 'verify', files.pem])).stdout, /Federation 5/);
  });

  it('kubespiffe bundle verify ends with 1 for PEM that readers refuse, even if the rest is good', async () => {
    const roots = rootsPem(pool)?.bytes.toString() ?? '';
    const { code, stdout, stderr } = await run(['bundle', 'verify', '-'], { input: ` ${roots}${roots}` });
    assert.notEqual(code, 0, stdout);
    assert.match(stderr, /line 1: it looks like the boundary of a PEM block and is not one/);
  });

  for (const command of [['bundle', 'verify'], ['inspect']]) {
    it(`kubespiffe bundle verify refuses an invalid trust domain: ${command.join(' ')}`, async () => {
      const { code, stderr } = await run([...command, files.pem, '--trust-domain', 'A B']);
      assert.equal(code, 2);
      assert.match(stderr, /^error: --trust-domain A B: /m);
    });
  }

  for (const format of ['spiffe', 'pem'] as const) {
    it(`kubespiffe bundle verify ends with 1 for roots of another trust domain than the given one, as ${format}`, async () => {
      const { code, stdout } = await run(['bundle', 'verify', files[format], '--trust-domain', 'foo.org']);
      assert.equal(code, 1);
      assert.match(stdout, /MUST X509-SVID 4\.1: the SPIFFE ID is not spiffe:\/\/foo\.org/);
    });
  }
});

describe('a malicious bundle', () => {
  const evil = '\u001b[2Ja\u009b31mb\u007f\u202ec\u2066d\u200be\u2028\nResult: conforms';
  const named = {
    ...ecKey().publicKey.export({ format: 'jwk' }),
    use: 'jwt-svid',
    alg: 'ES256',
    kid: evil,
    [evil]: 1,
  };
  const objects = { kty: { toString: 1 }, use: { toString: 1 }, kid: { toString: 1 } };
  const bundles = {
    'names of its own': { keys: [named], spiffe_sequence: 1, spiffe_refresh_hint: 300, [evil]: 1 },
    'JWKs with such names': { keys: [named] },
    'texts for numbers': {
      keys: [named, { ...named, kty: evil, use: evil }, evil],
      spiffe_sequence: evil,
      spiffe_refresh_hint: evil,
    },
    'objects for texts': { keys: [objects, { ...named, kid: objects }], spiffe_sequence: objects },
  };
  for (const command of [['bundle', 'verify'], ['inspect']]) {
    for (const [what, bundle] of Object.entries(bundles)) {
      it(`a malicious bundle does not control the terminal of \`${command.join(' ')}\`, nor add lines: ${what}`, async () => {
        const { stdout, stderr } = await run([...command, '-'], { input: JSON.stringify(bundle) });
        assert.equal(stdout.match(/^Result: /gm)?.length, 1, stderr);
        assert.doesNotMatch(stdout, /[^\n\P{C}]|\p{Zl}|\p{Zp}/u);
      });
    }
  }
});

describe('`kubespiffe token --decode`', () => {
  it('kubespiffe token --decode prints the content of a token, never its signature', async () => {
    const { code, stdout } = await run(['token', '--decode', files.token]);
    assert.equal(code, 0);
    assert.match(stdout, /sub +spiffe:\/\/example\.org\/ns\/shop\/sa\/web/);
    assert.match(stdout, /exp +\d+ \(20.*Z, in [1-5]m/);
    assert.match(stdout, /Result: conforms/);
    assert.ok(!stdout.includes(signatureOf(token)));
  });

  it('kubespiffe token --decode reads standard input, and tokens that are not SVIDs, which it reports', async () => {
    const wrong = tokenOf(
      ecKey(),
      { alg: 'ES256', kid: 'a', crit: ['\u001b[31m'] },
      { sub: 'a\u001b[2Jb', aud: [] },
    );
    const { code, stdout } = await run(['token', '--decode', '--trust-domain', trustDomain], {
      input: wrong,
    });
    assert.equal(code, 0);
    assert.match(stdout, /does not conform/);
    assert.match(stdout, /MUST JWT-SVID 2: the header holds "crit" too/);
    assert.ok(!stdout.includes('\u001b'));
  });

  it('kubespiffe token --decode refuses a text that is not a token, and does not repeat it', async () => {
    const { code, stdout, stderr } = await run(['token', '--decode'], { input: 'Bearer abc.def.ghi' });
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: a part of the token is not base64url.*\nhint: /);
    assert.ok(!stderr.includes('abc'));
  });
});

describe('`kubespiffe token --verify`', () => {
  const verify = (more: string[], input = token) =>
    run(['token', '--verify', '--audience', audience, '--trust-domain', trustDomain, ...more], { input });

  it('kubespiffe token --verify accepts a good token by the SPIFFE bundle and by the JWK set', async () => {
    for (const bundle of [files.spiffe, files.jwks]) {
      const { code, stdout, stderr } = await verify(['--bundle', bundle]);
      assert.equal(code, 0, stderr);
      assert.match(
        stdout,
        /^valid\nSPIFFE ID +spiffe:\/\/example\.org\/ns\/shop\/sa\/web\nAudience +https:\/\/api/,
      );
    }
    const { stdout } = await verify(['--bundle', files.spiffe, '-o', 'json']);
    assert.equal(JSON.parse(stdout).id, claims.sub);
    assert.ok(!stdout.includes(signatureOf(token)));
  });

  it('kubespiffe token --verify ends with 1 for an invalid token, and reports why', async () => {
    const foreign = tokenOf(
      ecKey(),
      { alg: 'ES256', kid: pool.jwt[0]?.kid, typ: 'JWT' },
      { ...claims, aud: audience },
    );
    const rows: [more: string[], input: string, says: RegExp][] = [
      [['--bundle', files.spiffe, '--audience', 'other'], token, /not one of those of the token/],
      [
        ['--bundle', files.spiffe, '--trust-domain', 'example.com'],
        token,
        /not of the trust domain example\.com/,
      ],
      [['--bundle', files.spiffe], foreign, /the signature is not that of the key/],
      [['--bundle', files.pem], token, /kid names no JWT key/],
    ];
    for (const [more, input, says] of rows) {
      const { code, stdout, stderr } = await verify(more, input);
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.match(stderr, says);
      assert.ok(!stderr.includes(signatureOf(input)));
    }
  });
});
