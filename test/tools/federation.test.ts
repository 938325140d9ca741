import 'reflect-metadata';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { serve, svidOf, type TestEndpoint, webCredentials } from '../contract/bundle-endpoint.ts';
import { aPool } from '../contract/installation.ts';
import { run } from './run.ts';

const trustDomain = 'partner.example';
const allow = ['--allow-addresses', '127.0.0.0/8'];

describe('`kubespiffe federation check`', () => {
  let dir: string;
  let pool: Pool;
  let web: TestEndpoint;
  let spiffe: TestEndpoint;
  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  let webRoots: string;
  let endpointBundle: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'kubespiffe-federation-'));
    const compiled = compilePool(await aPool({ trustDomain }), trustDomain);
    assert.ok(compiled.ok);
    pool = compiled.pool;
    const body = String(spiffeBundleDocument(pool, 300)?.bytes);
    const credentials = await webCredentials();
    web = await serve(credentials, { '/bundle': { body }, '/page': { body: '<html>' } });
    const signing = signingAuthorityAt(pool, Math.floor(Date.now() / 1000), 0);
    assert.ok(signing.ok);
    spiffe = await serve(await svidOf(signing.authority, ['endpoint']), { '/': { body } });
    webRoots = file('web.pem', credentials.cert);
    endpointBundle = file('partner.pem', rootsPem(pool)?.bytes ?? '');
  });
  after(async () => {
    await Promise.all([web.close(), spiffe.close()]);
    rmSync(dir, { recursive: true, force: true });
  });

  const check = (url: string, ...more: string[]) =>
    run(['federation', 'check', url, '--trust-domain', trustDomain, ...more]);
  const checkSpiffe = (id: string) =>
    check(
      spiffe.url,
      ...['--profile', 'https_spiffe', '--endpoint-id', id, '--endpoint-bundle', endpointBundle, ...allow],
    );

  it('says what an endpoint serves, and prints a resource that the signer accepts, for both profiles', async () => {
    for (const { code, stdout, stderr } of [
      await check(`${web.url}/bundle`, '--web-roots', webRoots, ...allow),
      await checkSpiffe(`spiffe://${trustDomain}/endpoint`),
    ]) {
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^trust domain: partner\.example\nsequence: 1\nrefresh hint: 300 s/);
      assert.ok(stderr.includes(`\nroot: SHA-256 ${pool.roots[0]?.sha256Hex}, ends in `), stderr);
      const resource = parse(stdout) as { kind: string; metadata: object };
      assert.equal(resource.kind, 'FederatedTrustDomain');
      assert.deepEqual(resource.metadata, { name: trustDomain });
      assert.ok(readFederatedTrustDomain(resource).origin.ok);
    }
  });

  const refusals: [what: string, ran: () => ReturnType<typeof run>, code: number, reason: RegExp][] = [
    [
      'an endpoint with another ID',
      () => checkSpiffe(`spiffe://${trustDomain}/other`),
      1,
      /it is spiffe:\/\/partner\.example\/endpoint, not/,
    ],
    [
      'a page in place of a bundle',
      () => check(`${web.url}/page`, '--web-roots', webRoots, ...allow),
      1,
      /the bundle is not JSON/,
    ],
    [
      'an address that the signer refuses',
      () => check(`${web.url}/bundle`, '--web-roots', webRoots),
      1,
      /the address 127\.0\.0\.1 is one of the machine itself/,
    ],
    [
      'a certificate that nobody has signed',
      () => check(`${web.url}/bundle`, ...allow),
      1,
      /self-signed certificate/,
    ],
    ['a URL of http', () => check('http://partner.example/'), 2, /spec\.bundleEndpoint\.url cannot be used/],
    [
      'https_spiffe without an ID',
      () => check(spiffe.url, '--profile', 'https_spiffe'),
      2,
      /endpointSPIFFEID is needed/,
    ],
    [
      'a range that is none',
      () => check(`${web.url}/bundle`, '--allow-addresses', '127.0.0.1'),
      2,
      /--allow-addresses is not a range/,
    ],
  ];
  for (const [what, ran, expected, reason] of refusals) {
    it(`refuses ${what}, and prints no resource`, async () => {
      const { code, stdout, stderr } = await ran();
      assert.equal(code, expected, stderr);
      assert.match(stderr, reason);
      assert.equal(stdout, '');
    });
  }
});
