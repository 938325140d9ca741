import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { chrootAs } from '../cluster/chroot.ts';
import { freePorts } from '../cluster/ports.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor } from '../workload/credentials.ts';

const run = promisify(execFile);
const checkout = join(import.meta.dirname, '../..');
/** UID and GID of the image. */
const account = '65532:65532';

interface Descriptor {
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

let folder: string;
let layout: string;
let rootfs: string;

async function build(name: string): Promise<{ digest: string; archive: string }> {
  const archive = join(folder, name);
  const script = join(checkout, 'scripts/image.ts');
  const { stdout } = await run(process.execPath, [script, '--output', archive]);
  return { digest: stdout.trim(), archive };
}

const blobPath = (digest: string) => join(layout, 'blobs', digest.replace(':', '/'));
const readJson = async <T>(path: string) => JSON.parse(await readFile(path, 'utf8')) as T;

async function readManifest() {
  const index = await readJson<{ manifests: Descriptor[] }>(join(layout, 'index.json'));
  const [descriptor] = index.manifests;
  assert.ok(descriptor);
  const manifest = await readJson<{
    config: Descriptor;
    layers: Descriptor[];
    annotations: Record<string, string>;
  }>(blobPath(descriptor.digest));
  return { descriptor, manifest };
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-image-'));
  layout = join(folder, 'layout');
  rootfs = join(folder, 'rootfs');
  await mkdir(layout);
  await mkdir(rootfs);
  const { archive } = await build('first.tar');
  await run('tar', ['-x', '-f', archive, '-C', layout]);
  const { manifest } = await readManifest();
  for (const layer of manifest.layers) await run('tar', ['-xzp', '-f', blobPath(layer.digest), '-C', rootfs]);
});
after(() => rm(folder, { recursive: true }));

/** Runs a command of the image as its account, with nothing of this machine in sight. */
function inImage(args: string[], env: Record<string, string> = {}, program = '/usr/local/bin/node') {
  const command = [`--userspec=${account}`, rootfs, program, ...args];
  return run('/usr/sbin/chroot', command, { env: { PATH: '/usr/local/bin', ...env } });
}

test('two builds give the same digest and the same bytes', async () => {
  const { descriptor } = await readManifest();
  const second = await build('second.tar');
  assert.equal(second.digest, descriptor.digest);
  assert.deepEqual(await readFile(second.archive), await readFile(join(folder, 'first.tar')));
});

test('every blob is what its descriptor says, and all of them take at most 70 MB', async () => {
  const { descriptor, manifest } = await readManifest();
  const all = [descriptor, manifest.config, ...manifest.layers];
  for (const { digest, size } of all) {
    const content = await readFile(blobPath(digest));
    assert.equal(`sha256:${hash('sha256', content, 'hex')}`, digest);
    assert.equal(content.length, size);
  }
  const total = all.reduce((sum, { size }) => sum + size, 0);
  assert.ok(total <= 70_000_000, `${total} bytes`);
});

test('the image is named, runs as an unprivileged user, and starts the command', async () => {
  const { descriptor, manifest } = await readManifest();
  assert.equal(descriptor.annotations?.['io.containerd.image.name'], 'kubespiffe.io/kubespiffe:dev');
  const { config } = await readJson<{ config: Record<string, unknown> }>(blobPath(manifest.config.digest));
  assert.equal(config.User, '65532:65532');
  assert.deepEqual(config.Entrypoint, [
    '/usr/local/bin/node',
    '--max-semi-space-size=8',
    '--heap-growing-percent=100',
    '/app/tools/main.js',
  ]);
});

test('the image says what it is, by the annotations of OCI', async () => {
  const { manifest } = await readManifest();
  const { version } = await readJson<{ version: string }>(join(checkout, 'package.json'));
  const expected = {
    'org.opencontainers.image.title': 'kubespiffe',
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': 'Apache-2.0',
  };
  assert.partialDeepStrictEqual(manifest.annotations, expected);
  const { config } = await readJson<{ config: Record<string, unknown> }>(blobPath(manifest.config.digest));
  assert.deepEqual(config.Labels, manifest.annotations);
});

