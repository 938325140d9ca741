import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { askDev } from '../../dev/control.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { openBundleSource } from '../../workload/bundle-source.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { createJwtSource, type JwtCredential } from '../../workload/jwt-source.ts';
import { connectX509Source } from '../../workload/workload-api.ts';
import { openX509Source, type X509Source } from '../../workload/x509-source.ts';
import { isIssuedUnder } from '../../workload/x509-svid.ts';
import { waitFor } from '../cluster/process.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { openJudges } from '../judges/judges.ts';
import { launcher, run } from '../tools/run.ts';
import { type RunningDev, startDev } from './dev.ts';

let parent: string;
/** One for all tests that need no other options. */
let dev: RunningDev;
before(async () => {
  parent = mkdtempSync(join(tmpdir(), 'dev-'));
  const [start] = blocksBelow(await readPage('docs/guides/dev.md'), 'Identities on your machine');
  dev = await startDev(start?.code.trim().split(' ').slice(2) ?? [], mkdtempSync(join(parent, 'own-')));
});
after(async () => {
  await dev?.[Symbol.asyncDispose]();
  rmSync(parent, { recursive: true, force: true });
});

function rootsOf({ bundles }: X509Source, trustDomain: string): string {
  const roots = bundles.get(trustDomain)?.roots ?? [];
  return roots.map(({ der }) => encodePem('CERTIFICATE', der)).join('');
}

function signingRootOf({ svid, bundles }: X509Source): CertificateFacts {
  const root = bundles.get(svid.id.trustDomain)?.roots.find((each) => isIssuedUnder(svid, [each]));
  assert.ok(root);
  return root;
}

async function get(url: string, ca: string): Promise<string> {
  const [response] = await once(httpsGet(url, { ca }), 'response');
  return text(response);
}

