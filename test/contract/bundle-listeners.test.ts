import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { endpointIdOf } from '../../spiffe/infrastructure.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { makeStateFolder, removeStateFolder } from '../cluster/state-folder.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { type ServerCredentials, webCredentials } from './bundle-endpoint.ts';
import { installSigner, putPool } from './installation.ts';
import { asksForCertificate } from './openssl.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { aPoolWithJwtKeys } from './token-endpoint.ts';

const trustDomain = 'example.org';
const issuer = 'https://id.example.org';
const endpointId = endpointIdOf(trustDomain).uri;
const servername = 'kubespiffe-tokens.kubespiffe.svc';

/** Both federation profiles of a signer that has no token endpoint, and the rights of manifests/base alone. */
describe('the bundle endpoints', () => {
  let controlPlane: ControlPlane;
  let judges: Judges;
  let pool: PoolDocument;
  let signer: SignerProcess;
  let folder: string;
  let web: { port: number; credentials: ServerCredentials };
  let spiffe: { port: number };

  const files = () => ({ certificate: path.join(folder, 'tls.crt'), key: path.join(folder, 'tls.key') });
  const roots = () => pool.authorities.flatMap(({ certificate }) => certificate ?? []).join('');

  /** As kubelet changes the files of a Secret: a file is the old one or the new one, never half of it. */
  async function renew(credentials: ServerCredentials): Promise<void> {
    for (const [file, content] of [
      [files().key, credentials.key],
      [files().certificate, credentials.cert],
    ] as const) {
      await writeFile(`${file}.new`, content);
      await rename(`${file}.new`, file);
    }
  }

  before(async () => {
    judges = await openJudges();
    controlPlane = await startControlPlane();
    const kubeconfig = await installSigner(controlPlane);
    pool = await aPoolWithJwtKeys();
    await putPool(controlPlane, pool);
    folder = await makeStateFolder();
    const [webPort = 0, spiffePort = 0] = await freePorts(2);
    web = { port: webPort, credentials: await webCredentials() };
    spiffe = { port: spiffePort };
    const { certificate, key } = files();
    signer = await startSigner({
      kubeconfig,
      flags: [
        ...['--jwt-issuer', issuer, '--bundle-spiffe-address', `127.0.0.1:${spiffePort}`],
        ...['--bundle-web-address', `127.0.0.1:${webPort}`],
        ...['--bundle-web-certificate', certificate, '--bundle-web-key', key],
      ],
    });
  });
  after(async () => {
    await signer?.child.stop();
    await removeStateFolder(folder);
    await controlPlane?.stop();
  });

  const get = (port: number, target: string, ca: string, method = 'GET', agent?: Agent) =>
    new Promise<{ status: number; etag: string | undefined; body: string; socket: TLSSocket }>(
      (resolve, reject) => {
        const options = {
          host: '127.0.0.1',
          port,
          path: target,
          method,
          ca,
          ...(port === spiffe.port && { servername }),
        };
        request({ ...options, ...(agent && { agent }) }, (incoming) => {
          const socket = incoming.socket as TLSSocket;
          incoming.setEncoding('utf8');
          let body = '';
          incoming.on('data', (chunk: string) => {
            body += chunk;
          });
          incoming.on('end', () => {
            const { etag } = incoming.headers;
            resolve({ status: incoming.statusCode ?? 0, etag, body, socket });
          });
        })
          .on('error', reject)
          .end();
      },
    );

  it('the https_web endpoint is not ready before its files exist, and reports which and why', async () => {
    const early = await waitFor('the reason', async () => {
      const { text } = await signer.readiness();
      return text.includes('ENOENT') && text;
    });
    assert.match(early, /bundle-web .*tls\.crt/);
    await renew({ ...web.credentials, key: (await webCredentials()).key });
    await waitFor('the reason of a pair that does not fit', async () =>
      /tls\.key is not that of the first certificate/.test((await signer.readiness()).text),
    );
    await renew(web.credentials);
    await signer.ready();
  });

  it('go-spiffe fetches the bundle over both profiles, and refuses other servers', async () => {
    const overWeb = (trusted: string) =>
      judges.federation({
        trustDomain,
        url: `https://127.0.0.1:${web.port}/bundle`,
        profile: { name: 'https_web', roots: trusted },
      });
    const overSpiffe = (id: string) =>
      judges.federation({
        trustDomain,
        url: `https://127.0.0.1:${spiffe.port}/bundle`,
        profile: { name: 'https_spiffe', endpointId: id, bundles: { [trustDomain]: roots() } },
      });
    for (const verdict of [await overWeb(web.credentials.cert), await overSpiffe(endpointId)]) {
      assert.deepEqual(verdict.errors, []);
      assert.equal(verdict.facts.sequence, '1');
    }
    assert.notDeepEqual((await overWeb((await webCredentials()).cert)).errors, []);
    assert.notDeepEqual((await overSpiffe(`spiffe://${trustDomain}/ns/a/sa/b`)).errors, []);
  });

  it('the bundle endpoints serve the same documents with the same validators, name the issuer, and give no tokens', async () => {
    for (const target of ['/bundle', '/keys', '/roots.pem', '/.well-known/openid-configuration']) {
      const [first, second] = [
        await get(web.port, target, web.credentials.cert),
        await get(spiffe.port, target, roots()),
      ];
      assert.equal(first.status, 200, target);
      assert.deepEqual([first.etag, first.body], [second.etag, second.body], target);
    }
    const discovery = await get(web.port, '/.well-known/openid-configuration', web.credentials.cert);
    assert.equal(JSON.parse(discovery.body).issuer, issuer);
    for (const target of ['/token', '/jwt-svid', '/openapi.json']) {
      const method = target === '/openapi.json' ? 'GET' : 'POST';
      assert.equal((await get(web.port, target, web.credentials.cert, method)).status, 404, target);
      assert.equal((await get(spiffe.port, target, roots(), method)).status, 404, target);
    }
  });

  it('the bundle endpoints speak TLS 1.3 and 1.2 with forward secrecy, and nothing older', async () => {
    const handshake = (port: number, version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3', ciphers?: string) =>
      new Promise<string>((resolve) => {
        const socket = connect(
          {
            ...{
              host: '127.0.0.1',
              port,
              rejectUnauthorized: false,
              minVersion: version,
              maxVersion: version,
            },
            ...(ciphers !== undefined && { ciphers }),
          },
          () => {
            resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
            socket.destroy();
          },
        );
        socket.on('error', () => resolve('refused'));
      });
    for (const { port } of [web, spiffe]) {
      assert.match(await handshake(port, 'TLSv1.3'), /^TLSv1\.3 TLS_/);
      assert.match(await handshake(port, 'TLSv1.2'), /^TLSv1\.2 ECDHE-ECDSA-.*(GCM|POLY1305)/);
      assert.equal(await handshake(port, 'TLSv1.2', 'ECDHE-ECDSA-AES256-SHA:AES128-SHA'), 'refused');
      assert.equal(await handshake(port, 'TLSv1.1', 'DEFAULT@SECLEVEL=0'), 'refused');
    }
  });

  it('the bundle endpoints ask for no client certificate', async () => {
    for (const { port } of [web, spiffe]) assert.equal(await asksForCertificate(port), false);
  });

  it('both endpoints disconnect a client that opens a connection and sends nothing', async () => {
    for (const { port } of [web, spiffe]) {
      const startedAt = performance.now();
      const silent = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
      silent.on('error', () => undefined);
      await once(silent.resume(), 'end');
      assert.ok(performance.now() - startedAt < 7_000);
      silent.destroy();
    }
    const cause = 'handshake';
    for (const listener of ['bundle-web', 'bundle-spiffe']) {
      assert.ok(
        (await signer.metric('kubespiffe_connections_cut_total', { listener, cause })) >= 1,
        listener,
      );
    }
  });

  it('the bundle endpoints count what they refuse separately, and audit nothing of it', async () => {
    const counted = (listener: string) =>
      signer.metric('kubespiffe_other_refusals_total', { listener, reason: 'RouteUnknown' });
    const before = await counted('bundle-web');
    for (const target of ['/wp-login.php', '/token', '/%ff']) {
      await get(web.port, target, web.credentials.cert);
    }
    assert.equal(await counted('bundle-web'), before + 2);
    const malformed = { listener: 'bundle-web', reason: 'RequestMalformed' };
    assert.equal(await signer.metric('kubespiffe_other_refusals_total', malformed), 1);
    assert.equal(await signer.metric('kubespiffe_tokens_total'), 0);
    assert.ok(!signer.lines().some(({ event }) => event === 'token'));
  });

  it('a renewed certificate is shown to new connections, and open ones continue', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const before = await get(web.port, '/bundle', web.credentials.cert, 'GET', agent);
    const renewed = await webCredentials();
    await renew(renewed);
    await waitFor('the new certificate', () =>
      get(web.port, '/bundle', renewed.cert).then(
        ({ status }) => status === 200,
        () => false,
      ),
    );
    const later = await get(web.port, '/bundle', web.credentials.cert, 'GET', agent);
    assert.equal(later.status, 200);
    assert.equal(later.socket, before.socket);
    agent.destroy();
    web.credentials = renewed;
  });

  it('a broken file is logged and changes nothing', async () => {
    await writeFile(files().key, 'no key');
    await waitFor('the warning', async () =>
      signer.lines().some(({ msg }) => /tls\.key holds no unencrypted private key/.test(String(msg))),
    );
    assert.equal((await get(web.port, '/bundle', web.credentials.cert)).status, 200);
    assert.equal((await signer.readiness()).ok, true);
    assert.ok(!signer.output().includes('no key'));
  });

  it('the https_web endpoint is not ready once its certificate has expired, warns once, and is ready after a renewal', async () => {
    await renew(await webCredentials({ lifetimeSeconds: 8 }));
    const text = await waitFor('the end to be told', async () => {
      const readiness = await signer.readiness();
      return !readiness.ok && readiness.text;
    });
    assert.match(text, /^\[-\]bundle-web its certificate ended at .*tls\.crt has ended on .*; renew it$/m);
    assert.match(text, /^\[\+\]bundle-spiffe listens/m);
    const renewed = await webCredentials();
    await renew(renewed);
    await signer.ready();
    assert.equal((await get(web.port, '/bundle', renewed.cert)).status, 200);
    const warned = signer
      .lines()
      .filter(({ level, msg }) => level === 'warn' && /^its certificate ended/.test(String(msg)));
    assert.deepEqual(
      warned.map(({ listener }) => listener),
      ['bundle-web'],
    );
  });
});
