import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { decodeJwt } from 'jose';
import type { Pod } from '../../signer/kube/types.ts';
import { type ControlPlane, defaultIssuer, startControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { claimsOf } from '../token/caller/bad-tokens.ts';
import { putPool } from './installation.ts';
import { startSigner } from './signer-process.ts';
import {
  type Answer,
  assertRefused,
  factsOf,
  installTokenEndpoint,
  jwtIssuer,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

const formerIssuer = 'https://former.example';

/** What the token endpoint does when something around it fails or is set up otherwise. */
describe('the token endpoint during outages', () => {
  let controlPlane: ControlPlane;
  let proxy: FaultProxy;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;

  before(async () => {
    controlPlane = await startControlPlane({
      tokenAlgorithm: 'RS256',
      serviceAccountIssuers: [defaultIssuer, formerIssuer],
    });
    proxy = await startFaultProxy({
      url: controlPlane.url,
      authority: controlPlane.authority.certificate,
    });
    installed = await installTokenEndpoint(controlPlane, { server: proxy.url, authority: proxy.authority });
    endpoint = await startTokenSigner(installed, {
      flags: [
        ...['--token-pod-rate', '10000', '--token-address-rate', '10000'],
        ...['--service-account-issuers', formerIssuer],
      ],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await proxy?.stop();
    await controlPlane?.stop();
  });

  afterEach(() => proxy.clear());

  const aPod = () => createPod(controlPlane);
  const aToken = async (pod?: Pod) => tokenFor(controlPlane, pod ?? (await aPod()));

  it('the token endpoint takes tokens of RS256, as most clusters sign them', async () => {
    assert.equal((await endpoint.exchange(await aToken())).status, 200);
  });

  for (const status of [500, 503]) {
    it(`the token endpoint answers 503 with Retry-After while TokenReview answers ${status}, and recovers by itself`, async () => {
      const token = await aToken();
      const rule = proxy.add({ method: 'POST', path: /tokenreviews/, fault: { kind: 'answer', status } });
      const answer = await endpoint.exchange(token);
      assert.deepEqual([answer.status, answer.json.reason], [503, 'ReviewUnavailable'], answer.text);
      assert.ok(Number(answer.headers['retry-after']) > 0);
      rule.remove();
      assert.equal((await endpoint.exchange(token)).status, 200);
    });
  }

  it('the token endpoint answers within seconds while TokenReview hangs', async () => {
    const rule = proxy.add({ method: 'POST', path: /tokenreviews/, fault: { kind: 'hang' } });
    const startedAt = performance.now();
    const answer = await endpoint.exchange(await aToken());
    assert.deepEqual([answer.status, answer.json.reason], [503, 'ReviewUnavailable']);
    assert.ok(performance.now() - startedAt < 8_000);
    rule.remove();
  });

  it('the token endpoint asks TokenReview for its own audience only, and once for a token that comes often', async () => {
    proxy.forget();
    const token = await aToken();
    for (let i = 0; i < 10; i += 1) assert.equal((await endpoint.exchange(token)).status, 200);
    assert.equal(proxy.count({ method: 'POST', path: /tokenreviews/ }), 1);
  });

  it('the token endpoint looks up a pod live when the watch does not show it', async () => {
    for (const watch of proxy.watches({ path: '/api/v1/pods' })) watch.silence();
    const pod = await aPod();
    const token = await aToken(pod);
    assert.equal((await endpoint.exchange(token)).status, 200);
    const rule = proxy.add({ method: 'GET', path: /\/pods\//, fault: { kind: 'answer', status: 500 } });
    const answer = await endpoint.exchange(token);
    assert.deepEqual([answer.status, answer.json.reason], [503, 'PodUnavailable']);
    rule.remove();
    await controlPlane.request(
      'DELETE',
      `/api/v1/namespaces/default/pods/${pod.metadata.name}?gracePeriodSeconds=0`,
    );
    // The review still counts, and the watch tells nothing: the live look does.
    const gone = await endpoint.exchange(token);
    assert.deepEqual([gone.status, gone.json.reason], [400, 'PodGone']);
    proxy.resetConnections();
  });

  it('the token endpoint reports what is missing when RBAC does not allow the review', async () => {
    const binding = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubespiffe-token-endpoint';
    const { body } = await controlPlane.request('GET', binding);
    await controlPlane.request('DELETE', binding);
    const answer = await waitFor('the refusal', async () => {
      const tried = await endpoint.exchange(await aToken());
      return tried.json.reason === 'ReviewForbidden' && tried;
    });
    assert.equal(answer.status, 503);
    assert.match(String(answer.json.error_description), /manifests\/token-endpoint/);
    const { roleRef, subjects, metadata } = body as {
      roleRef: object;
      subjects: object[];
      metadata: { name: string };
    };
    await controlPlane.request('POST', binding.replace(/\/[^/]+$/, ''), {
      metadata: { name: metadata.name },
      roleRef,
      subjects,
    });
    await waitFor(
      'the right to be back',
      async () => (await endpoint.exchange(await aToken())).status === 200,
    );
  });

  it('the token endpoint takes the tokens of a further issuer that is configured, and of no other', async () => {
    const facts = await factsOf(controlPlane, await aPod());
    const rs256 = async (iss: string) => {
      const { SignJWT } = await import('jose');
      const { iss: _iss, ...claims } = claimsOf(facts, { iss });
      return new SignJWT({ ...claims, iss })
        .setProtectedHeader({ alg: 'RS256', kid: facts.kid })
        .sign(facts.key);
    };
    const former = await endpoint.exchange(await rs256(formerIssuer));
    assert.equal(former.status, 200, former.text);
    const other = await endpoint.exchange(await rs256('https://other.example'));
    assert.equal(other.json.reason, 'IssuerUnknown');
  });

  it('the token endpoint works through a change of the issuer, without a restart', async () => {
    const nextIssuer = 'https://next.example';
    const issuerOf = (token: string) => decodeJwt(token).iss;
    const before = await aToken();
    await controlPlane.killApiServer();
    await controlPlane.startApiServer({ serviceAccountIssuers: [nextIssuer, defaultIssuer] });
    const pod = await aPod();
    const after = await aToken(pod);
    assert.deepEqual([before, after].map(issuerOf), [defaultIssuer, nextIssuer]);
    await waitFor('a token of the new issuer', async () => (await endpoint.exchange(after)).status === 200);
    // What kubelet had projected before lasts until it ends, and so does the word of the API server on it.
    assert.equal((await endpoint.exchange(before)).status, 200);
    const asAudience = await endpoint.exchange(after, { audience: nextIssuer });
    assert.equal(asAudience.json.reason, 'AudienceForbidden');
  });

  describe('the token endpoint with a pool that changes', () => {
    after(async () => putPool(controlPlane, { ...installed.pool, sequence: 99 }));
    const without = (different: object) =>
      installed.pool.authorities.map((each) =>
        each.kind === 'JWT-ES256' ? { ...each, ...different } : each,
      );
    const refusedAs = (pattern: RegExp) =>
      waitFor(`a refusal with ${pattern}`, async () => {
        const answer = await endpoint.exchange(await aToken());
        return (
          answer.json.reason === 'SigningUnavailable' && pattern.test(String(answer.json.error_description))
        );
      });

    it('the token endpoint signs nothing with a tainted key, and reports that', async () => {
      await putPool(controlPlane, {
        ...installed.pool,
        sequence: 2,
        authorities: without({ tainted: true }),
      });
      await refusedAs(/is tainted and must not sign/);
    });

    it('the token endpoint signs nothing with a key that is too new for its verifiers', async () => {
      const publishedAt = new Date(Date.now() + 60_000).toISOString().replace(/\.\d+Z/, 'Z');
      await putPool(controlPlane, { ...installed.pool, sequence: 3, authorities: without({ publishedAt }) });
      await refusedAs(/so recent that not all verifiers know the key/);
    });

    it('the token endpoint signs nothing without a key, and still publishes what verifies', async () => {
      const authorities = installed.pool.authorities.filter(({ kind }) => kind === 'X509');
      await putPool(controlPlane, { ...installed.pool, sequence: 4, authorities });
      await refusedAs(/no JWT-ES256 authority is active/);
      const bundle = await endpoint.call({ path: '/bundle' });
      assert.equal(bundle.json.spiffe_sequence, 4);
      assert.equal((bundle.json.keys as unknown[]).length, 1);
    });
  });

  /** TLS 1.2 where it is switched on: with forward secrecy and authenticated ciphers, and with no others. */
  async function speaksTls12Safely(port: number): Promise<void> {
    const ca = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
    const options = { port, host: '127.0.0.1', ca, servername: 'localhost', maxVersion: 'TLSv1.2' } as const;
    const good = connect(options);
    await once(good, 'secureConnect');
    assert.equal(good.getProtocol(), 'TLSv1.2');
    assert.match(good.getCipher().name, /^ECDHE-ECDSA-.*(GCM|POLY1305)/);
    good.destroy();
    const weak = connect({ ...options, ciphers: 'ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA' });
    const [error] = (await once(weak, 'error')) as [NodeJS.ErrnoException];
    assert.match(String(error.code), /HANDSHAKE_FAILURE/);
  }

  it('every replica serves the documents of the token endpoint, with the same bytes', async () => {
    const other = await startTokenSigner(installed, { replica: 'signer-b', flags: ['--token-tls', '1.2'] });
    await other.signer.ready();
    await speaksTls12Safely(other.port);
    const token = await aToken();
    const answers = [await endpoint.exchange(token), await other.exchange(token)];
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
    const subjects = answers.map(({ json }) => decodeJwt(String(json.access_token)).sub);
    assert.equal(subjects[0], subjects[1]);
    for (const path of ['/keys', '/bundle', '/roots.pem', '/.well-known/openid-configuration']) {
      const [one, two] = [await endpoint.call({ path }), await other.call({ path })];
      assert.equal(one.text, two.text);
      assert.equal(one.headers.etag, two.headers.etag);
    }
    // A connection that is kept must not keep the process.
    await other.signer.child.stop();
    assert.equal(await other.signer.child.exited, 'exit code 0');
    assert.match(other.signer.output(), /"signer ends"/);
    other.agent.destroy();
  });

  it('the token endpoint limits the requests of an address, which is only counted', async () => {
    const other = await startTokenSigner(installed, {
      replica: 'signer-d',
      flags: ['--token-address-rate', '1'],
    });
    await other.signer.ready();
    const token = await aToken();
    const answers: Answer[] = [];
    for (let i = 0; i < 3; i += 1) answers.push(await other.exchange(token));
    for (const path of ['/keys', '/%ff']) answers.push(await other.call({ path }));
    const limited = answers.filter(({ status }) => status === 429);
    assert.ok(limited.length >= 2, `${limited.length} of 5`);
    for (const answer of limited) {
      assertRefused(answer, 'AddressLimited', 429, 'temporarily_unavailable');
      assert.ok(Number(answer.headers['retry-after']) > 0);
    }
    const counted = await Promise.all(
      ['kubespiffe_tokens_total', 'kubespiffe_other_refusals_total'].map((name) =>
        other.signer.metric(name, { reason: 'AddressLimited' }),
      ),
    );
    assert.equal((counted[0] ?? 0) + (counted[1] ?? 0), limited.length);
    assert.ok(!other.signer.output().includes('AddressLimited'));
    other.agent.destroy();
    await other.signer.child.stop();
  });

  it('a replica that has not confirmed its pool for half a minute signs no token', {
    timeout: 180_000,
  }, async () => {
    const token = await aToken();
    assert.equal((await endpoint.exchange(token)).status, 200);
    proxy.add({ path: /\/secrets/, fault: { kind: 'hang' } });
    for (const watch of proxy.watches({ path: '/secrets' })) watch.silence();
    await waitFor(
      'the refusal',
      async () => {
        const answer = await endpoint.exchange(await aToken());
        return /has not confirmed the Secret for 30 s/.test(String(answer.json.error_description));
      },
      { timeoutMs: 60_000, everyMs: 1_000 },
    );
    proxy.clear();
    proxy.resetConnections();
    await waitFor('tokens again', async () => (await endpoint.exchange(await aToken())).status === 200);
  });

  it('the token endpoint does not start with an audience of the API server', async () => {
    const { body } = await controlPlane.request('GET', '/.well-known/openid-configuration');
    const signer = await startSigner({
      kubeconfig: installed.kubeconfig,
      replica: 'signer-c',
      flags: [
        ...['--token-address', '127.0.0.1:0', '--jwt-issuer', jwtIssuer],
        ...['--token-audience', (body as { issuer: string }).issuer],
      ],
    });
    await waitFor('the signer to end', () => signer.child.hasExited());
    assert.equal(await signer.child.exited, 'exit code 1');
    assert.match(signer.output(), /tokenAudience: .* is an audience of the API server itself/);
  });

  it('the token endpoint starts by serviceAccountIssuers if RBAC forbids the discovery, and reports if it is not set', async () => {
    const bindings = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
    for (const name of ['system:service-account-issuer-discovery', 'kubespiffe-issuer-discovery']) {
      assert.equal((await controlPlane.request('DELETE', `${bindings}/${name}`)).status, 200);
    }
    const closed = await startTokenSigner(installed, { replica: 'signer-d' });
    const line = await waitFor('the reason', async () => {
      const { text } = await closed.signer.readiness();
      return /^\[-\]token-endpoint .*forbids.*$/m.exec(text)?.[0];
    });
    assert.match(line, /bind the ClusterRole system:service-account-issuer-discovery/);
    assert.match(line, /name the issuer in the setting serviceAccountIssuers/);
    closed.agent.destroy();
    await closed.signer.child.stop();

    const open = await startTokenSigner(installed, {
      replica: 'signer-e',
      flags: ['--service-account-issuers', String(decodeJwt(await aToken()).iss)],
    });
    await open.signer.ready();
    assert.equal((await open.exchange(await aToken())).status, 200);
    // One line for each state, however often it is met.
    assert.equal((await open.exchange(await aToken())).status, 200);
    const lines = open.signer.output().split('\n');
    for (const said of [
      'only the issuers of the setting',
      'keys of ServiceAccount tokens could not be read',
    ]) {
      const [warning, ...more] = lines.filter((each) => each.includes(said));
      assert.match(warning ?? '', /"level":"warn".*system:service-account-issuer-discovery/);
      assert.deepEqual(more, []);
    }
    open.agent.destroy();
    await open.signer.child.stop();
  });
});
