import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose';
import { Agent, fetch as undiciFetch } from 'undici';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { startConnectProxy } from '../cluster/connect-proxy.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { openPySpiffe, type PySpiffe } from '../judges/py-spiffe.ts';
import { run } from '../tools/run.ts';
import { installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { createPod } from './workloads.ts';

const manifests = path.join(import.meta.dirname, '../../manifests');
const trustDomain = 'example.org';
const endpointId = `spiffe://${trustDomain}/kubespiffe/token-endpoint`;
const audience = 'https://api.example.org';
const issuer = 'https://issuer.example.org';

/** What a pod, a receiver and another trust domain do with the endpoint, by our command and by others' libraries. */
describe('`kubespiffe token` and `kubespiffe bundle` at the token endpoint of a signer', () => {
  let controlPlane: ControlPlane;
  let judges: Judges;
  let pySpiffe: PySpiffe;
  let signer: SignerProcess;
  let document: PoolDocument;
  let pool: Pool;
  let url = '';
  let dir = '';

  before(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'kubespiffe-token-'));
    judges = await openJudges();
    pySpiffe = await openPySpiffe();
    controlPlane = await startControlPlane();
    const kubeconfig = await installSigner(controlPlane);
    await controlPlane.kubectl(['apply', '-f', path.join(manifests, 'token-endpoint/rbac.yaml')]);
    const now = Math.floor(Date.now() / 1000);
    document = newPool(
      trustDomain,
      await createAuthority({ id: 'ca-1', trustDomain, now }),
      await createJwtAuthority({ key: 'es256', now }),
      await createJwtAuthority({ key: 'rs256', now }),
    );
    pool = compiled(document);
    await putPool(controlPlane, document);
    file('roots.pem', rootsPem(pool)?.bytes ?? '');
    const [port] = await freePorts(1);
    url = `https://localhost:${port}`;
    const settings = [
      ['--token-address', `127.0.0.1:${port}`],
      ['--token-names', 'localhost,tokens.example'],
      ['--jwt-issuer', issuer],
      ['--x509-svid', 'true'],
    ];
    signer = await startSigner({ kubeconfig, flags: settings.flat() });
    await signer.ready();
  });
  after(async () => {
    await signer?.child.stop();
    rmSync(dir, { recursive: true, force: true });
    await controlPlane?.stop();
  });

  function compiled(from: PoolDocument): Pool {
    const result = compilePool(from, trustDomain);
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    return result.pool;
  }

  function file(name: string, content: string | Uint8Array): string {
    const target = path.join(dir, name);
    writeFileSync(target, content);
    return target;
  }

  /** A ServiceAccount token of a pod, as kubelet projects it. */
  async function psatOf(name: string, audiences = [endpointId]): Promise<string> {
    const pod = await createPod(controlPlane, { name });
    const { status, body } = await controlPlane.request(
      'POST',
      '/api/v1/namespaces/default/serviceaccounts/default/token',
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences,
          expirationSeconds: 600,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid: pod.metadata.uid },
        },
      },
    );
    assert.equal(status, 201, JSON.stringify(body));
    return (body as { status: { token: string } }).status.token;
  }

  const exchange = (psat: string) =>
    run(
      ['token', '--endpoint', `${url}/token`, '--roots', path.join(dir, 'roots.pem'), '--audience', audience],
      { input: psat },
    );
  const fetchBundle = (...more: string[]) =>
    run(['bundle', 'fetch', `${url}/bundle`, '--trust-domain', trustDomain, ...more]);
  const webRoots = () => ['--web-roots', path.join(dir, 'roots.pem')];

  it('a pod gets a token, which the command, go-spiffe, jose and py-spiffe accept by what the endpoint serves', async () => {
    const got = await exchange(`${await psatOf('web')}\n`);
    assert.equal(got.code, 0, got.stderr);
    const token = got.stdout.trim();

    const bundle = await fetchBundle(...webRoots());
    assert.equal(bundle.code, 0, bundle.stderr);
    assert.equal(bundle.stdout, spiffeBundleDocument(pool, 300)?.bytes.toString());
    const verified = await run(
      ['token', '--verify', '--trust-domain', trustDomain, '--audience', audience, '-o', 'json'].concat([
        '--bundle',
        file('bundle.json', bundle.stdout),
      ]),
      { input: token },
    );
    assert.equal(verified.code, 0, verified.stderr);
    const { id, header, claims } = JSON.parse(verified.stdout);
    assert.equal(id, 'spiffe://example.org/ns/default/sa/default');
    assert.deepEqual(header, { alg: 'ES256', kid: pool.activeJwt('ES256')?.kid, typ: 'JWT' });
    assert.equal(claims.iss, issuer);

    const verdict = await judges.jwtSvid({
      token,
      audience,
      bundle: { trustDomain, content: bundle.stdout },
    });
    assert.deepEqual(verdict.errors, []);
    assert.equal(verdict.facts.id, id);

    const agent = new Agent({ connect: { ca: rootsPem(pool)?.bytes.toString() ?? '' } });
    const keys = createRemoteJWKSet(new URL(`${url}/keys`), {
      [customFetch]: (target, options) =>
        undiciFetch(target, { ...options, dispatcher: agent } as never) as unknown as Promise<Response>,
    });
    const { payload } = await jwtVerify(token, keys, { audience, issuer, subject: id });
    assert.equal(payload.jti, claims.jti);

    const jwks = await (await undiciFetch(`${url}/keys`, { dispatcher: agent })).text();
    const python = await pySpiffe.judge({ trustDomain, jwks, token, audience });
    assert.deepEqual(python, {
      ok: true,
      errors: [],
      facts: {
        kids: pool.jwt
          .map(({ kid }) => kid)
          .sort()
          .join(' '),
        id,
        audience,
      },
    });
    await agent.close();
  });

  it('the endpoint is reached through the proxy of the environment', async () => {
    const { port } = new URL(url);
    const proxy = await startConnectProxy(Number(port));
    const { code, stderr } = await run(
      [
        ...['token', '--endpoint', `https://tokens.example:${port}/token`, '--audience', audience],
        ...['--roots', path.join(dir, 'roots.pem')],
      ],
      { input: await psatOf('proxied'), env: { HTTPS_PROXY: `http://${proxy.address}` } },
    );
    assert.equal(code, 0, stderr);
    assert.deepEqual(proxy.asked, [{ authority: `tokens.example:${port}`, isAllowed: true }]);
    await proxy.stop();
  });

  it('the command prints why the endpoint refuses a token, and not the token', async () => {
    const psat = await psatOf('other', ['https://kubernetes.default.svc', 'x']);
    const { code, stdout, stderr } = await exchange(psat);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^error: the endpoint refused with status 400 \(invalid_request, \w+\): .+\n/);
    assert.ok(!stderr.includes(psat.slice(0, 40)));
  });

  const certify = (psat: string, folder: string, ...more: string[]) =>
    run(
      [
        'token',
        '--endpoint',
        `${url}/x509-svid`,
        '--roots',
        path.join(dir, 'roots.pem'),
        '--x509',
        folder,
        ...more,
      ],
      { input: psat },
    );
  const x509Audience = `spiffe://${trustDomain}/kubespiffe/x509-svid`;
  const content = (folder: string, name: string) => readFileSync(path.join(folder, name), 'utf8');

  for (const keyType of ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'ed25519', 'rsa-3072']) {
    it(`a pod gets a certificate for its ${keyType} key, which go-spiffe accepts`, async () => {
      const folder = path.join(dir, keyType, 'svid');
      const got = await certify(await psatOf(keyType, [x509Audience]), folder, '--key-type', keyType);
      assert.equal(got.code, 0, got.stderr);
      assert.match(got.stdout, /^SPIFFE ID {3}spiffe:\/\/example\.org\/ns\/default\/sa\/default\nValid /);
      const verdict = await judges.x509Svid({
        chain: content(folder, 'chain.pem'),
        bundles: { [trustDomain]: content(folder, 'roots.pem') },
        key: content(folder, 'key.pem'),
      });
      assert.deepEqual(verdict.errors, []);
      assert.equal(
        content(folder, 'credentials.pem'),
        content(folder, 'key.pem') + content(folder, 'chain.pem'),
      );
    });
  }

  it('the key of a certificate is readable for its owner only, and each certificate has another key', async () => {
    const folder = path.join(dir, 'twice');
    const psat = await psatOf('twice', [x509Audience]);
    const first = await certify(psat, folder, '-o', 'json');
    const { spiffeId, files } = JSON.parse(first.stdout);
    assert.equal(spiffeId, 'spiffe://example.org/ns/default/sa/default');
    const key = content(folder, 'key.pem');
    chmodSync(path.join(folder, 'key.pem'), 0o644);
    assert.equal((await certify(psat, folder)).code, 0);
    assert.notEqual(content(folder, 'key.pem'), key);
    const modes = (files as string[]).map((file) => [path.basename(file), statSync(file).mode & 0o777]);
    assert.deepEqual(modes, [
      ['roots.pem', 0o644],
      ['chain.pem', 0o644],
      ['key.pem', 0o600],
      ['credentials.pem', 0o600],
    ]);
    assert.deepEqual(readdirSync(folder).sort(), modes.map(([name]) => name).sort());
    assert.equal(statSync(folder).mode & 0o777, 0o700);
  });

  it('a certificate that is refused leaves the folder unchanged, with the reason and without the token', async () => {
    const folder = path.join(dir, 'refused');
    const psat = await psatOf('refused');
    const refused = await certify(psat, folder);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^error: .*status 400 \(invalid_request, AudienceWrong\)/);
    assert.ok(!(refused.stderr + refused.stdout).includes(psat.slice(0, 40)));
    assert.equal(existsSync(folder), false);
    const nowhere = await certify(await psatOf('nowhere', [x509Audience]), path.join(dir, 'roots.pem'));
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^error: .*roots\.pem: .*EEXIST.*\nhint: give a folder/);
  });

  it('both federation profiles get the bundle, by the command and by go-spiffe', async () => {
    const pem = rootsPem(pool)?.bytes.toString() ?? '';
    const spiffeFlags = ['--profile', 'https_spiffe', '--endpoint-id', endpointId];
    const fetched = await fetchBundle(...spiffeFlags, '--endpoint-bundle', path.join(dir, 'roots.pem'));
    assert.equal(fetched.code, 0, fetched.stderr);
    for (const profile of [
      { name: 'https_web', roots: pem },
      { name: 'https_spiffe', endpointId, bundles: { [trustDomain]: pem } },
    ] as const) {
      const verdict = await judges.federation({ trustDomain, url: `${url}/bundle`, profile });
      assert.deepEqual(verdict.errors, []);
      assert.equal(verdict.facts.sequence, '1');
      assert.equal(
        verdict.facts.kids,
        pool.jwt
          .map(({ kid }) => kid)
          .sort()
          .join(' '),
      );
    }
  });

  it('a key that is added later is published at once and signs only after its time', async () => {
    const now = Math.floor(Date.now() / 1000);
    const key = { ...(await createJwtAuthority({ key: 'es256', now: now + 1 })), id: 'jwt-es256-2' };
    const authorities = document.authorities.map((each) =>
      each.kind === 'JWT-ES256' ? { ...each, state: 'retiring' as const } : each,
    );
    const changed = { ...document, sequence: 2, authorities: [...authorities, key] };
    await putPool(controlPlane, changed);
    const kid = compiled(changed).activeJwt('ES256')?.kid ?? '';
    await waitFor('the new key to be published', async () =>
      (await fetchBundle(...webRoots())).stdout.includes(kid),
    );
    const refused = await exchange(await psatOf('early'));
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /status 503 .*SigningUnavailable/);
    assert.match(refused.stderr, /\nhint: try again in \d+ s\n/);

    // As if it had been published long ago, in a pool that is older still.
    const hour = (back: number) => new Date((now - back * 3600) * 1000).toISOString();
    const aged = changed.authorities.map((each) => ({
      ...each,
      publishedAt: hour(each.id === key.id ? 1 : 2),
    }));
    await putPool(controlPlane, { ...changed, sequence: 3, authorities: aged });
    const psat = await psatOf('late');
    let token = '';
    await waitFor('the new key to sign', async () => {
      token = (await exchange(psat)).stdout.trim();
      return token !== '';
    });
    const decoded = await run(['token', '--decode', '-o', 'json'], { input: token });
    assert.ok(decoded.stdout.includes(kid));
  });
});
