import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { loadCredentials } from '../../signer/kube/credentials.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createTransport } from '../../signer/kube/transport.ts';
import { createTestAuthority } from '../cluster/certificates.ts';
import { type ConnectProxy, startConnectProxy } from '../cluster/connect-proxy.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { timeWith } from '../kube/fake-time.ts';
import { run } from '../tools/run.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import {
  askAsKubectl,
  askAsOurselves,
  type Outcome,
  type Trial,
  whoAmI,
  writeTrial,
} from './kubeconfig-client.ts';
import { type Parts, rows } from './kubeconfig-rows.ts';
import { startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

/** The name by which one test knows the API server. */
const ownName = 'rotated.example';

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Each kubeconfig is used by kubectl and by us, on a real API server: the same user, or refused by both. */
describe('a kubeconfig means what it means to kubectl', () => {
  let controlPlane: ControlPlane;
  let folder = '';
  let port = 0;
  let parts: Parts;
  /** The CA of the serving certificate for `ownName`, PEM. */
  let ownCa = '';
  const proxies: ConnectProxy[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kubespiffe-kubeconfig-'));
    ownCa = await showServingCertificate();
    controlPlane = await startControlPlane({
      controllers: false,
      apiServerFlags: [`--tls-sni-cert-key=${path.join(folder, 'sni.crt')},${path.join(folder, 'sni.key')}`],
    });
    port = Number(new URL(controlPlane.url).port);
    const tokenOf = async (name: string) => {
      await controlPlane.kubectl(['create', 'serviceaccount', name, '--namespace', 'default']);
      return (await controlPlane.kubectl(['create', 'token', name, '--namespace', 'default'])).trim();
    };
    parts = {
      server: controlPlane.url,
      ca: controlPlane.authority.certificate,
      admin: await controlPlane.authority.issue({ commonName: 'root', organization: 'system:masters' }),
      one: await tokenOf('one'),
      two: await tokenOf('two'),
    };
    await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
  });
  after(async () => {
    for (const proxy of proxies) await proxy.stop();
    await controlPlane?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  /**
   * Gives the API server a serving certificate of a new CA, for clients that ask for this name alone: the
   * administrator's client goes on with the CA of the start.
   *
   * @returns the new CA, PEM.
   */
  async function showServingCertificate(): Promise<string> {
    const authority = await createTestAuthority('rotated-ca');
    const { certificate, key } = await authority.issue({ commonName: 'kube-apiserver', names: [ownName] });
    await writeFile(path.join(folder, 'sni.crt'), certificate);
    await writeFile(path.join(folder, 'sni.key'), key);
    return authority.certificate;
  }

  async function bothWays(trial: Trial): Promise<{ kubectl: Outcome; ours: Outcome }> {
    const env = await writeTrial(await mkdtemp(path.join(folder, 'trial-')), trial);
    const [kubectl, ours] = await Promise.all([
      askAsKubectl(controlPlane.binaries.command('kubectl') ?? [], env),
      askAsOurselves(env),
    ]);
    return { kubectl, ours };
  }

  const nameIn = (outcome: Outcome) =>
    'user' in outcome ? (outcome.user as { username: string }).username : 'refused';

  for (const { title, expected, trial } of rows) {
    test(`kubeconfig, as in kubectl: ${title}`, async () => {
      const { kubectl, ours } = await bothWays(trial(parts));
      assert.equal(nameIn(kubectl), expected, `kubectl: ${JSON.stringify(kubectl)}`);
      assert.equal(nameIn(ours), expected, `ours: ${JSON.stringify(ours)}`);
      if ('user' in kubectl) assert.deepEqual(ours, kubectl);
    });
  }

  const behind = (proxyUrl: string | undefined, server?: string): Trial['files'] => ({
    config: {
      'current-context': 'here',
      contexts: [{ name: 'here', context: { cluster: 'here', user: 'me' } }],
      clusters: [
        {
          name: 'here',
          cluster: {
            server: server ?? controlPlane.url,
            'certificate-authority-data': base64(parts.ca),
            ...(proxyUrl && { 'proxy-url': proxyUrl }),
          },
        },
      ],
      users: [{ name: 'me', user: { token: parts.one } }],
    },
  });
  const one = 'system:serviceaccount:default:one';
  const startProxy = async (options: Parameters<typeof startConnectProxy>[1]) => {
    const proxy = await startConnectProxy(port, options);
    proxies.push(proxy);
    return proxy;
  };

  test('proxy-url is used for every host, with the credentials in it, over http and https', async () => {
    const serving = await controlPlane.authority.issue({ commonName: 'proxy', names: ['127.0.0.1'] });
    for (const [scheme, options] of [
      ['http', {}],
      ['http', { password: 'me:p@ss' }],
      ['https', { password: 'me:p@ss', serving }],
    ] as const) {
      const proxy = await startProxy(options);
      const login = 'password' in options ? 'me:p%40ss@' : '';
      const files = behind(`${scheme}://${login}${proxy.address}`);
      const { kubectl, ours } = await bothWays({ files, env: { NO_PROXY: '*' } });
      assert.deepEqual([nameIn(kubectl), nameIn(ours)], [one, one], JSON.stringify([kubectl, ours]));
      assert.ok(proxy.asked.length >= 2, 'both went through the proxy');
      assert.ok(
        proxy.asked.every(({ isAllowed, authority }) => isAllowed && authority === `127.0.0.1:${port}`),
      );
    }
  });

  test('a proxy that refuses the credentials is named, and they are not', async () => {
    const proxy = await startProxy({ password: 'me:right' });
    const { kubectl, ours } = await bothWays({ files: behind(`http://me:s3cr3t@${proxy.address}`) });
    assert.equal(nameIn(kubectl), 'refused');
    assert.ok('refused' in ours);
    assert.match(ours.refused, new RegExp(`proxy http://${proxy.address} refused a tunnel to .*: 407`));
    assert.doesNotMatch(ours.refused, /s3cr3t/);
  });

  test('a socks5 proxy, which kubectl knows, is refused with an explanation', async () => {
    const { ours } = await bothWays({ files: behind('socks5://127.0.0.1:9') });
    assert.ok('refused' in ours);
    assert.match(
      ours.refused,
      /proxy-url names a socks5 proxy, and only http and https proxies are supported/,
    );
  });

  test('HTTPS_PROXY is used for other hosts, unless NO_PROXY names them', async () => {
    const proxy = await startProxy({});
    const host = 'kubernetes.default.svc';
    const files = behind(undefined, `https://${host}:${port}`);
    for (const name of ['HTTPS_PROXY', 'https_proxy']) {
      const { kubectl, ours } = await bothWays({ files, env: { [name]: proxy.address } });
      assert.deepEqual([nameIn(kubectl), nameIn(ours)], [one, one], JSON.stringify([kubectl, ours]));
    }
    assert.deepEqual(new Set(proxy.asked.map(({ authority }) => authority)), new Set([`${host}:${port}`]));
    const before = proxy.asked.length;
    for (const noProxy of ['.svc', host, `${host}:${port}`, '*']) {
      const env = { HTTPS_PROXY: proxy.address, NO_PROXY: noProxy };
      const { kubectl, ours } = await bothWays({ files, env });
      assert.deepEqual([nameIn(kubectl), nameIn(ours)], ['refused', 'refused'], noProxy);
    }
    const loopback = await bothWays({ files: behind(undefined), env: { HTTPS_PROXY: proxy.address } });
    assert.deepEqual([nameIn(loopback.kubectl), nameIn(loopback.ours)], [one, one]);
    assert.equal(proxy.asked.length, before, 'none of these went through the proxy');
  });

  test('a client certificate that was replaced is used for the next request', async () => {
    const home = await mkdtemp(path.join(folder, 'trial-'));
    const file = (name: string) => path.join(home, name);
    const show = async (name: string) => {
      const { certificate, key } = await controlPlane.authority.issue({ commonName: name });
      await writeFile(file('tls.crt'), certificate);
      await writeFile(file('tls.key'), key);
    };
    await show('first');
    const user = { 'client-certificate': file('tls.crt'), 'client-key': file('tls.key') };
    const config = behind(undefined).config as object;
    const env = await writeTrial(home, { files: { config: { ...config, users: [{ name: 'me', user }] } } });
    let now = 0;
    const credentials = await loadCredentials({ env, time: timeWith({ monotonic: () => now }) });
    const transport = createTransport({ time: realTime, credentials });
    try {
      assert.equal(await whoAmI(transport), 'first');
      await show('second');
      now += 10_000;
      assert.equal(await whoAmI(transport), 'second');
    } finally {
      await transport.close();
    }
  });

  test('a signer works through a proxy, and its log has no part of the password', async () => {
    const proxy = await startProxy({ password: 'me:s3cr3t' });
    const kubeconfig = await installSigner(controlPlane);
    const config = JSON.parse(await readFile(kubeconfig, 'utf8'));
    config.clusters[0].cluster['proxy-url'] = `http://me:s3cr3t@${proxy.address}`;
    await writeFile(kubeconfig, JSON.stringify(config));
    const signer = await startSigner({ kubeconfig });
    await signer.ready();
    await signer.child.stop();
    assert.ok(proxy.asked.length >= 2, 'for calls and for watches');
    assert.doesNotMatch(signer.output(), /s3cr3t/);
  });

  test('a signer reads the CA of its cluster again after it was replaced, and trusts no other one', async () => {
    const kubeconfig = await installSigner(controlPlane);
    const caFile = path.join(folder, 'ca.crt');
    const config = JSON.parse(await readFile(kubeconfig, 'utf8'));
    const { cluster } = config.clusters[0];
    delete cluster['certificate-authority-data'];
    Object.assign(cluster, { 'certificate-authority': caFile, 'tls-server-name': ownName });
    await writeFile(kubeconfig, JSON.stringify(config));
    await writeFile(caFile, ownCa);
    const signer = await startSigner({ kubeconfig });
    await signer.ready();
    await controlPlane.killApiServer();
    ownCa = await showServingCertificate();
    await controlPlane.startApiServer();
    const request = await requestFor(
      controlPlane,
      await createPod(controlPlane, { serviceAccountName: 'one' }),
    );
    await waitFor('the server to be refused', () => /unable to verify|self-signed/.test(signer.output()));
    await writeFile(caFile, ownCa);
    assert.equal((await answerTo(controlPlane, request)).conditions?.[0]?.type, 'Issued');
    await signer.child.stop();
  });

  test('commands use `kubectl proxy`, and a signer refuses it with the advice to use the API server itself', async (t) => {
    const home = await mkdtemp(path.join(folder, 'trial-'));
    const logFile = path.join(home, 'proxy.log');
    const kubectl = controlPlane.binaries.command('kubectl') ?? [];
    const proxy = startChild('kubectl proxy', [...kubectl, 'proxy', '--port=0'], {
      logFile,
      env: await writeTrial(home, { files: behind(undefined) }),
    });
    t.after(() => proxy.stop());
    const serves = /127\.0\.0\.1:\d+/;
    const address = await waitFor(
      'kubectl proxy',
      async () => serves.exec(await readFile(logFile, 'utf8'))?.[0],
      {
        needs: [proxy],
      },
    );
    const env = await writeTrial(home, { files: behind(undefined, `http://${address}`) });
    const { stderr } = await run(['ca', 'show'], { env });
    assert.match(stderr, /the API server answered 403/);
    const signer = await startSigner({ kubeconfig: path.join(home, 'config') });
    assert.equal(await signer.child.exited, 'exit code 1');
    assert.match(
      signer.output(),
      new RegExp(`the API server is http://${address}, which has no TLS; use the https URL`),
    );
  });

  test('a command of kubespiffe reaches the cluster through a proxy', async () => {
    const proxy = await startProxy({ password: 'me:pass' });
    const trial = { files: behind(`http://me:pass@${proxy.address}`) };
    const env = await writeTrial(await mkdtemp(path.join(folder, 'trial-')), trial);
    const { stderr } = await run(['ca', 'show'], { env });
    assert.match(stderr, /the API server answered 403/);
    assert.ok(proxy.asked.length > 0);
  });
});
