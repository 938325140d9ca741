import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { signerSettings } from '../../signer/config/signer-settings.ts';
import { serve, webCredentials } from '../contract/bundle-endpoint.ts';
import { launcher, run } from './run.ts';

let dir = '';
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'kubespiffe-cli-'));
});
after(() => rmSync(dir, { recursive: true, force: true }));

describe('the launcher', () => {
  it('the launcher runs from any folder, through relative and absolute links', async () => {
    symlinkSync(launcher, join(dir, 'one'));
    symlinkSync('one', join(dir, 'two'));
    const { code, stdout } = await run(['version'], { file: join(dir, 'two'), cwd: '/' });
    assert.equal(code, 0);
    assert.match(stdout, /^kubespiffe \d+\.\d+\.\d+ \(Node\.js 2[4-9]/);
  });

  it('the launcher reports what to do when the configured Node is too old', async () => {
    const old = join(dir, 'old-node');
    writeFileSync(old, '#!/bin/sh\necho 20\n');
    chmodSync(old, 0o755);
    const { code, stderr } = await run(['version'], { file: launcher, env: { KUBESPIFFE_NODE: old } });
    assert.equal(code, 1);
    assert.match(stderr, /^error: KUBESPIFFE_NODE=.* is not a Node\.js of version 24 or newer\n$/);
  });

  it('the launcher starts `signer` without loading the other commands', async () => {
    const { code, stderr } = await run(['signer', '--no-such-setting']);
    assert.equal(code, 2);
    assert.match(stderr, /no-such-setting/);
  });
});

describe('help', () => {
  for (const args of [[], ['--help'], ['help'], ['ca'], ['ca', '--help'], ['help', 'ca', 'create']]) {
    it(`help is printed for \`kubespiffe ${args.join(' ')}\``, async () => {
      const { code, stdout, stderr } = await run(args);
      assert.equal(code, 0);
      assert.equal(stderr, '');
      assert.match(stdout, /\nUsage:\n {2}kubespiffe/);
    });
  }

  for (const args of [
    ['doctor'],
    ['migrate', 'spire'],
    ['ca', 'create'],
    ['ca', 'show'],
    ['ca', 'import'],
    ['ca', 'add-jwt-key'],
    ['ca', 'restore'],
    ['dev'],
    ['inspect'],
    ['inspect', 'pcr'],
    ['bundle', 'show'],
    ['bundle', 'fetch'],
    ['bundle', 'verify'],
    ['federation', 'check'],
    ['federation', 'list'],
    ['federation', 'show'],
    ['federation', 'refresh'],
    ['federation', 'diff'],
    ['federation', 'invite'],
    ['token'],
    ['who'],
    ['explain', 'pod'],
    ['explain', 'token'],
    ['explain', 'denial'],
    ['registration', 'lint'],
    ['registration', 'what-if'],
    ['completion'],
  ]) {
    it(`the help of \`${args.join(' ')}\` has examples`, async () => {
      const { code, stdout } = await run([...args, '--help']);
      assert.equal(code, 0);
      assert.match(stdout, /\nExamples:\n {2}# /);
      assert.match(stdout, new RegExp(`kubespiffe ${args.join(' ')}`));
    });
  }
});

describe('wrong usage', () => {
  for (const verb of ['activate', 'taint', 'evict', 'rotate', 'status']) {
    it(`\`ca ${verb}\` refuses an invalid delay before anything is read`, async () => {
      const authority = ['rotate', 'status'].includes(verb) ? [] : ['ca-1'];
      const ran = await run(['ca', verb, ...authority, '--propagation-delay', 'soon']);
      assert.equal(ran.code, 2);
      assert.match(ran.stderr, /^error: --propagation-delay "soon" is not a duration\nhint: /);
    });
  }

  for (const verb of ['create', 'prepare', 'csr']) {
    it(`\`ca ${verb}\` refuses a malformed reference to a key before anything is read`, async () => {
      const ran = await run(['ca', verb, '--key-ref', 'bogus']);
      assert.equal(ran.code, 2);
      assert.match(ran.stderr, /^error: --key-ref is not a reference to a key, .*\nhint: /);
    });
  }

  const create = ['ca', 'create', '-n', 'x', '--name', 'y', '--ca-id', 'a', '--trust-domain', 'example.org'];
  const fetch = ['bundle', 'fetch', '--trust-domain', 'example.org'];
  const restore = ['ca', 'restore', '-n', 'x', '--name', 'y', '--from'];
  const importing = [
    'ca',
    'import',
    '-n',
    'x',
    '--name',
    'y',
    '--ca-id',
    'a',
    '--trust-domain',
    'example.org',
  ];
  const exchange = ['token', '--endpoint', 'https://localhost:1/token'];
  const rows: [args: string[], says: RegExp, hint: RegExp][] = [
    [['bogus'], /unknown command 'bogus'/, /kubespiffe --help/],
    [['bogus', '--help'], /unknown command 'bogus'/, /kubespiffe --help/],
    [['help', 'ca', 'bogus'], /unknown command 'bogus'/, /kubespiffe ca --help/],
    [['ca', 'creat'], /unknown command 'creat'/, /did you mean create\?/],
    // Commander suggests `create`, `import`, `restore` and `signer` for these: none is what was meant.
    [
      ['ca', 'export'],
      /unknown command 'export'/,
      /^hint: a new CA or key is brought in by `kubespiffe ca rotate`/,
    ],
    [
      ['ca', 'revoke'],
      /unknown command 'revoke'/,
      /^hint: a new CA or key is brought in by `kubespiffe ca rotate`/,
    ],
    [['bundle', 'patch'], /unknown command 'patch'/, /^hint: see `kubespiffe bundle --help`/],
    [['sign'], /unknown command 'sign'/, /^hint: see `kubespiffe --help`/],
    [['ca', 'create', '--namspace', 'x'], /unknown option '--namspace'/, /did you mean --namespace\?/],
    [['ca', 'create', '-n', 'x'], /not set: --ca-id, --trust-domain$/, /kubespiffe ca create --help/],
    [[...create, '--key-type', 'dsa'], /'dsa' is invalid.*ecdsa-p256/, /kubespiffe ca create --help/],
    [[...create, '--lifetime', '5'], /--lifetime "5" is not a duration/, /8760h/],
    [[...create, '--lifetime', '5h'], /between 24h and 30 years/, /.*/],
    [[...create, '--jwt-keys', 'es256,es256'], /is not a list of keys/, /none, or some of es256,rs256/],
    [[...create, '--jwt-keys', 'ES512'], /is not a list of keys/, /none, or some of es256,rs256/],
    [[...create, '--dry-run=all'], /'all' is invalid.*client, server/, /--help/],
    [[...create, '--dry-run', '-o', 'wide'], /'wide' is invalid.*json, yaml/, /--help/],
    [[...create.slice(0, -1), 'Example.org'], /trust domain has only/, /example\.org/],
    [['ca', 'import', '-n', 'x', '--name', 'y'], /nothing to import/, /--from-secret/],
    [['ca', 'import', '-n', 'x', '--name', 'y', '--cert', 'c'], /--cert without --key/, /--key FILE/],
    [[...importing, '--mesh-pool', '/nonexistent/file'], /cannot be read \(ENOENT\)/, /exists/],
    [[...importing, '--cert', '/nonexistent/file', '--key', launcher], /cannot be read \(ENOENT\)/, /exists/],
    [[...importing, '--cert', launcher, '--key', '/nonexistent/file'], /cannot be read \(ENOENT\)/, /exists/],
    [['ca', 'import', '-n', 'x', '--name', 'y', '--from-secret', 'z'], /not a namespace/, /NAMESPACE\/NAME/],
    [['ca', 'restore', '-n', 'x', '--name', 'y'], /--from/, /kubespiffe ca restore --help/],
    [[...restore, '/nonexistent/file'], /cannot be read \(ENOENT\)/, /exists/],
    [[...restore, '-', '--published-sequence', '1.5'], /whole number/, /kubespiffe ca restore --help/],
    [['bundle', 'fetch'], /missing required argument 'url'/, /kubespiffe bundle fetch --help/],
    [['bundle', 'fetch', 'https://a.example'], /--trust-domain/, /kubespiffe bundle fetch --help/],
    [[...fetch, 'nowhere'], /this is not a URL/, /https:\/\//],
    [[...fetch, 'http://a.example/'], /begins with https/, /https:\/\//],
    [[...fetch, 'https://me:pw@a.example/'], /names no user/, /https:\/\//],
    [[...fetch, 'https://a.example/', '--endpoint-id', 'spiffe://a/b'], /are for https_spiffe/, /--profile/],
    [[...fetch, 'https://a.example/', '--profile', 'https_spiffe'], /needs --endpoint-id and/, /both/],
    [[...fetch, 'https://a.example/', '--profile', 'http'], /'http' is invalid/, /--help/],
    [['bundle', 'verify', '/nonexistent/file'], /cannot be read \(ENOENT\)/, /exists/],
    [['token', '/nonexistent/file'], /not said/, /--decode and --verify/],
    [['token', '--verify', '--decode', '-'], /more than one thing/, /--decode and --verify/],
    [['token', '--decode', '/nonexistent/file'], /cannot be read \(ENOENT\)/, /exists/],
    [['token', '--endpoint', 'https://a.example/token', '/dev/null'], /needs --audience/, /receives/],
    [['token', '--endpoint', 'a', '--audience', 'b', '/dev/null'], /not a URL/, /svc\/token/],
    [
      [...exchange, '--audience', 'b', launcher],
      /bin\/kubespiffe holds no token/,
      /serviceAccountToken volume/,
    ],
    [[...exchange, '--x509', 'c', launcher], /bin\/kubespiffe holds no token/, /serviceAccountToken volume/],
    [[...exchange, '--x509', 'c', '--audience', 'b'], /both --x509 and --audience/, /leave out --audience/],
    [['token', '--verify', '--bundle', 'a'], /--audience and --trust-domain/, /one receiver/],
    [['inspect'], /nothing to inspect/, /standard input/],
    [['inspect', '/nonexistent/file'], /cannot be read \(ENOENT\)/, /exists/],
    [['inspect', launcher], /bin\/kubespiffe: this is neither PEM nor DER/, /give a PEM or DER certificate/],
    [['inspect', '/dev/null'], /\/dev\/null: there is nothing in it/, /give a PEM or DER certificate/],
    [['inspect', 'pcr', 'a/b/c'], /a\/b\/c does not name a request/, /NAMESPACE\/NAME/],
    [['inspect', 'pcr', 'a/'], /a\/ does not name a request/, /NAMESPACE\/NAME/],
    [['inspect', 'pcr', 'a/b', '-n', 'c'], /a\/b is not in namespace c/, /once/],
    [['completion', 'tcsh'], /'tcsh' is invalid.*bash, zsh, fish/, /kubespiffe completion --help/],
  ];
  for (const [args, says, hint] of rows) {
    it(`\`kubespiffe ${args.join(' ')}\` ends with 2, an error and a hint`, async () => {
      const { code, stdout, stderr } = await run(args);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      const [error = '', second = '', ...more] = stderr.trimEnd().split('\n');
      assert.match(error, /^error: /);
      assert.match(error, says);
      if (second !== '') assert.match(second, /^hint: /);
      assert.match(second, hint);
      assert.deepEqual(more, []);
    });
  }

  it('a cluster that cannot be reached is a failure, with a hint', async () => {
    const { code, stderr } = await run([...create, '--kubeconfig', '/nonexistent/config']);
    assert.equal(code, 1);
    assert.match(stderr, /^error: .*\/nonexistent\/config.*\nhint: .*--kubeconfig/);
  });
});

describe('a cluster with another certificate than the kubeconfig expects', () => {
  it('another certificate than the kubeconfig expects is a failure, and the hint names the CA', async () => {
    const server = await serve(await webCredentials(), {});
    const kubeconfig = join(dir, 'kubeconfig');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'here',
        contexts: [{ name: 'here', context: { cluster: 'here', user: 'me' } }],
        clusters: [{ name: 'here', cluster: { server: server.url } }],
        users: [{ name: 'me', user: { token: 'x' } }],
      }),
    );
    const { code, stderr } = await run(['ca', 'show', '-n', 'x', '--name', 'y', '--kubeconfig', kubeconfig]);
    await server.close();
    assert.equal(code, 1);
    assert.match(stderr, /^error: GET .*: self-signed certificate \(DEPTH_ZERO_SELF_SIGNED_CERT\)\nhint: /);
    assert.match(stderr, /certificate-authority-data of the kubeconfig/);
  });
});

describe('`ca create --dry-run`', () => {
  const create = [
    'ca',
    'create',
    '-n',
    'ns',
    '--name',
    'pool',
    '--ca-id',
    'ca-1',
    '--trust-domain',
    'example.org',
  ];

  it('ca create --dry-run prints the Secret as YAML, with a placeholder for the key', async () => {
    const { code, stdout } = await run([...create, '--dry-run']);
    assert.equal(code, 0);
    const secret = parse(stdout);
    assert.equal(secret.kind, 'Secret');
    assert.equal(secret.type, 'kubespiffe.io/authority-pool');
    assert.deepEqual(secret.metadata, {
      namespace: 'ns',
      name: 'pool',
      labels: { 'app.kubernetes.io/managed-by': 'kubespiffe' },
    });
    const pool = JSON.parse(secret.stringData['pool.json']);
    assert.equal(pool.trustDomain, 'example.org');
    assert.match(pool.authorities[0].privateKey, /--show-private-key/);
  });

  it('ca create --dry-run is for the pool of manifests/base by default', async () => {
    const { stdout } = await run(['ca', 'create', '--ca-id', 'a', '--trust-domain', 'td', '--dry-run']);
    const { namespace, name } = parse(stdout).metadata;
    assert.equal(`${namespace}/${name}`, signerSettings.pool.default);
  });

  it('ca create --dry-run --show-private-key prints the key in the form that is stored', async () => {
    const { code, stdout } = await run([...create, '--dry-run=client', '-o', 'json', '--show-private-key']);
    assert.equal(code, 0);
    const pool = JSON.parse(Buffer.from(JSON.parse(stdout).data['pool.json'], 'base64').toString());
    assert.match(pool.authorities[0].privateKey, /^-----BEGIN PRIVATE KEY-----/);
  });

  it('ca create --dry-run accepts each key type and lifetime', async () => {
    for (const [flag, name] of [
      ['ecdsa-p384', 'ECDSA P-384'],
      ['ed25519', 'Ed25519'],
      ['rsa-3072', 'RSA 3072'],
    ] as const) {
      const made = await run([...create, '--dry-run', '-o', 'json', '--key-type', flag, '--lifetime', '90d']);
      const pool = JSON.parse(JSON.parse(made.stdout).stringData['pool.json']);
      const inspected = await run(['inspect', '-', '-o', 'json'], { input: pool.authorities[0].certificate });
      assert.equal(inspected.code, 0, inspected.stdout);
      const { sections } = JSON.parse(inspected.stdout);
      assert.equal(sections[0].facts.Key, name);
      assert.match(sections[0].facts.Valid, /ends in (90d|89d23h)/);
    }
  });
});

describe('`ca create --jwt-keys`', () => {
  const create = ['ca', 'create', '-n', 'ns', '--name', 'pool', '--ca-id', 'ca-1', '--trust-domain', 'td'];
  for (const [flags, kinds] of [
    [[], ['X509', 'JWT-ES256', 'JWT-RS256']],
    [
      ['--jwt-keys', 'es256'],
      ['X509', 'JWT-ES256'],
    ],
    [
      ['--jwt-keys', 'rs256,es256'],
      ['X509', 'JWT-RS256', 'JWT-ES256'],
    ],
    [['--jwt-keys', 'none'], ['X509']],
  ] as const) {
    it(`--jwt-keys ${flags.slice(1).join(' ') || 'left out'} makes ${kinds.join(' and ')}, and inspect finds nothing wrong`, async () => {
      const made = await run([...create, ...flags, '--dry-run', '-o', 'json', '--show-private-key']);
      assert.equal(made.code, 0, made.stderr);
      const pool = JSON.parse(Buffer.from(JSON.parse(made.stdout).data['pool.json'], 'base64').toString());
      assert.deepEqual(
        pool.authorities.map((each: { kind: string }) => each.kind),
        kinds,
      );
      const inspected = await run(['inspect', '-', '-o', 'json'], { input: JSON.stringify(pool) });
      assert.equal(inspected.code, 0, inspected.stdout);
      const titles = JSON.parse(inspected.stdout).sections.map((each: { title: string }) => each.title);
      assert.equal(titles.length, 1 + kinds.length);
      const last = kinds.at(-1)?.replace('JWT-', '');
      if (kinds.length > 1)
        assert.match(titles.at(-1), new RegExp(`^Authority jwt-.*active.*key for ${last} tokens$`));
    });
  }
});

describe('colour', () => {
  it('colour is not used if the output is not a terminal', async () => {
    const { stdout } = await run(['ca', 'create', '--help']);
    assert.ok(!stdout.includes('\u001b['));
  });
});
