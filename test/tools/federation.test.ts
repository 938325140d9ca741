import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { parseAddressRange } from '../../client/address-range.ts';
import { createAddressRule } from '../../client/address-rule.ts';
import { webContext } from '../../client/bundle-endpoint.ts';
import { signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { tryToGet } from '../../signer/federation/attempt.ts';
import { readFederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import { realTime } from '../../signer/kube/time.ts';
import { rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { failure } from '../../spiffe/pki/result.ts';
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

  it('federation check shows what an endpoint serves, and prints a resource for it, for both profiles', async () => {
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
      'a certificate that no root has signed',
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
      'an invalid range',
      () => check(`${web.url}/bundle`, '--allow-addresses', '127.0.0.1'),
      2,
      /--allow-addresses is not a range/,
    ],
  ];
  for (const [what, ran, expected, reason] of refusals) {
    it(`federation check refuses ${what}, and prints no resource`, async () => {
      const { code, stdout, stderr } = await ran();
      assert.equal(code, expected, stderr);
      assert.match(stderr, reason);
      assert.equal(stdout, '');
    });
  }
});

describe('`kubespiffe federation invite`', () => {
  const ours = 'example.org';
  const dir = mkdtempSync(join(tmpdir(), 'kubespiffe-invite-'));
  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const servers: TestEndpoint[] = [];
  let web: TestEndpoint;
  let spiffe: TestEndpoint;
  let webRoots: string;
  let bundle: string;

  before(async () => {
    const compiled = compilePool(await aPool({ trustDomain: ours }), ours);
    assert.ok(compiled.ok);
    const body = String(spiffeBundleDocument(compiled.pool, 300)?.bytes);
    const credentials = await webCredentials();
    const signing = signingAuthorityAt(compiled.pool, Math.floor(Date.now() / 1000), 0);
    assert.ok(signing.ok);
    const svid = await svidOf(signing.authority, ['kubespiffe', 'token-endpoint']);
    web = await serve(credentials, { '/bundle': { body } });
    spiffe = await serve(svid, { '/bundle': { body } });
    servers.push(web, spiffe);
    webRoots = file('web.pem', credentials.cert);
    bundle = file('bundle.json', body);
  });
  after(async () => {
    await Promise.all(servers.map((server) => server.close()));
    rmSync(dir, { recursive: true, force: true });
  });

  const invite = (...args: string[]) => run(['federation', 'invite', '--trust-domain', ours, ...args]);

  it('federation invite prints a resource with which the other signer takes our bundle, for both profiles', async () => {
    for (const flags of [
      ['--url', `${web.url}/bundle`, '--web-roots', webRoots],
      ['--url', `${spiffe.url}/bundle`, '--profile', 'https_spiffe', '--bundle', bundle],
    ]) {
      const { code, stdout, stderr } = await invite(...flags);
      assert.deepEqual([code, stderr], [0, '']);
      const resource = readFederatedTrustDomain(parse(stdout));
      assert.ok(resource.origin.ok);
      const loopback = parseAddressRange('127.0.0.0/8');
      const needs = {
        ...{ ownTrustDomain: 'partner.example', resourceOf: () => undefined, webContext },
        addresses: createAddressRule(loopback ? [loopback] : []),
        readTrustBundle: async () => failure('there is none'),
        pool: { jwt: [], authorities: [], roots: [] },
        time: realTime,
      };
      const signal = AbortSignal.timeout(30_000);
      const { outcome } = await tryToGet(resource, resource.origin.value, undefined, needs, signal);
      assert.equal(outcome.kind, 'taken', outcome.kind === 'taken' ? '' : outcome.detail);
    }
  });

  it('federation invite prints commands for SPIRE that a shell reads correctly', async () => {
    const url = "https://bundle.example.org/a'b$(id)&c";
    const flags = ['--url', url, '--profile', 'https_spiffe', '--bundle', bundle, '--for', 'spire'];
    const { code, stdout } = await invite(...flags);
    assert.equal(code, 0);
    chmodSync(file('spire-server', `#!/bin/sh\nprintf '%s\\n' "$@"\n`), 0o755);
    const env = { PATH: `${dir}:${process.env.PATH}` };
    const words = execFileSync('sh', ['-c', stdout], { cwd: dir, env, encoding: 'utf8' }).trim().split('\n');
    assert.deepEqual(words, [
      ...['federation', 'create', '-trustDomain', ours, '-bundleEndpointURL', url],
      ...['-bundleEndpointProfile', 'https_spiffe'],
      ...['-endpointSpiffeID', 'spiffe://example.org/kubespiffe/token-endpoint'],
      ...['-trustDomainBundleFormat', 'pem', '-trustDomainBundlePath', 'example.org.pem'],
    ]);
    assert.match(readFileSync(join(dir, 'example.org.pem'), 'utf8'), /^-----BEGIN CERTIFICATE-----\n[^#]*$/);
    assert.ok(stdout.includes(`#     bundle_endpoint_url = "${url}"`));
  });

  for (const [what, flags, code, reason] of [
    ['a URL of http', ['--url', 'http://a.example/bundle'], 2, /spec\.bundleEndpoint\.url cannot be used/],
    [
      'https_spiffe without a bundle',
      ['--url', 'https://a.example/bundle', '--profile', 'https_spiffe'],
      2,
      /--bundle/,
    ],
    [
      'web roots for SPIRE',
      ['--url', 'https://a.example/bundle', '--web-roots', 'x', '--for', 'spire'],
      2,
      /is not for spire/,
    ],
    [
      'a file that is not a bundle',
      ['--url', 'https://a.example/bundle', '--profile', 'https_spiffe', '--bundle', '/dev/null'],
      1,
      /not JSON/,
    ],
  ] as const) {
    it(`federation invite refuses ${what}`, async () => {
      const ran = await invite(...flags);
      assert.deepEqual([ran.code, ran.stdout], [code, '']);
      assert.match(ran.stderr, reason);
    });
  }
});
