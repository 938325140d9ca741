import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { type CredentialSources, loadCredentials } from '../../signer/kube/credentials.ts';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { timeWith } from './fake-time.ts';

let folder: string;
let now = 0;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubespiffe-credentials-'));
});
after(() => rm(folder, { recursive: true }));

const load = (sources: Partial<CredentialSources>) =>
  loadCredentials({ env: {}, time: timeWith({ monotonic: () => now }), ...sources });

const kubeconfig = (name: string, user: object, cluster: object = {}) =>
  fileOf(name, {
    clusters: [
      { name: 'here', cluster: { server: 'https://here.example:6443', ...cluster } },
      { name: 'there', cluster: { server: 'https://there.example/clusters/2' } },
    ],
    users: [{ name: 'me', user }],
  });

async function fileOf(name: string, different: object): Promise<string> {
  const file = path.join(folder, name);
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'one',
    contexts: [
      { name: 'one', context: { cluster: 'here', user: 'me', namespace: 'team' } },
      { name: 'two', context: { cluster: 'there', user: 'me' } },
      { name: 'dangling', context: { cluster: 'nowhere', user: 'me' } },
    ],
    clusters: [{ name: 'here', cluster: { server: 'https://here.example:6443' } }],
    users: [{ name: 'me', user: {} }],
    ...different,
  };
  await writeFile(file, stringify(content));
  return file;
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('credentials', () => {
  test('a context without a user has no credentials, also when kubectl has emptied the lists to null', async () => {
    const contexts = [{ name: 'one', context: { cluster: 'here', user: '' } }];
    const credentials = await load({ kubeconfig: await fileOf('anonymous', { contexts, users: null }) });
    assert.equal(credentials.server.host, 'here.example:6443');
    assert.equal(await credentials.authorization(), undefined);
  });

  test('token, authority, client certificate and server name are read from a kubeconfig', async () => {
    const file = await kubeconfig(
      'all',
      {
        token: 'tok',
        'client-certificate-data': base64('CERT'),
        'client-key-data': base64('KEY'),
      },
      { 'certificate-authority-data': base64('CA'), 'tls-server-name': 'real.example' },
    );
    const credentials = await load({ kubeconfig: file });
    assert.equal(credentials.server.href, 'https://here.example:6443/');
    assert.equal(credentials.namespace, 'team');
    assert.equal(await credentials.authorization(), 'Bearer tok');
    assert.deepEqual(
      Object.fromEntries(Object.entries(credentials.tls).map(([name, value]) => [name, String(value)])),
      { ca: 'CA', cert: 'CERT', key: 'KEY', servername: 'real.example' },
    );
  });

  test('another context, basic authentication and insecure-skip-tls-verify are honoured', async () => {
    const file = await kubeconfig(
      'basic',
      { username: 'u', password: 'p' },
      { 'insecure-skip-tls-verify': true },
    );
    const one = await load({ kubeconfig: file });
    assert.equal(await one.authorization(), `Basic ${base64('u:p')}`);
    assert.equal(one.tls.rejectUnauthorized, false);
    const two = await load({ kubeconfig: file, context: 'two' });
    assert.equal(two.server.href, 'https://there.example/clusters/2');
    assert.equal(two.namespace, undefined);
    assert.equal(two.tls.rejectUnauthorized, undefined);
  });

  test('a token file is read again after 10 s, at once after a refusal, and kept while it is unreadable', async () => {
    const tokenFile = path.join(folder, 'token');
    await writeFile(tokenFile, 'first\n');
    // Relative to the kubeconfig, as kubectl has it.
    const credentials = await load({ kubeconfig: await kubeconfig('file', { tokenFile: 'token' }) });
    assert.equal(await credentials.authorization(), 'Bearer first');
    await writeFile(tokenFile, 'second');
    now += 9_999;
    assert.equal(await credentials.authorization(), 'Bearer first');
    now += 1;
    assert.equal(await credentials.authorization(), 'Bearer second');
    await writeFile(tokenFile, 'third');
    credentials.invalidate();
    const all = await Promise.all([1, 2, 3].map(() => credentials.authorization()));
    assert.deepEqual(new Set(all), new Set(['Bearer third']));
    await rm(tokenFile);
    credentials.invalidate();
    assert.equal(await credentials.authorization(), 'Bearer third');
  });

  test('an exec plugin is run once, and again after a refusal', async () => {
    const runs = path.join(folder, 'runs');
    const start = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",';
    const plugin = `echo x >> ${runs}; echo '${start}"status":{"token":"'$(wc -l < ${runs})'"}}'`;
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'sh',
      args: ['-c', plugin],
      interactiveMode: 'Never',
    };
    const credentials = await load({ kubeconfig: await kubeconfig('exec', { exec }) });
    assert.equal(await credentials.authorization(), 'Bearer 1');
    now += 60_000;
    assert.equal(await credentials.authorization(), 'Bearer 1');
    credentials.invalidate();
    assert.equal(await credentials.authorization(), 'Bearer 2');
  });

  test('a refused token is replaced by that of the same context, also when another context is current', async () => {
    const write = (current: string, token: string) =>
      fileOf('switched', {
        'current-context': current,
        contexts: ['one', 'two'].map((name) => ({ name, context: { cluster: 'here', user: name } })),
        users: [
          { name: 'one', user: { token } },
          { name: 'two', user: { token: 'for-another-cluster' } },
        ],
      });
    const credentials = await load({ kubeconfig: await write('one', 'first') });
    assert.equal(await credentials.authorization(), 'Bearer first');
    await write('two', 'second');
    credentials.invalidate();
    assert.equal(await credentials.authorization(), 'Bearer second');
  });

  for (const [what, user, cluster] of [
    ['server', {}, { server: 'https://elsewhere.example' }],
    ['path on the server', {}, { server: 'https://here.example:6443/clusters/2' }],
    ['name of the server', {}, { 'tls-server-name': 'elsewhere.example' }],
    ['person to impersonate', { as: 'jane' }, {}],
  ] as const) {
    test(`after a refusal the credentials stay, where the context has another ${what} by now`, async () => {
      const write = (...changed: [user: object, cluster: object]) => kubeconfig('changed', ...changed);
      const credentials = await load({ kubeconfig: await write({ token: 'before' }, {}) });
      await write({ token: 'after', ...user }, { 'certificate-authority-data': base64('CA'), ...cluster });
      credentials.invalidate();
      assert.equal(await credentials.authorization(), 'Bearer before');
      assert.deepEqual(credentials.tls, {});
    });
  }

  test('the ID token of auth-provider oidc is sent', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = `${part({ alg: 'none' })}.${part({ exp: 4_000_000_000 })}.x`;
    const user = { 'auth-provider': { name: 'oidc', config: { 'id-token': token } } };
    const credentials = await load({ kubeconfig: await kubeconfig('oidc', user) });
    assert.equal(await credentials.authorization(), `Bearer ${token}`);
  });

  test('over plain http no credentials are sent, as kubectl does', async () => {
    const user = { token: 'tok', as: 'jane' };
    const file = await kubeconfig('plain', user, { server: '127.0.0.1:8001' });
    const credentials = await load({ kubeconfig: file });
    assert.equal(credentials.server.href, 'http://127.0.0.1:8001/');
    assert.equal(await credentials.authorization(), undefined);
    assert.deepEqual(credentials.impersonation, {});
  });

  test('the own ServiceAccount of a pod is used in a cluster', async () => {
    for (const [name, content] of [
      ['token', 'pod-token'],
      ['ca.crt', 'POD-CA'],
      ['namespace', 'kubespiffe-system\n'],
    ] as const) {
      await writeFile(path.join(folder, name), content);
    }
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    const credentials = await load({ env, serviceAccountFolder: folder });
    assert.equal(credentials.server.host, '[fd00::1]');
    assert.equal(credentials.namespace, 'kubespiffe-system');
    assert.equal(String(credentials.tls.ca), 'POD-CA');
    assert.equal(await credentials.authorization(), 'Bearer pod-token');
    await writeFile(path.join(folder, 'token'), 'rotated');
    await writeFile(path.join(folder, 'ca.crt'), 'NEW-CA');
    now += 10_000;
    assert.equal(await credentials.authorization(), 'Bearer rotated');
    assert.equal(String(credentials.tls.ca), 'NEW-CA');
  });

  test('credentials come from the given file, then KUBECONFIG, the pod, the home folder', async () => {
    const asked = await kubeconfig('asked', { token: 'asked' });
    const listed = await kubeconfig('listed', { token: 'listed' });
    const env = { KUBECONFIG: listed, KUBERNETES_SERVICE_HOST: '10.0.0.1', HOME: '/nowhere' };
    assert.equal(await (await load({ kubeconfig: asked, env })).authorization(), 'Bearer asked');
    assert.equal(await (await load({ env })).authorization(), 'Bearer listed');
    await assert.rejects(load({ env: { HOME: '/nowhere' } }), /\/nowhere\/\.kube\/config/);
    await assert.rejects(load({}), /no credentials.*--kubeconfig/);
  });

  test('files of KUBECONFIG that do not exist are skipped, as by kubectl', async () => {
    const file = await kubeconfig('among-others', { token: 'among-others' });
    const env = { KUBECONFIG: ['/nowhere/first', file, '/nowhere/last'].join(path.delimiter) };
    assert.equal(await (await load({ env })).authorization(), 'Bearer among-others');
    await assert.rejects(
      load({ env: { KUBECONFIG: '/nowhere/first' } }),
      /\/nowhere\/first cannot be used: \/nowhere\/first does not exist$/,
    );
  });

  test('a kubeconfig that the YAML parser would warn about is read, and no warning quotes its token', async () => {
    const file = await kubeconfig('tagged', { token: 'TOKEN' });
    const content = await readFile(file, 'utf8');
    await writeFile(file, content.replace('TOKEN', '!vault s3cret'));
    const warnings: Error[] = [];
    const listen = (warning: Error) => void warnings.push(warning);
    process.on('warning', listen);
    try {
      assert.equal(await (await load({ kubeconfig: file })).authorization(), 'Bearer s3cret');
      // Node.js emits a warning in the next tick, so one of our own is behind those of the parser.
      const own = once(process, 'warning');
      process.emitWarning('the last one');
      await own;
    } finally {
      process.off('warning', listen);
    }
    assert.deepEqual(
      warnings.map(({ message }) => message),
      ['the last one'],
    );
  });

  test('errors about credentials name the problem and quote no secret', async () => {
    const broken = path.join(folder, 'broken');
    await writeFile(broken, 'users:\n- name: me\n  user: {token: "s3cr3t\n  : [');
    const fresh = path.join(folder, 'fresh');
    await writeFile(fresh, 'apiVersion: v1\nkind: Config\n');
    const empty = path.join(folder, 'empty');
    await writeFile(empty, '');
    const cases: [CredentialSources['kubeconfig'], string | undefined, RegExp][] = [
      [path.join(folder, 'missing'), undefined, /missing cannot be used: .*missing does not exist$/],
      [broken, undefined, /broken cannot be used/],
      [fresh, undefined, /it has no current context/],
      [await kubeconfig('context', { token: 's3cr3t' }), 'three', /context "three" is not in it/],
      [await kubeconfig('dangling', { token: 's3cr3t' }), 'dangling', /cluster "nowhere" is not in it/],
      [await kubeconfig('number', { token: 5 }), undefined, /token of user "me" is not a string$/],
      [
        await kubeconfig('proxy', {}, { 'proxy-url': 'socks5://u:s3cr3t@p:1' }),
        undefined,
        /proxy-url names a socks5 proxy, and only http and https proxies are supported$/,
      ],
      [await kubeconfig('url', {}, { server: 'ftp://here' }), undefined, /"ftp:\/\/here" is not a URL/],
      [await kubeconfig('no-file', { tokenFile: 'nowhere' }), undefined, /\/nowhere does not exist$/],
      [await fileOf('no-users', { users: null }), undefined, /user "me" is not in it$/],
      [await fileOf('no-clusters', { clusters: null }), undefined, /cluster "here" is not in it$/],
      [await fileOf('no-contexts', { contexts: null }), undefined, /context "one" is not in it$/],
      [empty, undefined, /it has no current context$/],
    ];
    for (const [file, context, expected] of cases) {
      await assert.rejects(
        load({ ...(file && { kubeconfig: file }), ...(context && { context }) }),
        (error: unknown) => {
          assert.ok(error instanceof KubespiffeError && error.code === 'CONFIG_INVALID', String(error));
          assert.match(error.message, expected);
          assert.doesNotMatch(`${error.stack}${JSON.stringify(error.cause)}`, /s3cr3t/);
          return true;
        },
      );
    }
  });
});