test('the provenance statement names the image, the commit and what it was made of', async () => {
  const { descriptor } = await readManifest();
  const statement = await readJson<{
    predicateType: string;
    subject: { name: string; digest: { sha256: string } }[];
    predicate: {
      buildDefinition: {
        resolvedDependencies: { name?: string; uri?: string; digest?: Record<string, string> }[];
      };
    };
  }>(join(folder, 'first.provenance.json'));
  assert.equal(statement.predicateType, 'https://slsa.dev/provenance/v1');
  const sha256 = descriptor.digest.slice('sha256:'.length);
  assert.deepEqual(statement.subject, [{ name: 'kubespiffe.io/kubespiffe:dev', digest: { sha256 } }]);
  const { resolvedDependencies } = statement.predicate.buildDefinition;
  const digestOf = (name: string) => resolvedDependencies.find((each) => each.name === name)?.digest;
  const head = await run('git', ['rev-parse', 'HEAD'], { cwd: checkout });
  assert.equal(digestOf('kubespiffe')?.gitCommit, head.stdout.trim());
  const lockFile = await readFile(join(checkout, 'package-lock.json'));
  assert.equal(digestOf('package-lock.json')?.sha256, hash('sha256', lockFile, 'hex'));
  const { stdout } = await run('dpkg-query', ['--status', 'libc6']);
  const [, libc = ''] = /^Version: (.+)$/m.exec(stdout) ?? [];
  const uris = resolvedDependencies.map(({ uri = '' }) => decodeURIComponent(uri));
  assert.ok(
    uris.some((uri) => uri.startsWith(`pkg:deb/debian/libc6@${libc}?`)),
    uris.join(),
  );
});

test('the Dockerfile starts the same command in the same way', async () => {
  const { manifest } = await readManifest();
  const { config } = await readJson<{ config: Record<string, unknown> }>(blobPath(manifest.config.digest));
  const dockerfile = await readFile(join(checkout, 'Dockerfile'), 'utf8');
  const final = dockerfile.slice(dockerfile.indexOf('FROM scratch'));
  const instruction = (name: string) => new RegExp(`^${name} (.+)$`, 'm').exec(final)?.[1] ?? '';
  assert.equal(instruction('USER'), config.User);
  assert.deepEqual([instruction('ENV')], config.Env);
  assert.equal(instruction('WORKDIR'), config.WorkingDir);
  assert.deepEqual(JSON.parse(instruction('ENTRYPOINT')), config.Entrypoint);
  assert.deepEqual(JSON.parse(instruction('CMD')), config.Cmd);
});

test('the image holds no shell, no tests, no types and no TypeScript', async () => {
  const { stdout } = await run('find', [rootfs, '-type', 'f', '-printf', '%P\n']);
  const files = stdout.trim().split('\n');
  assert.ok(files.includes('app/signer/main.js'));
  const unwanted = files.filter((path) => /\.(ts|map)$|^bin\/|\/(sh|bash)$|^app\/test/.test(path));
  assert.deepEqual(unwanted, []);
});

test('the process leaves no core dump and shows its memory to no other process of its account', async () => {
  // Linux gives the files of such a process in /proc to root (proc(5)), and 0 as the limit of its dumps.
  await mkdir(join(rootfs, 'proc'), { recursive: true });
  await run('mount', ['-t', 'proc', 'proc', join(rootfs, 'proc')]);
  try {
    const program = `
      const { accessSync, constants, readFileSync, statSync } = await import('node:fs');
      const canRead = (path) => { try { accessSync(path, constants.R_OK); return true; } catch { return false; } };
      console.log(process.getuid(), statSync('/proc/self/mem').uid, canRead('/proc/self/environ'));`;
    const { stdout } = await inImage(['--input-type=module', '-e', program]);
    assert.equal(stdout, '65532 0 false\n');
  } finally {
    await run('umount', [join(rootfs, 'proc')]);
  }
});

interface Component {
  name: string;
  version: string;
  purl: string;
  hashes?: { content: string }[];
  licenses?: { license?: { id: string }; expression?: string }[];
}

/** Licences under which the code of others may be shipped with ours. */
const licences = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'ISC',
  'MIT',
  'PSF-2.0',
];

test('every npm package of the image has a licence that allows to ship it, by the bill of materials', async () => {
  const { components } = await readJson<{ components: Component[] }>(join(rootfs, 'app/sbom.cdx.json'));
  const packages = components.filter(({ purl }) => purl.startsWith('pkg:npm/'));
  assert.ok(packages.length > 50, `${packages.length}`);
  const others = packages.filter(
    (each) => !each.licenses?.every(({ license }) => licences.includes(license?.id ?? '')),
  );
  assert.deepEqual(
    others.map(({ name, licenses }) => [name, licenses]),
    [],
  );
});