describe('kubespiffe dev', () => {
  it('kubespiffe dev gives each workload a folder as a pod has it, and renews certificates in time', async () => {
    await using short = await startDev(['--lifetime', '4s', '--workload', 'shop/web']);
    await using source = await openX509Source(join(short.folder, 'shop/web'));
    assert.equal(source.svid.id.uri, 'spiffe://dev.localhost/ns/shop/sa/web');
    const first = source.svid;
    source.events.on('problem', (problem) => assert.fail(problem.message));
    await once(source.events, 'update', { signal: AbortSignal.timeout(10_000) });
    assert.ok(source.svid.notAfter > first.notAfter);
    assert.notEqual(source.svid.chainPem, first.chainPem);
    assert.ok(Date.now() / 1000 < first.notAfter, 'the first one was still valid');
  });

  it('kubespiffe dev prints at its start what the README and the guide show', async () => {
    const shown = readFileSync(dev.child.logFile, 'utf8')
      .split('\n\nrenewed')[0]
      ?.replaceAll(dev.folder, '/run/user/1000/kubespiffe-dev')
      .replace(/localhost:\d+/, 'localhost:8643');
    for (const page of ['README.md', 'docs/guides/dev.md']) {
      const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
      assert.ok(text.includes(`\`\`\`text\n${shown?.trim()}\n\`\`\``), `${page} does not show:\n${shown}`);
    }
  });

  it('the commands on the pages about kubespiffe dev work', async () => {
    const place = mkdtempSync(join(parent, 'pages-'));
    mkdirSync(join(place, 'bin'));
    symlinkSync(launcher, join(place, 'bin/kubespiffe'));
    for (const name of ['server.js', 'client.js'])
      writeFileSync(join(place, name), 'console.log(process.env.SPIFFE_ID)');
    const blocks = async (page: string, heading: string) =>
      blocksBelow(await readPage(page), heading)
        .filter(({ language }) => language === 'sh')
        .map(({ code }) => code);
    const [start = ''] = await blocks('docs/reference/cli.md', 'kubespiffe dev');
    await using own = await startDev(start.trim().split(' ').slice(2), place);
    const env = { PATH: `${place}/bin:${process.env.PATH}`, XDG_RUNTIME_DIR: place };
    for (const [page, heading, prints] of [
      [
        'docs/guides/dev.md',
        'Run a program as a workload',
        /sa\/web\nspiffe:\/\/dev\.localhost\/ns\/shop\/sa\/api\n/,
      ],
      ['docs/guides/dev.md', 'JWT-SVIDs', /"access_token":"eyJ/],
      ['docs/reference/cli.md', 'kubespiffe dev run', /sa\/web\n/],
      ['docs/reference/cli.md', 'kubespiffe dev rotate', /renewed .*web[\s\S]+The next CA/],
    ] as const) {
      for (const code of await blocks(page, heading)) {
        const here = code
          .replaceAll('/run/user/1000', place)
          .replaceAll('https://localhost:8643', own.tokenEndpoint);
        const output = await waitFor(`${page}, ${heading}`, async () => {
          const ran = await run(['-ec', here], { file: 'sh', cwd: place, env });
          // The next CA may sign some seconds after the start.
          if (ran.code !== 0 && !/try again in/.test(ran.stderr)) assert.fail(ran.stderr);
          return ran.code === 0 && ran.stdout;
        });
        assert.match(output, prints);
      }
    }
  });

  it('kubespiffe dev gives only its user access to the folder, and removes the keys at its end', async () => {
    await using other = await startDev([], mkdtempSync(join(parent, 'own-')));
    const { folder, child } = other;
    assert.equal(lstatSync(folder).mode & 0o777, 0o700);
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((path) => lstatSync(path).isFile() && !path.endsWith('.txt'));
    assert.ok(files.length >= 6, 'key and chain, roots and token of two workloads');
    assert.deepEqual(
      files.filter((path) => (lstatSync(path).mode & 0o077) !== 0),
      [],
    );
    await child.stop();
    assert.equal(await child.exited, 'exit code 0');
    assert.deepEqual(readdirSync(folder), ['NOT-FOR-PRODUCTION.txt']);
  });

  it('kubespiffe dev removes the keys when its terminal is closed, also if that is reported twice', async () => {
    await using own = await startDev([], mkdtempSync(join(parent, 'own-')));
    process.kill(own.child.pid, 'SIGHUP');
    await own.child.stop('SIGHUP');
    assert.equal(await own.child.exited, 'exit code 0');
    assert.deepEqual(readdirSync(own.folder), ['NOT-FOR-PRODUCTION.txt']);
  });

  it('kubespiffe dev continues when its messages have no reader, and removes the keys at its end', async () => {
    const place = mkdtempSync(join(parent, 'own-'));
    const script = 'exec "$@" 2> >(true)';
    await using own = await startDev(['--workload', 'shop/web'], place, ['bash', '-c', script, 'bash']);
    // Each one is reported after the certificate was written.
    for (const time of ['first', 'second']) assert.match((await own.ask('rotate')).stdout, /renewed/, time);
    await own.child.stop();
    assert.equal(await own.child.exited, 'exit code 0');
    assert.deepEqual(readdirSync(own.folder), ['NOT-FOR-PRODUCTION.txt']);
  });

  it('kubespiffe dev ends and removes the keys when what it prints has no reader', async () => {
    const folder = join(mkdtempSync(join(parent, 'own-')), 'dev');
    const script = '"$@" > >(true); exit $?';
    const command = ['-c', script, 'bash', launcher, 'dev', '--folder', folder, '--port', '0'];
    assert.deepEqual(await run(command, { file: 'bash' }), { code: 0, stdout: '', stderr: '' });
    assert.deepEqual(readdirSync(folder), ['NOT-FOR-PRODUCTION.txt']);
  });

  it('kubespiffe dev serves the Workload API of each workload at its own socket', async () => {
    const judges = await openJudges();
    const { folder } = dev;
    for (const name of ['web', 'api']) {
      const id = `spiffe://dev.localhost/ns/shop/sa/${name}`;
      const address = `unix://${folder}/shop/${name}/workload-api.sock`;
      const { ok, facts } = await judges.workloadApi({ address, audience: 'https://db' });
      assert.equal(ok, true);
      assert.ok(facts.x509?.startsWith(`${id} `), facts.x509);
      assert.deepEqual([facts.jwt, facts.validated], [`${id} `, id]);
    }
  });

  it('kubespiffe dev exchanges a certificate or token of a workload for a JWT-SVID that its bundle verifies', async () => {
    const { folder, tokenEndpoint } = dev;
    const place = join(folder, 'shop/web');
    await using source = await openX509Source(place);
    const { trustDomain, uri } = source.svid.id;
    const credentials: [path: string, credential: JwtCredential][] = [
      ['/jwt-svid', { source }],
      ['/token', { tokenFile: join(place, 'token'), bundles: source, trustDomain }],
    ];
    const roots = rootsOf(source, trustDomain);
    const read = async (path: string) => get(`${tokenEndpoint}${path}`, roots);
    const ask = async (headers: Record<string, string>) => {
      const [response] = await once(httpsGet(`${tokenEndpoint}/bundle`, { ca: roots, headers }), 'response');
      response.resume();
      return response;
    };
    const { etag } = (await ask({})).headers;
    assert.equal((await ask({ 'if-none-match': etag })).statusCode, 304);
    writeFileSync(join(parent, 'bundle.json'), await read('/bundle'));
    await using bundles = await openBundleSource(parent, { [trustDomain]: 'bundle.json' });
    for (const [path, credential] of credentials) {
      const tokens = createJwtSource({ endpoint: `${tokenEndpoint}${path}`, credential });
      const { token } = await tokens.get('https://db');
      assert.equal(validateJwtSvid(token, 'https://db', bundles).id.uri, uri, path);
      const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
      const discovery = JSON.parse(await read('/.well-known/openid-configuration'));
      assert.equal(claims.iss, discovery.issuer);
      const keys = createLocalJWKSet(JSON.parse(await get(discovery.jwks_uri, roots)));
      const { payload } = await jwtVerify(token, keys, { audience: 'https://db', issuer: discovery.issuer });
      assert.equal(payload.sub, uri);
    }
    await assert.rejects(
      createJwtSource({
        endpoint: `${tokenEndpoint}/jwt-svid`,
        credential: { source },
      }).get('spiffe://dev.localhost/kubespiffe/token-endpoint'),
      /AudienceForbidden|audience/,
    );
  });

  it('rotate of kubespiffe dev replaces the named certificates, and the CA after its root was published', async () => {
    const { folder, ask } = dev;
    await using web = await openX509Source(join(folder, 'shop/web'));
    await using api = await openX509Source(join(folder, 'shop/api'));
    const [first, other] = [web.svid, api.svid];
    const rotated = await ask('rotate', 'shop/web');
    assert.match(rotated.stdout, /^renewed spiffe:\/\/dev\.localhost\/ns\/shop\/sa\/web, valid until .*\n$/);
    await waitFor('the new certificate', () => web.svid !== first);
    assert.equal(api.svid, other);

    const roots = web.bundles.get('dev.localhost')?.roots ?? [];
    assert.equal(roots.length, 2, 'the next root is there before it signs');
    const signing = signingRootOf(web);
    assert.deepEqual(await ask('rotate', '--ca'), {
      code: 0,
      stdout: 'The next CA and JWT key sign from now on.\n',
      stderr: '',
    });
    const tooEarly = await ask('rotate', '--ca');
    assert.match(tooEarly.stderr, /published a moment ago\nhint: try again in [1-7] s/);
    await ask('rotate');
    await waitFor('a certificate of the next CA', () => !isIssuedUnder(web.svid, [signing]));
    assert.ok(isIssuedUnder(web.svid, roots));
  });

  it('expire of kubespiffe dev lets certificates end, until rotate is called', async () => {
    const { folder, ask } = dev;
    await using source = await openX509Source(join(folder, 'shop/web'), { pollMs: 100 });
    const problems: string[] = [];
    source.events.on('problem', ({ message }) => problems.push(message));
    assert.match((await ask('expire', 'shop/web')).stdout, /web expires at /);
    await waitFor('its end', () => source.svid.notAfter <= Date.now() / 1000);
    await waitFor('the problem', () => problems.some((message) => /expired at/.test(message)));
    await ask('rotate', 'shop/web');
    await waitFor('a valid certificate', () => source.svid.notAfter > Date.now() / 1000 + 60);
  });

  it('taint of kubespiffe dev replaces every certificate at once, and the stolen root leaves the bundle soon', async () => {
    const { folder, ask } = dev;
    await using source = await openX509Source(join(folder, 'shop/web'));
    const rootsNow = () => source.bundles.get('dev.localhost')?.roots ?? [];
    const stolen = signingRootOf(source);
    assert.match((await ask('taint')).stdout, /web, valid until .*\n.*api, valid until /);
    await waitFor('a certificate of another CA', () => !isIssuedUnder(source.svid, [stolen]));
    assert.ok(isIssuedUnder(source.svid, rootsNow()));
    await waitFor('a bundle without the stolen root', () =>
      rootsNow().every(({ sha256Hex }) => sha256Hex !== stolen.sha256Hex),
    );
  });

  it('run of kubespiffe dev starts a program as a workload, also as a new one, and returns its exit code', async () => {
    const { folder, ask, tokenEndpoint } = dev;
    const script =
      'echo "$SPIFFE_ID $SPIFFE_ENDPOINT_SOCKET $SPIFFE_TOKEN_ENDPOINT"; ls "$SPIFFE_CREDENTIALS"; exit 7';
    const place = `${folder}/shop/db`;
    assert.deepEqual(await ask('run', 'shop/db', '--', 'sh', '-c', script), {
      code: 7,
      stdout: `spiffe://dev.localhost/ns/shop/sa/db unix://${place}/workload-api.sock ${tokenEndpoint}\ncredentials.pem\nroots.pem\ntoken\nworkload-api.sock\n`,
      stderr: '',
    });
    assert.equal((await ask('run', 'shop/db', '--', 'sh', '-c', 'kill -TERM $$')).code, 128 + 15);
    const missing = await ask('run', 'shop/db', '--', 'no-such-program');
    assert.match(missing.stderr, /no-such-program could not be started/);
    assert.notEqual(missing.code, 0);
    assert.match((await ask('rotate', 'shop/x')).stderr, /no workload shop\/x\nhint: there are shop\/web/);
  });

  it('run, rotate, expire and taint say how to start kubespiffe dev if it does not run', async () => {
    for (const [verb = '', ...words] of [['run', 'a/b', 'true'], ['rotate'], ['expire'], ['taint']]) {
      const { code, stderr } = await run(['dev', verb, '--folder', parent, ...words]);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /no `kubespiffe dev` runs with the folder .*\nhint: start it with `kubespiffe dev`/,
      );
    }
  });

  const folderWith = (prepare: (folder: string) => void) => {
    const folder = mkdtempSync(join(parent, 'folder-'));
    prepare(folder);
    return folder;
  };
  const rows: [name: string, args: () => string[], message: RegExp, code: number][] = [
    [
      'the trust domain of a cluster',
      () => ['--trust-domain', 'example.org'],
      /--trust-domain example\.org could be that of a cluster/,
      2,
    ],
    [
      'a name that only has the same end',
      () => ['--trust-domain', 'mydev.localhost'],
      /could be that of a/,
      2,
    ],
    ['a trust domain in upper case', () => ['--trust-domain', 'Dev.localhost'], /in lower case/, 2],
    ['a workload without a namespace', () => ['--workload', 'web'], /workload web is not NAMESPACE\/NAME/, 2],
    ['a workload outside of the folder', () => ['--workload', '../web'], /not the name of a namespace/, 2],
    ['a port above 65535', () => ['--port', '70000'], /--port 70000 is not a port/, 2],
    [
      'a folder whose sockets would have too long paths',
      () => ['--folder', join(parent, 'x'.repeat(90))],
      /the path has \d+ bytes.*\nhint: choose a shorter path with --folder/,
      1,
    ],
    ['a lifetime without a unit', () => ['--lifetime', '60'], /is not a duration/, 2],
    ['a lifetime that is too short', () => ['--lifetime', '1s'], /not between 4s and 24h/, 2],
    [
      'a folder that others can enter',
      () => ['--folder', folderWith((folder) => chmodSync(folder, 0o755))],
      /other users can enter .*\nhint: run `chmod 700/,
      1,
    ],
    [
      'a folder that holds something else',
      () => ['--folder', folderWith((folder) => writeFileSync(join(folder, 'thesis.txt'), ''))],
      /has other files in it/,
      1,
    ],
    ['a link in place of the folder', () => ['--folder', '/proc/self/cwd'], /is not a folder of yours/, 1],
  ];
  for (const [name, args, message, code] of rows) {
    it(`kubespiffe dev refuses ${name}`, async () => {
      const given = args();
      const own = given.includes('--folder') ? [] : ['--folder', join(parent, 'never')];
      const ran = await run(['dev', ...own, ...given]);
      assert.match(ran.stderr, message);
      assert.equal(ran.code, code);
      assert.equal(ran.stdout, '');
    });
  }

  it('kubespiffe dev empties a folder that an earlier one has left', async () => {
    const own = mkdtempSync(join(parent, 'own-'));
    const killed = await startDev([], own);
    await killed.child.stop('SIGKILL');
    assert.ok(readdirSync(killed.folder).includes('shop'));
    await using next = await startDev(['--workload', 'a/b'], own);
    assert.deepEqual(readdirSync(next.folder).sort(), ['NOT-FOR-PRODUCTION.txt', 'a', 'control.sock']);
  });

  it('kubespiffe dev ends if another one uses the folder', async () => {
    const second = await run(['dev', '--folder', dev.folder, '--port', '0']);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /another `kubespiffe dev` runs with the folder/);
    assert.match((await dev.ask('rotate')).stdout, /renewed/);
  });

  it('kubespiffe dev answers an unreadable request with an error, and continues', async () => {
    const control = join(dev.folder, 'control.sock');
    for (const request of [
      '',
      '{',
      'null',
      '7',
      '{"ask":"sign"}',
      '{"ask":"rotate"}',
      '{"ask":"workload"}',
    ]) {
      const socket = connect({ path: control, allowHalfOpen: true });
      socket.end(request);
      assert.match(await text(socket), /^\{"error":"/, request);
    }
    for (const name of ['..', 'a/b', '']) {
      await assert.rejects(
        askDev(dev.folder, { ask: 'workload', workloads: [{ namespace: name, name: 'x' }] }),
      );
    }
    assert.match((await dev.ask('rotate')).stdout, /renewed/);
  });

  for (const socket of ['control.sock', 'shop/web/workload-api.sock']) {
    it(`kubespiffe dev ends at SIGTERM although a client that sends nothing is connected to ${socket}`, async () => {
      await using own = await startDev(['--workload', 'shop/web'], mkdtempSync(join(parent, 'own-')));
      const silent = connect(join(own.folder, socket)).on('error', () => undefined);
      await once(silent, 'connect');
      // Connections are accepted in turn.
      if (socket === 'control.sock') await own.ask('rotate');
      else await (await connectX509Source(`unix://${join(own.folder, socket)}`))[Symbol.asyncDispose]();
      await own.child.stop('SIGTERM', 2_000);
      silent.destroy();
      assert.equal(await own.child.exited, 'exit code 0');
      assert.deepEqual(readdirSync(own.folder), ['NOT-FOR-PRODUCTION.txt']);
    });
  }

  it('kubespiffe dev reports once that it cannot write, and renews when it can again', async () => {
    await using short = await startDev(['--lifetime', '4s', '--workload', 'shop/web']);
    const place = join(short.folder, 'shop');
    renameSync(place, `${place}-away`);
    writeFileSync(place, '');
    await waitFor('the warning', () =>
      /could not be renewed: .*(ENOTDIR|EEXIST)/.test(short.child.lastLines(50)),
    );
    rmSync(place);
    renameSync(`${place}-away`, place);
    await using source = await waitFor('a valid certificate', () => openX509Source(join(place, 'web')));
    await once(source.events, 'update', { signal: AbortSignal.timeout(20_000) });
    await waitFor('no old key to be left', () => {
      const entries = readdirSync(join(place, 'web'), { withFileTypes: true });
      return entries.filter((each) => each.isDirectory()).length === 1;
    });
    assert.equal(short.child.lastLines(1_000).match(/warning: certificates could not/g)?.length, 1);
  });

  it('kubespiffe dev reports that its port is in use', async () => {
    const { port } = new URL(dev.tokenEndpoint);
    const second = await run(['dev', '--folder', join(parent, 'second'), '--port', port]);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /another process listens on port \d+\nhint: .*--port/);
    assert.deepEqual(readdirSync(join(parent, 'second')), ['NOT-FOR-PRODUCTION.txt']);
  });
});
