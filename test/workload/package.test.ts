import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';
import { buildPackage, exported } from '../../scripts/npm-package.ts';
import { printSpiffeBundle } from '../../spiffe/bundle.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import { listen } from '../../workload/api/listen.ts';
import { createWorkloadApi } from '../../workload/api/server.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { ecKey } from '../spiffe/tokens.ts';
import { createWorkload, issueSvid, makeTrustDomain, stateOf } from './api/workload.ts';
import { credentialsFor, newVolume } from './credentials.ts';
import { startNpmRegistry } from './npm-registry.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const pages = ['docs/guides/node.md', 'README.md']
  .map((page) => readFileSync(join(root, page), 'utf8'))
  .join('\n');

let folder: string;
let tarball: string;
let volume: string;
let project: string;
/** The socket of a Workload API, which examples find in their environment. */
let socket: string;
const serving = new AbortController();
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kubespiffe-package-'));
  tarball = buildPackage(folder);
  const ca = await makeCa();
  const partner = await makeCa({ trustDomain: 'example.com' });
  const { kid, publicKey } = ecKey();
  volume = newVolume(folder, {
    'credentials.pem': (await credentialsFor('spiffe://example.org/ns/shop/sa/web', ca)).pem,
    'roots.pem': ca.pem,
    'example.com.pem': partner.pem,
    'bundle.json': printSpiffeBundle({
      ...{ sequence: 1, refreshHintSeconds: 60, roots: [ca.facts] },
      jwtKeys: [{ kid, jwk: publicJwkOf(publicKey) }],
    }),
  });
  const home = await makeTrustDomain('example.org');
  const workload = createWorkload(home, stateOf([await issueSvid(home, '/ns/shop/sa/web')], [home]));
  socket = `unix://${join(folder, 'api.sock')}`;
  const address = parseEndpointAddress(socket);
  assert.ok(address.ok);
  await listen(createWorkloadApi({ source: workload.source }), address.value, serving.signal);
  project = await newProject('examples', {}, ['fastify', 'undici', '@grpc/grpc-js']);
});
after(() => {
  serving.abort();
  rmSync(folder, { recursive: true, force: true });
});

/** An empty project with the tarball, installed without a network. The other packages are those of this checkout. */
async function newProject(name: string, manifest: object, others: readonly string[] = []): Promise<string> {
  const path = join(folder, name);
  mkdirSync(path);
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name, private: true, ...manifest }));
  await installAsIn('docs/guides/node.md', 'Node.js: mTLS and JWT-SVIDs with the library', path);
  for (const other of others) {
    mkdirSync(dirname(join(path, 'node_modules', other)), { recursive: true });
    symlinkSync(join(root, 'node_modules', other), join(path, 'node_modules', other));
  }
  return path;
}

/** Runs the command of a page. npm asks nothing of a network, or a registry on this machine. */
async function installAsIn(page: string, heading: string, project: string, registry?: string): Promise<void> {
  copyFileSync(tarball, join(project, basename(tarball)));
  const [block] = blocksBelow(await readPage(page), heading).filter(({ language }) => language === 'sh');
  const settings = registry ? { npm_config_registry: registry } : { npm_config_offline: 'true' };
  const cache = { npm_config_cache: join(folder, 'cache') };
  await run('sh', ['-ec', block?.code ?? 'false'], {
    ...{ cwd: project, env: { ...process.env, ...cache, ...settings } },
  });
}

/** An example with the folder of this test in place of the one that kubelet fills. */
function write(name: string, code: string): string {
  const path = join(project, name);
  writeFileSync(path, code.replaceAll("'/run/spiffe'", `'${volume}'`));
  return path;
}

const runFile = (path: string) =>
  run(process.execPath, [path], {
    timeout: 20_000,
    env: { ...process.env, SPIFFE_ENDPOINT_SOCKET: socket },
  });