test('the bill of materials names Node, the C and C++ libraries and every npm package of the image', async () => {
  const { components } = await readJson<{ components: Component[] }>(join(rootfs, 'app/sbom.cdx.json'));
  const named = (name: string) => components.find((component) => component.name === name);
  const binary = await readFile(join(rootfs, 'usr/local/bin/node'));
  const version = process.version.slice(1);
  assert.deepEqual(
    [named('node')?.version, named('node')?.hashes?.[0]?.content],
    [version, hash('sha256', binary, 'hex')],
  );
  for (const name of ['libc6', 'libstdc++6', 'libgcc-s1']) {
    const { stdout } = await run('dpkg-query', ['--status', name]);
    assert.equal(named(name)?.version, /^Version: (.+)$/m.exec(stdout)?.[1]);
    assert.equal(await readFile(join(rootfs, 'var/lib/dpkg/status.d', name), 'utf8'), stdout);
  }
  assert.match(await readFile(join(rootfs, 'etc/os-release'), 'utf8'), /^ID=debian$/m);
  const { stdout } = await run('find', [join(rootfs, 'app/node_modules'), '-name', 'package.json']);
  for (const path of stdout.trim().split('\n')) {
    const found = await readJson<{ name?: string; version?: string }>(path);
    if (found.name === undefined || found.version === undefined) continue;
    const isListed = components.some((each) => each.name === found.name && each.version === found.version);
    assert.ok(isListed, `${found.name} ${found.version}`);
  }
});

test('packages that nothing loads are not in the image', async () => {
  for (const name of [
    'ws',
    'socks',
    'jsonpath-plus',
    'undici',
    'form-data',
    'yargs',
    'buffer',
    'abort-controller',
    'typescript',
    '@types/node',
  ]) {
    await assert.rejects(access(join(rootfs, 'app/node_modules', name)), { code: 'ENOENT' }, name);
  }
});

test('kubespiffe is on the PATH of the image', async () => {
  const { stdout } = await inImage(['version'], {}, 'kubespiffe');
  const { version } = await readJson<{ version: string }>(join(checkout, 'package.json'));
  assert.ok(stdout.includes(version), stdout);
});

test('kubespiffe completion prints the script of each shell in the image', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout } = await inImage(['/app/tools/main.js', 'completion', shell], {});
    assert.match(stdout, /bundle fetch/, shell);
  }
});

test('kubespiffe signer --check-config works in the image', async () => {
  const env = { KUBESPIFFE_TRUST_DOMAIN: 'example.org' };
  const { stdout } = await inImage(['/app/tools/main.js', 'signer', '--check-config'], env);
  assert.match(stdout, /trustDomain: example\.org/);
});

test('the image holds the helper and the sidecar of the Workload API, which work in it', async () => {
  const spiffe = join(rootfs, 'tmp/spiffe');
  await mkdir(spiffe);
  const ca = await makeCa();
  const { pem, chainPem } = await credentialsFor('spiffe://example.org/ns/shop/sa/web', ca);
  await writeFile(join(spiffe, 'credentials.pem'), pem);
  await writeFile(join(spiffe, 'roots.pem'), ca.pem);

  const config = {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'HelperConfiguration',
    source: { credentials: '/tmp/spiffe' },
    folder: '/tmp/tls',
    files: [{ name: 'tls.crt', content: 'chain' }],
  };
  await writeFile(join(spiffe, 'helper.json'), JSON.stringify(config));
  await inImage(['helper', '--config', '/tmp/spiffe/helper.json', '--once'], {}, 'kubespiffe');
  assert.equal(await readFile(join(rootfs, 'tmp/tls/tls.crt'), 'utf8'), chainPem);

  const socket = ['--socket', 'unix:///tmp/workload-api.sock'];
  const served = ['kubespiffe', 'workload-api', '--credentials', '/tmp/spiffe', ...socket];
  const sidecar = startChild('sidecar', [...chrootAs(account, rootfs), ...served], {
    logFile: join(folder, 'sidecar.log'),
  });
  try {
    await waitFor(
      'the Workload API',
      () =>
        inImage(['workload-api', '--check', ...socket], {}, 'kubespiffe').then(
          () => true,
          () => false,
        ),
      { needs: [sidecar] },
    );
  } finally {
    await sidecar.stop();
  }
});

test('the image holds the web view as it was built, and shows a pod what it holds', async () => {
  const own = join(rootfs, 'tmp/own');
  await mkdir(own);
  const ca = await makeCa();
  const { pem } = await credentialsFor('spiffe://example.org/ns/shop/sa/web', ca);
  await writeFile(join(own, 'credentials.pem'), pem);
  await writeFile(join(own, 'roots.pem'), ca.pem);
  const view = ['kubespiffe', 'ui', '--credentials', '/tmp/own'];
  const child = startChild('view', [...chrootAs(account, rootfs), ...view], {
    logFile: join(folder, 'view.log'),
  });
  try {
    const url = await waitFor('the URL', async () => /http:\S+/.exec(child.lastLines())?.[0], {
      needs: [child],
    });
    const token = new URLSearchParams(new URL(url).hash.slice(1)).get('token');
    const get = (path: string) =>
      fetch(new URL(path, url), { headers: { authorization: `Bearer ${token}` } });
    for (const [path, type] of [
      ['/', 'text/html'],
      ['/app.js', 'text/javascript'],
      ['/app.css', 'text/css'],
    ] as const) {
      const answer = await get(path);
      assert.ok(answer.headers.get('content-type')?.startsWith(type), path);
      assert.ok((await answer.text()).length > 300, path);
    }
    assert.partialDeepStrictEqual(await (await get('/api/overview')).json(), {
      ...{ mode: 'own', spiffeId: 'spiffe://example.org/ns/shop/sa/web', token: null },
    });
  } finally {
    await child.stop();
  }
});

