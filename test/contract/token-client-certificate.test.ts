import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool, type PoolDocument } from '../../signer/authority/document.ts';
import type { Pod } from '../../signer/kube/types.ts';
import { parseJwt } from '../../spiffe/jwt-svid.ts';
import { openBundleSource } from '../../workload/bundle-source.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { createJwtSource } from '../../workload/jwt-source.ts';
import { openX509Source } from '../../workload/x509-source.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import {
  aCertificate,
  authoritiesOfAllStates,
  badCertificates,
  type CertificateFacts,
  type ClientCredentials,
} from '../token/caller/client-certificates.ts';
import { run } from '../tools/run.ts';
import { putPool } from './installation.ts';
import { asksForCertificate, openssl } from './openssl.ts';
import { describeTokenCommands } from './token-commands.ts';
import {
  type Answer,
  endpointAudience,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { createPod, issuedTo } from './workloads.ts';

const audience = 'https://api.example.com';
const switchedOn = ['--leaf-pod-identity', 'true', '--token-client-certificates', 'true'];

/** JWT-SVIDs for pods that prove themselves with their X509-SVID, by real TLS at a signer of a real cluster. */
describe('the token endpoint, called with a client certificate', () => {
  let controlPlane: ControlPlane;
  let pool: PoolDocument;
  let installed: { kubeconfig: string; pool: PoolDocument };
  let endpoint: TokenSigner;
  let bundlePort: number;

  before(async () => {
    controlPlane = await startControlPlane();
    const { kubeconfig } = await installTokenEndpoint(controlPlane);
    const now = Math.floor(Date.now() / 1000);
    const authorities = await authoritiesOfAllStates(now);
    const [first] = authorities;
    assert.ok(first);
    const jwt = await createJwtAuthority({ key: 'es256', now });
    pool = { ...newPool('example.org', first), authorities: [...authorities, jwt] };
    await putPool(controlPlane, pool);
    installed = { kubeconfig, pool };
    [bundlePort = 0] = await freePorts(1);
    endpoint = await startTokenSigner(installed, {
      flags: [
        ...[...switchedOn, '--x509-svid', 'true', '--token-pod-rate', '1000'],
        ...['--bundle-spiffe-address', `127.0.0.1:${bundlePort}`],
      ],
    });
    await endpoint.signer.ready();
  });
  after(() => controlPlane?.stop());

  /** A call over a connection of its own, with this client certificate. */
  async function callWith(
    credentials: ClientCredentials | undefined,
    more: { headers?: Record<string, string>; path?: string; body?: string; from?: TokenSigner } = {},
  ): Promise<Answer> {
    const { from = endpoint, path = '/jwt-svid', headers = {}, body = JSON.stringify({ audience }) } = more;
    const ca = pool.authorities.flatMap(({ certificate }) => certificate ?? []);
    const agent = new Agent({ ca, servername: 'localhost', maxCachedSessions: 0, ...credentials });
    try {
      return await from.call(
        { method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, body },
        agent,
      );
    } finally {
      agent.destroy();
    }
  }

  const reasonOf = async (credentials: ClientCredentials) =>
    (await callWith(credentials)).json.reason ?? 'Issued';

  /** For certificates that a test makes itself with the keys of the pool. */
  function factsOf({ metadata, spec }: Pod): CertificateFacts {
    return {
      authorities: pool.authorities,
      namespace: metadata.namespace ?? '',
      serviceAccount: { name: spec?.serviceAccountName ?? '', uid: 'service-account-uid' },
      pod: { name: metadata.name, uid: metadata.uid ?? '' },
      now: Math.floor(Date.now() / 1000),
    };
  }

  const podPath = ({ metadata }: Pod) => `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
  const deleteAtOnce = (pod: Pod) => controlPlane.request('DELETE', `${podPath(pod)}?gracePeriodSeconds=0`);
  const eventually = (what: string, credentials: ClientCredentials, reason: string) =>
    waitFor(`${reason} for ${what}`, async () => (await reasonOf(credentials)) === reason);

  it('the endpoint gives a JWT-SVID for a certificate of a request, and audits its serial number', async () => {
    const pod = await createPod(controlPlane);
    const credentials = await issuedTo(controlPlane, pod);
    const answer = await callWith(credentials);
    assert.equal(answer.status, 200, answer.text);
    const jwt = parseJwt(String(answer.json.access_token));
    assert.ok(jwt.ok);
    assert.equal(jwt.value.claims.sub, 'spiffe://example.org/ns/default/sa/default');
    const serial = new X509Certificate(credentials.cert).serialNumber.toLowerCase();
    const audited = await waitFor('the audit line', () =>
      endpoint.signer.lines().find((line) => line.credentialId === serial),
    );
    assert.deepEqual(
      [audited.outcome, audited.pod, audited.tokenId],
      ['Issued', { name: pod.metadata.name, uid: pod.metadata.uid }, jwt.value.claims.jti],
    );
  });

  it('token --certificate gets a JWT-SVID for the file that kubelet writes, and reports why it gets none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-bundle-'));
    try {
      const pod = await createPod(controlPlane);
      const { key, cert } = await issuedTo(controlPlane, pod);
      const file = async (name: string, content: string) => {
        await writeFile(join(folder, name), content);
        return join(folder, name);
      };
      const roots = await file(
        'roots.pem',
        pool.authorities.flatMap(({ certificate }) => certificate ?? []).join(''),
      );
      const get = (certificate: string, ...more: string[]) =>
        run([
          ...['token', '--endpoint', `https://localhost:${endpoint.port}/jwt-svid`, '--roots', roots],
          ...['--audience', audience, '--certificate', certificate, ...more],
        ]);
      const bundle = await file('credentials.pem', key + cert);
      const good = await get(bundle);
      assert.equal(good.code, 0, good.stderr);
      const jwt = parseJwt(good.stdout.trim());
      assert.equal(jwt.ok && jwt.value.claims.sub, 'spiffe://example.org/ns/default/sa/default');

      await deleteAtOnce(pod);
      await eventually('a deleted pod', { key, cert }, 'PodGone');
      const refused = await get(bundle);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /refused with status 400 \(invalid_request, PodGone\)/);
      const chainAlone = await get(await file('chain.pem', cert));
      assert.match(chainAlone.stderr, /holds no certificate with its private key/);
      assert.match((await get(bundle, bundle)).stderr, /both .* and --certificate are given/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('the Node.js library and the helper get a JWT-SVID by certificate and by ServiceAccount token', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-library-'));
    try {
      const pod = await createPod(controlPlane);
      const { key, cert } = await issuedTo(controlPlane, pod);
      const roots = pool.authorities.flatMap(({ certificate }) => certificate ?? []).join('');
      await writeFile(join(folder, 'credentials.pem'), key + cert);
      await writeFile(join(folder, 'roots.pem'), roots);
      await writeFile(join(folder, 'token'), await tokenFor(controlPlane, pod));
      const url = `https://localhost:${endpoint.port}`;
      const fetched = await run([
        'bundle',
        'fetch',
        `${url}/bundle`,
        '--trust-domain',
        'example.org',
        '--web-roots',
        join(folder, 'roots.pem'),
      ]);
      assert.equal(fetched.code, 0, fetched.stderr);
      await writeFile(join(folder, 'bundle.json'), fetched.stdout);

      await using source = await openX509Source(folder);
      await using bundles = await openBundleSource(folder, { 'example.org': 'bundle.json' });
      const byCertificate = createJwtSource({ endpoint: `${url}/jwt-svid`, credential: { source } });
      const byToken = createJwtSource({
        endpoint: `${url}/token`,
        credential: { tokenFile: join(folder, 'token'), bundles: source, trustDomain: 'example.org' },
      });
      for (const tokens of [byCertificate, byToken]) {
        const { token, id } = await tokens.get(audience);
        assert.equal(id.uri, 'spiffe://example.org/ns/default/sa/default');
        assert.equal(validateJwtSvid(token, audience, bundles).id.uri, id.uri);
        assert.equal((await tokens.get(audience)).token, token);
      }

      for (const tokenFile of [undefined, join(folder, 'token')]) {
        const out = join(folder, tokenFile ? 'by-token' : 'by-certificate');
        const config = {
          apiVersion: 'kubespiffe.io/v1alpha1',
          kind: 'HelperConfiguration',
          source: { credentials: folder, tokenEndpoint: url, ...(tokenFile && { tokenFile }) },
          folder: out,
          files: [
            { name: 'token', content: 'jwtSvid', audience },
            { name: 'jwks.json', content: 'jwks' },
          ],
        };
        const written = await run(['helper', '--once', '--config', '-'], { input: JSON.stringify(config) });
        assert.equal(written.code, 0, written.stderr);
        const token = await readFile(join(out, 'token'), 'utf8');
        assert.equal(
          validateJwtSvid(token, audience, bundles).id.uri,
          'spiffe://example.org/ns/default/sa/default',
        );
        const jwks = await readFile(join(out, 'jwks.json'), 'utf8');
        assert.equal(
          (await jwtVerify(token, createLocalJWKSet(JSON.parse(jwks)), { audience })).payload.sub,
          'spiffe://example.org/ns/default/sa/default',
        );
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  describeTokenCommands(() => ({ controlPlane, endpoint, bundlePort }));

  it('the endpoint still takes ServiceAccount tokens from clients without a certificate, both ways', async () => {
    const token = await tokenFor(controlPlane, await createPod(controlPlane));
    assert.equal((await endpoint.exchange(token)).status, 200);
    assert.equal((await callWith(undefined, { headers: { authorization: `Bearer ${token}` } })).status, 200);
  });

  it('the endpoint gives nothing to a request without any credential', async () => {
    const { status, json } = await callWith(undefined);
    assert.deepEqual([status, json.error, json.reason], [400, 'invalid_client', 'CredentialMissing']);
  });

  it('the endpoint refuses two credentials at once', async () => {
    const pod = await createPod(controlPlane);
    const credentials = await issuedTo(controlPlane, pod);
    const token = await tokenFor(controlPlane, pod);
    const bearer = await callWith(credentials, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(bearer.json.reason, 'CredentialsRepeated');
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      subject_token: token,
      audience,
    };
    const exchanged = await callWith(credentials, {
      path: '/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(form).toString(),
    });
    assert.equal(exchanged.json.reason, 'CredentialsRepeated');
    const certified = await callWith(credentials, {
      path: '/x509-svid',
      headers: { 'content-type': 'application/pkcs10', authorization: `Bearer ${token}` },
      body: 'whatever',
    });
    assert.equal(certified.json.reason, 'CredentialsRepeated');
  });

  it('the endpoint ends the JWT-SVID with the certificate, and gives none in its last half minute', async () => {
    const facts = factsOf(await createPod(controlPlane));
    const notAfter = facts.now + 90;
    const answer = await callWith(await aCertificate(facts, { notAfter }));
    const jwt = parseJwt(String(answer.json.access_token));
    assert.ok(jwt.ok, answer.text);
    assert.equal(jwt.value.claims.exp, notAfter);
    assert.equal(await reasonOf(await aCertificate(facts, { notAfter: facts.now + 20 })), 'TokenEndsTooSoon');
  });

  it('the endpoint gives nothing to the certificate of a deleted pod, nor when another pod has its name', async () => {
    const name = 'comes-again';
    const pod = await createPod(controlPlane, { name });
    const credentials = await issuedTo(controlPlane, pod);
    assert.equal(await reasonOf(credentials), 'Issued');
    await deleteAtOnce(pod);
    await eventually('a deleted pod', credentials, 'PodGone');
    const other = await createPod(controlPlane, { name });
    assert.notEqual(other.metadata.uid, pod.metadata.uid);
    await eventually('a pod that is another one now', credentials, 'PodReplaced');
    assert.equal(await reasonOf(await issuedTo(controlPlane, other)), 'Issued');
  });

  it('the endpoint gives nothing to the certificate of a finished pod', async () => {
    const pod = await createPod(controlPlane);
    const credentials = await issuedTo(controlPlane, pod);
    assert.equal(await reasonOf(credentials), 'Issued');
    await controlPlane.request('PATCH', `${podPath(pod)}/status`, { status: { phase: 'Succeeded' } });
    await eventually('a finished pod', credentials, 'PodFinished');
  });

  it('the endpoint refuses every bad certificate for its own reason, over real TLS', async () => {
    const pod = await createPod(controlPlane);
    const facts = factsOf(pod);
    assert.equal(await reasonOf(await aCertificate(facts)), 'Issued');
    const seen: [string, unknown][] = [];
    const expected: [string, string][] = [];
    for (const { name, code, make } of badCertificates(facts)) {
      const answer = await callWith(await make());
      assert.equal(answer.status, 400, `${name}: ${answer.text}`);
      seen.push([name, answer.json.reason]);
      expected.push([name, code]);
    }
    assert.deepEqual(seen, expected);
    assert.ok(expected.length >= 35);
  });

  it('the endpoint refuses a certificate like the one that it shows itself', async () => {
    const facts = factsOf(await createPod(controlPlane));
    const shown = await peerOf({});
    assert.equal(shown.subjectAltName?.includes('spiffe://example.org/kubespiffe/token-endpoint'), true);
    // Its key is in the memory of the signer alone; the same names under the same CA with a key of ours:
    const uris = ['spiffe://example.org/kubespiffe/token-endpoint'];
    const otherNames = [{ type: 'dns' as const, value: 'localhost' }];
    const alike = await aCertificate(facts, { uris, otherNames, pod: undefined });
    assert.equal(await reasonOf(alike), 'CertificateOfInfrastructure');
  });

  it('a refusal is reported on the pod once its certificate has proved the pod', async () => {
    const pod = await createPod(controlPlane);
    const credentials = await issuedTo(controlPlane, pod);
    const { json } = await callWith(credentials, { body: JSON.stringify({ audience: endpointAudience }) });
    assert.equal(json.reason, 'AudienceForbidden');
    await waitFor('the Event', async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = body as { items: { reason: string; regarding: { uid: string } }[] };
      return items.some(
        ({ reason, regarding }) => reason === 'AudienceForbidden' && regarding.uid === pod.metadata.uid,
      );
    });
  });

  async function peerOf(options: ConnectionOptions): Promise<X509Certificate> {
    const socket = await connected(options);
    const certificate = socket.getPeerX509Certificate();
    socket.destroy();
    assert.ok(certificate);
    return certificate;
  }

  async function connected(options: ConnectionOptions): Promise<TLSSocket> {
    const ca = pool.authorities.flatMap(({ certificate }) => certificate ?? []);
    const socket = connect({
      host: '127.0.0.1',
      port: endpoint.port,
      ca,
      servername: 'localhost',
      ...options,
    });
    await once(socket, 'secureConnect');
    return socket;
  }

  /** The answer to a request for a JWT-SVID over a connection that is there already. */
  async function askOver(socket: TLSSocket): Promise<string> {
    const body = JSON.stringify({ audience });
    socket.write(
      `POST /jwt-svid HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    );
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    return Buffer.concat(chunks).toString();
  }

  it('the endpoint resumes no TLS session, so that each connection proves the key again', async () => {
    const credentials = await issuedTo(controlPlane, await createPod(controlPlane));
    const first = await connected(credentials);
    let session = first.getSession();
    first.on('session', (given) => {
      session = given;
    });
    assert.match(await askOver(first), /^HTTP\/1\.1 200 /);
    // With the session of the good connection, and neither key nor certificate.
    const second = await connected({ session });
    assert.equal(second.isSessionReused(), false);
    assert.match(await askOver(second), /CredentialMissing/);
  });

  it('the endpoint resumes no TLS session of OpenSSL', async () => {
    const credentials = await issuedTo(controlPlane, await createPod(controlPlane));
    const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-session-'));
    try {
      const file = (name: string) => join(folder, name);
      await writeFile(file('key.pem'), credentials.key);
      await writeFile(file('chain.pem'), credentials.cert);
      const at = ['s_client', '-connect', `127.0.0.1:${endpoint.port}`, '-servername', 'localhost'];
      const own = ['-cert', file('chain.pem'), '-key', file('key.pem')];
      const first = await openssl([...at, ...own, '-sess_out', file('session')]);
      assert.match(first, /^New, TLSv1\.3/m);
      const again = await openssl([...at, '-sess_in', file('session')]).catch(String);
      assert.doesNotMatch(again, /^Reused, /m);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('the endpoint asks for a certificate only if that is enabled, and a bundle endpoint never does', async () => {
    const credentials = await issuedTo(controlPlane, await createPod(controlPlane));
    const usual = await startTokenSigner(installed, {
      replica: 'signer-b',
      flags: ['--leaf-pod-identity', 'true'],
    });
    await usual.signer.ready();
    try {
      const answer = await callWith(credentials, { from: usual });
      assert.deepEqual([answer.status, answer.json.reason], [400, 'TokenMissing']);
      const asks = await Promise.all([usual.port, endpoint.port, bundlePort].map(asksForCertificate));
      assert.deepEqual(asks, [false, true, false]);
    } finally {
      usual.agent.destroy();
      await usual.signer.child.stop();
    }
  });

  it('the endpoint refuses at once when the CA of the certificate is tainted', async () => {
    const facts = factsOf(await createPod(controlPlane));
    const credentials = await aCertificate(facts, {}, 'trusted');
    assert.equal(await reasonOf(credentials), 'Issued');
    const tainted = pool.authorities.map((each) =>
      each.id === 'trusted' ? { ...each, tainted: true } : each,
    );
    pool = { ...pool, sequence: pool.sequence + 1, authorities: tainted };
    await putPool(controlPlane, pool);
    await eventually('a certificate of a tainted CA', credentials, 'CertificateTainted');
    assert.equal(await reasonOf(await aCertificate(facts)), 'Issued');
  });

  it('the endpoint writes neither certificates nor keys nor tokens anywhere', () => {
    assert.doesNotMatch(endpoint.signer.output(), /BEGIN (CERTIFICATE|.*PRIVATE KEY)|eyJ[\w-]{20,}\./);
  });
});