describe('the npm package', () => {
  it('the npm package holds JavaScript and declarations, without the signer and without dependencies', async () => {
    const { stdout } = await run('tar', ['tzf', tarball]);
    const names = stdout.trim().split('\n');
    const strange = names.filter(
      (name) =>
        !/^package\/((workload|spiffe|client)\/[\w./-]+\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(
          name,
        ),
    );
    assert.deepEqual(strange, []);
    assert.ok(names.includes('package/workload/x509-source.d.ts'));
    const manifest = JSON.parse(readFileSync(join(project, 'node_modules/kubespiffe/package.json'), 'utf8'));
    assert.equal(manifest.dependencies, undefined);
    assert.deepEqual(
      Object.keys(manifest.exports),
      exported.map((name) => `./${name}`),
    );
    const { stdout: found } = await run('grep', [
      '-rlE',
      '--include=*.ts',
      '--include=*.js',
      "^import .* from '[^.n]",
      join(project, 'node_modules/kubespiffe'),
    ]).catch(() => ({ stdout: '' }));
    // Declarations of the plugin name fastify, which its users have.
    assert.deepEqual(
      found
        .trim()
        .split('\n')
        .map((path) => path.slice(path.indexOf('workload/'))),
      ['workload/fastify.d.ts'],
    );
  });

  it('the npm package is installed beside gRPC as in the guide of the greeter', async () => {
    const registry = await startNpmRegistry();
    const path = join(folder, 'greeter');
    mkdirSync(path);
    try {
      await installAsIn('docs/guides/greeter.md', 'Your own image', path, registry.url);
    } finally {
      registry.close();
    }
    const uses = ['kubespiffe/tls-server', '@grpc/grpc-js', '@grpc/proto-loader'].map(
      (name) => `await import('${name}');`,
    );
    writeFileSync(join(path, 'main.mjs'), `${uses.join('\n')}\nconsole.log('loaded');`);
    assert.equal((await runFile(join(path, 'main.mjs'))).stdout, 'loaded\n');
  });

  it('the npm package can be imported in a project of ES modules, and its inner modules cannot', async () => {
    const path = await newProject('esm', { type: 'module' });
    const imports = exported.map((name) => `await import('kubespiffe/${name}');`).join('\n');
    writeFileSync(
      join(path, 'main.js'),
      `${imports}\nawait import('kubespiffe/gate').catch(({ code }) => console.log(code));`,
    );
    assert.equal((await runFile(join(path, 'main.js'))).stdout, 'ERR_PACKAGE_PATH_NOT_EXPORTED\n');
  });

  it('the npm package can be used in a project of CommonJS', async () => {
    const path = await newProject('commonjs', { type: 'commonjs' });
    const requires = exported.map((name) => `Object.keys(require('kubespiffe/${name}')).length`).join(' && ');
    writeFileSync(join(path, 'main.js'), `console.log(${requires} > 0);`);
    assert.equal((await runFile(join(path, 'main.js'))).stdout, 'true\n');
  });

  for (const type of ['module', 'commonjs']) {
    it(`the declarations of the npm package are valid in a strict TypeScript project: ${type}`, async () => {
      const path = await newProject(`typescript-${type}`, { type }, [
        '@types/node',
        'undici-types',
        'fastify',
      ]);
      const compilerOptions = {
        ...{ module: 'nodenext', target: 'es2024', lib: ['es2024'], types: ['node'], strict: true },
        ...{ exactOptionalPropertyTypes: true, noEmit: true },
      };
      writeFileSync(join(path, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
      const imports = exported.map(
        (name, index) => `import * as m${index} from 'kubespiffe/${name}';\nm${index};`,
      );
      const code = `
import type { Authorizer } from 'kubespiffe/authorize';
import { exactly } from 'kubespiffe/authorize';
import { createTlsClient, type TlsClient } from 'kubespiffe/tls-client';
import { openX509Source } from 'kubespiffe/x509-source';
export async function main(): Promise<TlsClient> {
  const source = await openX509Source('/run/spiffe');
  const authorize: Authorizer = exactly(source.svid.id.uri);
  // @ts-expect-error there is no default authorizer
  createTlsClient({ source });
  return createTlsClient({ source, authorize });
}`;
      writeFileSync(join(path, 'main.ts'), [...imports, code].join('\n'));
      const tsc = join(root, 'node_modules/typescript/bin/tsc');
      const { stdout } = await run(process.execPath, [tsc, '-p', path]).catch(({ stdout }) => ({ stdout }));
      assert.equal(stdout, '');
    });
  }
});

/** The examples in the docstrings of a module. */
function examplesOf(source: string): string[] {
  return [...source.matchAll(/ \* @example\n \* ```js\n([\s\S]*?) \* ```\n/g)].map(([, code = '']) =>
    code.replaceAll(/^ \* ?/gm, ''),
  );
}

describe('the examples of the library', () => {
  for (const name of exported) {
    const source = readFileSync(join(root, `workload/${name}.ts`), 'utf8');
    const functions = [...source.matchAll(/^export (?:async )?(?:function|class) (\w+)/gm)].map(
      ([, each]) => each,
    );

    it(`each function of ${name} has an example, which runs`, async () => {
      const examples = examplesOf(source);
      assert.ok(functions.length > 0);
      for (const [index, each] of functions.entries()) {
        const code = examples[index] ?? '';
        assert.match(
          code,
          new RegExp(`import \\{[^}]*\\b${each}\\b[^}]*\\} from 'kubespiffe/${name}'`),
          each,
        );
        await runFile(write(`${name}-${index}.mjs`, code));
      }
      assert.equal(examples.length, functions.length);
    });
  }
});

describe('the examples of the guide and of the README', () => {
  const blocks = new Map(
    [...pages.matchAll(/```js\n(\/\/ (\S+)\n[\s\S]*?)```/g)].map(([, code = '', name = '']) => [name, code]),
  );
  const running: ChildProcess[] = [];
  after(() => {
    for (const child of running) child.kill();
  });
  /** Starts a server and waits until it listens. */
  async function start(name: string): Promise<void> {
    const child = spawn(process.execPath, [write(name, blocks.get(name) ?? '')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    running.push(child);
    const [said] = await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
    assert.match(String(said), /is listening/);
  }

  it('all examples of the guide and of the README are known to this test', () => {
    const tested = ['server.mjs', 'fastify.mjs', 'grpc-server.mjs', 'client.mjs', 'workload-api.mjs'];
    assert.deepEqual(
      [...blocks.keys()],
      [...tested, 'federation.mjs', 'api.mjs', 'common.cjs', 'readme.mjs'],
    );
  });

  it('the example of a client greets the example of a server', async () => {
    await start('server.mjs');
    const { stdout } = await runFile(write('client.mjs', blocks.get('client.mjs') ?? ''));
    assert.equal(stdout, 'hello spiffe://example.org/ns/shop/sa/web\n');
  });

  it('the example of a client greets a server of fastify', async () => {
    await start('fastify.mjs');
    const code = (blocks.get('client.mjs') ?? '').replace(':8443', ':8444');
    assert.equal(
      (await runFile(write('client.mjs', code))).stdout,
      'hello spiffe://example.org/ns/shop/sa/web\n',
    );
  });

  it('the example of a client greets the server of the README', async () => {
    await start('readme.mjs');
    const code = (blocks.get('client.mjs') ?? '').replace(':8443', ':8446');
    assert.equal((await runFile(write('client.mjs', code))).stdout, 'hello\n');
  });

  it('the example of a gRPC server starts', () => start('grpc-server.mjs'));

  for (const [name, says] of [
    ['workload-api.mjs', 'spiffe://example.org/ns/shop/sa/web has a certificate and a token\n'],
    ['federation.mjs', 'example.org example.com\n'],
    ['api.mjs', '401\n'],
    ['common.cjs', 'memberOf(example.org)\n'],
  ] as const) {
    it(`the example ${name} runs`, async () => {
      assert.equal((await runFile(write(name, blocks.get(name) ?? ''))).stdout, says);
    });
  }
});