test('a program of the image ends with the test that started it, even by SIGKILL', async () => {
  const module = (name: string) => JSON.stringify(join(import.meta.dirname, '../cluster', `${name}.ts`));
  const script = `
    const { chrootAs } = await import(${module('chroot')});
    const { startChild, waitFor } = await import(${module('process')});
    const command = [...chrootAs('${account}', '${rootfs}'), 'node', '-e', 'console.log(1); setInterval(() => {}, 1000)'];
    const child = startChild('program', command, { logFile: ${JSON.stringify(join(folder, 'program.log'))} });
    await waitFor('its first line', () => child.lastLines() !== '');
    console.log(child.pid);
    process.kill(process.pid, 'SIGKILL');`;
  const ended = await run(process.execPath, ['--input-type=module', '-e', script]).catch((error) => error);
  assert.equal(ended.signal, 'SIGKILL', ended.stderr);
  assert.match(ended.stdout, /^\d+\n$/);
  await waitFor('its end', () => !existsSync(`/proc/${ended.stdout.trim()}`));
});

test('the signer runs as any user of group 0 without a name and a home, as on OpenShift', async () => {
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    clusters: [{ name: 'here', cluster: { server: 'https://127.0.0.1:1' } }],
    contexts: [{ name: 'here', context: { cluster: 'here', user: 'here' } }],
    users: [{ name: 'here', user: {} }],
  };
  await writeFile(join(rootfs, 'tmp/nowhere'), JSON.stringify(kubeconfig));
  const [port] = await freePorts(1);
  const flags = ['--trust-domain', 'example.org', '--kubeconfig', '/tmp/nowhere'];
  const command = [
    ...chrootAs('1000650000:0', rootfs),
    ...['/usr/local/bin/node', '/app/tools/main.js', 'signer', ...flags],
    ...['--metrics-address', `127.0.0.1:${port}`],
  ];
  const signer = startChild('signer', command, { logFile: join(folder, 'signer.log') });
  try {
    const url = `http://127.0.0.1:${port}`;
    await waitFor('the signer', async () => (await fetch(`${url}/livez`)).ok, { needs: [signer] });
    const status = await readFile(`/proc/${signer.pid}/status`, 'utf8');
    assert.match(status, /^Uid:\s1000650000\s/m);
    assert.match(status, /^Gid:\s0\s/m);
    await waitFor(
      'the API server to be asked',
      async () =>
        (await (await fetch(`${url}/readyz`)).text()).includes('[-]pod-certificate-api not known yet'),
      { needs: [signer] },
    );
  } finally {
    await signer.stop();
  }
});

test('every module of ours loads in the image', async () => {
  const folders = ['signer', 'workload', 'client', 'spiffe', 'dev'].map((name) => join(rootfs, 'app', name));
  const { stdout } = await run('find', [...folders, '-name', '*.js', '-printf', '%p\n']);
  const modules = stdout
    .trim()
    .split('\n')
    .map((path) => path.slice(rootfs.length));
  const program = `await Promise.all(${JSON.stringify(modules)}.map((path) => import(path))); console.log('loaded')`;
  const loaded = await inImage(['--input-type=module', '-e', program]);
  assert.equal(loaded.stdout, 'loaded\n');
});

test('a kubeconfig with an auth-provider is read in the image although the generated API models are left out', async () => {
  const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const idToken = `${base64url({ alg: 'none' })}.${base64url({ exp: 4_000_000_000 })}.x`;
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    clusters: [{ name: 'here', cluster: { server: 'https://127.0.0.1:6443' } }],
    users: [{ name: 'here', user: { 'auth-provider': { name: 'oidc', config: { 'id-token': idToken } } } }],
    contexts: [{ name: 'here', context: { cluster: 'here', user: 'here', namespace: 'shop' } }],
  };
  await writeFile(join(rootfs, 'tmp/kubeconfig'), JSON.stringify(kubeconfig));
  const program = `
    const { loadCredentials } = await import('/app/signer/kube/credentials.js');
    const { realTime } = await import('/app/signer/kube/time.js');
    const credentials = await loadCredentials({ kubeconfig: '/tmp/kubeconfig', env: {}, time: realTime });
    console.log(credentials.server.href, credentials.namespace, await credentials.authorization());`;
  const { stdout } = await inImage(['--input-type=module', '-e', program]);
  assert.equal(stdout, `https://127.0.0.1:6443/ shop Bearer ${idToken}\n`);
});
