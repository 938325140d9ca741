import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import { createAuthority } from '../../signer/authority/create.ts';
import type { Pod } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { badTokens, claimsOf, headerOf, refusedByReview, signed } from '../token/caller/bad-tokens.ts';
import { putPool } from './installation.ts';
import {
  type Answer,
  assertRefused,
  endpointAudience,
  factsOf,
  installTokenEndpoint,
  jwtIssuer,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { create, createPod } from './workloads.ts';

const audience = 'https://api.example.com';

/** The token endpoint of a signer process, on a real API server. */
describe('the token endpoint', () => {
  let controlPlane: ControlPlane;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;

  before(async () => {
    controlPlane = await startControlPlane();
    installed = await installTokenEndpoint(controlPlane);
    endpoint = await startTokenSigner(installed, {
      flags: ['--token-address-rate', '100000', '--jwt-rs256-audiences', 'https://cloud.example.com'],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await controlPlane?.stop();
  });

  const podPath = (pod: Pod) => `/api/v1/namespaces/${pod.metadata.namespace}/pods/${pod.metadata.name}`;

  async function verified(answer: Answer, expectedAudience = audience) {
    assert.equal(answer.status, 200, answer.text);
    const keys = (await endpoint.call({ path: '/keys' })).json as unknown as JSONWebKeySet;
    return jwtVerify(String(answer.json.access_token), createLocalJWKSet(keys), {
      issuer: jwtIssuer,
      audience: expectedAudience,
    });
  }

  describe('a good request', () => {
    it('a good request gets a JWT-SVID with the SPIFFE ID of the certificate, which jose verifies', async () => {
      const pod = await createPod(controlPlane);
      const answer = await endpoint.exchange(await tokenFor(controlPlane, pod));
      const { payload, protectedHeader } = await verified(answer);
      assert.equal(payload.sub, 'spiffe://example.org/ns/default/sa/default');
      assert.deepEqual(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ']);
      assert.equal(protectedHeader.typ, 'JWT');
      assert.equal(protectedHeader.alg, 'ES256');
      assert.deepEqual(Object.keys(payload).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'nbf', 'sub']);
      assert.equal(payload.nbf, payload.iat);
      assert.equal(Number(payload.exp) - Number(payload.iat), 310);
    });

    it('a good request is answered as RFC 8693 says', async () => {
      const pod = await createPod(controlPlane);
      const answer = await endpoint.exchange(await tokenFor(controlPlane, pod));
      const { access_token: _token, ...rest } = answer.json;
      assert.deepEqual(rest, {
        issued_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        token_type: 'Bearer',
        expires_in: 300,
      });
      assert.equal(answer.headers['cache-control'], 'no-store');
      assert.match(String(answer.headers['content-type']), /^application\/json/);
    });

    it('a good request may use the short form, with the token as Bearer', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod);
      const answer = await endpoint.call({
        method: 'POST',
        path: '/jwt-svid',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ audience }),
      });
      const { payload } = await verified(answer);
      assert.equal(payload.sub, 'spiffe://example.org/ns/default/sa/default');
    });

    it('a good request gets RS256 for an audience that needs it', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod);
      const answer = await endpoint.exchange(token, { audience: 'https://cloud.example.com' });
      await verified(answer, 'https://cloud.example.com');
      assert.equal(decodeProtectedHeader(String(answer.json.access_token)).alg, 'RS256');
    });

    it('a repeated request needs no further review, and is counted as such', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod);
      const reviews = () => endpoint.signer.metric('kubespiffe_token_reviews_total', { result: 'good' });
      await endpoint.exchange(token);
      const once = await reviews();
      for (let i = 0; i < 5; i += 1) await verified(await endpoint.exchange(token));
      assert.equal(await reviews(), once);
    });

    it('a good request leaves an audit line with caller and result, and no token', async () => {
      const pod = await createPod(controlPlane);
      const answer = await endpoint.exchange(await tokenFor(controlPlane, pod));
      const { payload } = await verified(answer);
      const line = await waitFor('the audit line', () =>
        endpoint.signer.lines().find(({ tokenId }) => tokenId === payload.jti),
      );
      assert.partialDeepStrictEqual(line, {
        audit: true,
        event: 'token',
        outcome: 'Issued',
        namespace: 'default',
        pod: { name: pod.metadata.name, uid: pod.metadata.uid },
        spiffeId: payload.sub,
        audiences: [audience],
        notAfter: payload.exp,
      });
    });

    it('a JWT-SVID never outlives the ServiceAccount token of its request', async () => {
      const pod = await createPod(controlPlane);
      const facts = await factsOf(controlPlane, pod);
      const exp = facts.now + 90;
      const answer = await endpoint.exchange(signed(facts.key, headerOf(facts), claimsOf(facts, { exp })));
      const { payload } = await verified(answer);
      assert.equal(payload.exp, exp);
      const short = signed(facts.key, headerOf(facts), claimsOf(facts, { exp: facts.now + 25 }));
      assertRefused(await endpoint.exchange(short), 'TokenEndsTooSoon');
    });
  });

  describe('a bad token', () => {
    it('each bad token of the table is refused with its code, although the key of the API server signed it', async () => {
      const facts = await factsOf(controlPlane, await createPod(controlPlane));
      for (const { name, token, code } of badTokens(facts)) {
        if (token.length > 60_000) continue;
        const answer = await endpoint.exchange(token);
        assert.equal(answer.json.reason, code, `${name}: ${answer.text}`);
        assertRefused(answer, code);
      }
    });

    it('a bad token is refused that only the API server can recognise', async () => {
      const facts = await factsOf(controlPlane, await createPod(controlPlane));
      for (const { name, token, code } of refusedByReview(facts)) {
        const answer = await endpoint.exchange(token);
        assert.equal(answer.json.reason, code, `${name}: ${answer.text}`);
      }
    });

    it('a token for the API server itself is refused', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod, { audiences: [] });
      assertRefused(await endpoint.exchange(token), 'AudienceWrong');
    });

    it('a token for another audience is reported in an Event on its pod, and the audit line names the pod', async () => {
      const pod = await createPod(controlPlane);
      const { name, uid } = pod.metadata;
      const token = await tokenFor(controlPlane, pod, { audiences: ['vault'] });
      assertRefused(await endpoint.exchange(token), 'AudienceWrong');
      const isOfPod = (line: Record<string, unknown>) => (line.pod as { uid?: string })?.uid === uid;
      const line = await waitFor('the audit line', () => endpoint.signer.lines().find(isOfPod));
      assert.partialDeepStrictEqual(line, {
        ...{ audit: true, event: 'token', outcome: 'Denied', reason: 'AudienceWrong' },
        ...{ namespace: 'default', pod: { name, uid }, address: '127.0.0.1' },
      });
      const event = await waitFor('the Event', async () => {
        const { body } = await controlPlane.request(
          'GET',
          '/apis/events.k8s.io/v1/namespaces/default/events',
        );
        const { items } = body as { items: { reason: string; note: string; regarding: { uid: string } }[] };
        return items.find(({ regarding }) => regarding.uid === uid);
      });
      assert.equal(event.reason, 'AudienceWrong');
      assert.match(event.note, /project one with the audience spiffe:.*token-endpoint and no other/);
    });

    it('an unverified token for another audience causes no Event on the pod that it names', async () => {
      const pod = await createPod(controlPlane);
      const facts = await factsOf(controlPlane, pod);
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const forged = signed(
        privateKey,
        headerOf(facts, { kid: 'no-key-of-the-cluster' }),
        claimsOf(facts, { aud: ['vault'], jti: 'forged' }),
      );
      assertRefused(await endpoint.exchange(forged), 'AudienceWrong');
      // The lines are written in order: what is told of the forged token is before the next one.
      const last = await endpoint.exchange(await tokenFor(controlPlane, await createPod(controlPlane)));
      const { payload } = await verified(last);
      await waitFor('the audit line', () =>
        endpoint.signer.lines().find(({ tokenId }) => tokenId === payload.jti),
      );
      assert.ok(!endpoint.signer.output().includes(String(pod.metadata.uid)));
    });

    it('a token of a pod of another cluster is refused, although issuer, audience and names are the same', async () => {
      const pod = await createPod(controlPlane, { name: 'twin' });
      await verified(await endpoint.exchange(await tokenFor(controlPlane, pod)));
      const other = await startControlPlane();
      try {
        const token = await tokenFor(other, await createPod(other, { name: 'twin' }));
        assertRefused(await endpoint.exchange(token), 'TokenRefused');
      } finally {
        await other.stop();
      }
    });

    it('a JWT-SVID that we issued is refused, because it is not a credential here', async () => {
      const answer = await endpoint.exchange(await tokenFor(controlPlane, await createPod(controlPlane)));
      assertRefused(await endpoint.exchange(String(answer.json.access_token)), 'IssuerUnknown');
    });

    it('a token that other receivers accept as well is refused', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod, { audiences: [endpointAudience, 'vault'] });
      assertRefused(await endpoint.exchange(token), 'AudienceWrong');
    });

    it('a token without a pod is refused', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod, { bound: false });
      assertRefused(await endpoint.exchange(token), 'NotBoundToPod');
    });

    it('a token from a Secret is refused with a message of its own', async () => {
      const secrets = '/api/v1/namespaces/default/secrets';
      await create(controlPlane, secrets, {
        metadata: { name: 'legacy', annotations: { 'kubernetes.io/service-account.name': 'default' } },
        type: 'kubernetes.io/service-account-token',
      });
      const token = await waitFor('the token of the Secret', async () => {
        const { body } = await controlPlane.request('GET', `${secrets}/legacy`);
        return (body as { data?: { token?: string } }).data?.token;
      });
      const answer = await endpoint.exchange(Buffer.from(token, 'base64').toString());
      assertRefused(answer, 'LegacyToken');
    });
  });

  describe('a pod', () => {
    /** Asks until the answer is this refusal, as the watch takes a moment; nothing else may come after it. */
    async function refusedIn(token: string, reasons: string[]): Promise<void> {
      await waitFor(
        `a refusal: ${reasons.join(' or ')}`,
        async () => {
          const answer = await endpoint.exchange(token);
          return reasons.includes(String(answer.json.reason));
        },
        { everyMs: 200 },
      );
      assert.equal((await endpoint.exchange(token)).status, 400);
    }

    it('a deleted pod gets no more tokens, although its token was reviewed a moment ago', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod);
      await verified(await endpoint.exchange(token));
      await controlPlane.request('DELETE', `${podPath(pod)}?gracePeriodSeconds=0`);
      const deletedAt = performance.now();
      await refusedIn(token, ['PodGone', 'TokenRefused']);
      assert.ok(performance.now() - deletedAt < 5_000);
    });

    it('a pod that was replaced by one of the same name gets nothing with the old token', async () => {
      const name = 'replaced-0';
      const pod = await createPod(controlPlane, { name });
      const token = await tokenFor(controlPlane, pod);
      await verified(await endpoint.exchange(token));
      await controlPlane.request('DELETE', `${podPath(pod)}?gracePeriodSeconds=0`);
      const successor = await createPod(controlPlane, { name });
      await refusedIn(token, ['PodReplaced', 'TokenRefused', 'PodGone']);
      await verified(await endpoint.exchange(await tokenFor(controlPlane, successor)));
    });

    for (const phase of ['Succeeded', 'Failed']) {
      it(`a pod that has ${phase.toLowerCase()} gets no more tokens`, async () => {
        const pod = await createPod(controlPlane);
        const token = await tokenFor(controlPlane, pod);
        await verified(await endpoint.exchange(token));
        await controlPlane.request('PATCH', `${podPath(pod)}/status`, { status: { phase } });
        await refusedIn(token, ['PodFinished']);
        const events = await waitFor('the Event', async () => {
          const { body } = await controlPlane.request(
            'GET',
            '/apis/events.k8s.io/v1/namespaces/default/events',
          );
          const { items } = body as { items: { reason: string; regarding: { uid: string } }[] };
          return items.find(({ regarding }) => regarding.uid === pod.metadata.uid);
        });
        assert.equal(events.reason, 'PodFinished');
      });
    }

    it('a terminating pod is served until its grace period ends, and not after', async () => {
      const pod = await createPod(controlPlane, { finalizers: ['example.org/hold'] });
      const token = await tokenFor(controlPlane, pod);
      await controlPlane.request('DELETE', `${podPath(pod)}?gracePeriodSeconds=3`);
      await verified(await endpoint.exchange(token));
      await refusedIn(token, ['PodDeleted']);
      await controlPlane.request('PATCH', podPath(pod), { metadata: { finalizers: null } });
    });

    it('a pod that sends too many requests is asked to wait', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenFor(controlPlane, pod);
      const answers = await Promise.all(Array.from({ length: 40 }, () => endpoint.exchange(token)));
      const limited = answers.filter(({ status }) => status === 429);
      assert.ok(limited.length >= 10, `${limited.length} of 40`);
      for (const answer of limited) {
        assertRefused(answer, 'PodLimited', 429, 'temporarily_unavailable');
        assert.ok(Number(answer.headers['retry-after']) > 0);
      }
      await verified(await endpoint.exchange(await tokenFor(controlPlane, await createPod(controlPlane))));
    });
  });

  describe('a request', () => {
    let token: string;
    before(async () => {
      token = await tokenFor(controlPlane, await createPod(controlPlane));
    });
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const post = (body: string, headers: Record<string, string> = form, path = '/token') =>
      endpoint.call({ method: 'POST', path, headers, body });

    const parameters: [name: string, Record<string, string | undefined>, reason: string, error?: string][] = [
      ['no grant_type', { grant_type: undefined }, 'ParameterMissing'],
      [
        'another grant_type',
        { grant_type: 'client_credentials' },
        'GrantTypeUnsupported',
        'unsupported_grant_type',
      ],
      ['no subject_token', { subject_token: undefined }, 'TokenMissing'],
      ['an empty subject_token', { subject_token: '' }, 'TokenMissing'],
      ['no subject_token_type', { subject_token_type: undefined }, 'ParameterMissing'],
      [
        'a SAML subject_token_type',
        { subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' },
        'TokenTypeUnsupported',
      ],
      [
        'an access_token wanted',
        { requested_token_type: 'urn:ietf:params:oauth:token-type:access_token' },
        'TokenTypeUnsupported',
      ],
      ['an actor_token', { actor_token: 'x' }, 'ParameterUnsupported'],
      ['a scope', { scope: 'admin' }, 'ParameterUnsupported'],
      ['a resource', { resource: 'https://api.example.com' }, 'ParameterUnsupported'],
      ['a subject of its own choice', { sub: 'spiffe://example.org/admin' }, 'ParameterUnsupported'],
      ['no audience', { audience: undefined }, 'AudienceMissing'],
      ['an empty audience', { audience: '' }, 'AudienceMissing'],
      ['an audience with a space', { audience: 'a b' }, 'AudienceMalformed', 'invalid_target'],
      ['an audience with a line break', { audience: 'a\nb' }, 'AudienceMalformed', 'invalid_target'],
      ['an audience of 2 KB', { audience: 'a'.repeat(2048) }, 'AudienceMalformed', 'invalid_target'],
      ['our own audience', { audience: endpointAudience }, 'AudienceForbidden', 'invalid_target'],
      [
        'the audience of the API server',
        { audience: 'https://kubernetes.default.svc.cluster.local' },
        'AudienceForbidden',
        'invalid_target',
      ],
      [
        'that audience in capitals and with a slash',
        { audience: 'https://KUBERNETES.default.svc.cluster.local/' },
        'AudienceForbidden',
        'invalid_target',
      ],
    ];
    for (const [name, different, reason, error] of parameters) {
      it(`a request with ${name} is refused`, async () => {
        assertRefused(await endpoint.exchange(token, different), reason, 400, error);
      });
    }

    const exchange = () =>
      `grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=${token}` +
      `&subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=${audience}`;

    it('a request with two audiences is refused, because one is the default maximum', async () => {
      assertRefused(await post(`${exchange()}&audience=b`), 'AudienceTooMany', 400, 'invalid_target');
    });
    for (const repeated of ['grant_type', 'subject_token', 'subject_token_type']) {
      it(`a request with ${repeated} twice is refused`, async () => {
        assertRefused(await post(`${exchange()}&${repeated}=x`), 'ParameterRepeated');
      });
    }
    it('a request with two credentials is refused', async () => {
      const headers = { ...form, authorization: `Bearer ${token}` };
      assertRefused(await post(exchange(), headers), 'CredentialsRepeated');
    });
    it('a request with a broken percent-encoding is refused', async () => {
      assertRefused(await post(`${exchange()}%zz`), 'RequestMalformed');
    });
    it('a request with the token in the URL is refused without a look at the token', async () => {
      assertRefused(await post('', form, `/token?${exchange()}`), 'ParameterMissing');
    });
    it('a request of another content type is refused', async () => {
      assertRefused(await post('{}', { 'content-type': 'application/json' }), 'RequestMalformed');
      assertRefused(await post('x', { 'content-type': 'text/plain' }), 'RequestMalformed');
      assertRefused(await post('', {}), 'RequestMalformed');
    });
    it('a request of more than 64 KiB is refused', async () => {
      assertRefused(await post(`audience=${'a'.repeat(70_000)}`), 'RequestTooLarge', 413);
    });
    it('a request with too large headers is refused', async () => {
      const answer = await post(exchange(), { ...form, 'x-large': 'a'.repeat(20_000) });
      assert.equal(answer.status, 431);
      assert.equal(answer.json.reason, 'RequestTooLarge');
    });
    it('a request for another path or with another method is refused', async () => {
      assertRefused(await endpoint.call({ path: '/nothing' }), 'RouteUnknown', 404);
      assertRefused(await endpoint.call({ path: '/token' }), 'RouteUnknown', 404);
      assertRefused(await endpoint.call({ path: '/%ff%2f..%2fkeys' }), 'RequestMalformed');
    });

    const short = (body: string, authorization: string | undefined) =>
      post(
        body,
        { 'content-type': 'application/json', ...(authorization && { authorization }) },
        '/jwt-svid',
      );
    it('a request in the short form needs a Bearer token and an audience, and takes nothing else', async () => {
      const bearer = `Bearer ${token}`;
      assertRefused(await short('{"audience":"a"}', undefined), 'TokenMissing');
      assertRefused(await short('{"audience":"a"}', 'Basic YTpi'), 'TokenMissing');
      assertRefused(await short('{}', bearer), 'AudienceMissing');
      assertRefused(await short('[]', bearer), 'RequestMalformed');
      assertRefused(await short('{"audience":"a","audience":"b"}', bearer), 'RequestMalformed');
      assertRefused(await short('{"audience":[["a"]]}', bearer), 'RequestMalformed');
      assertRefused(await short('{"audience":"a","sub":"b"}', bearer), 'ParameterUnsupported');
      assertRefused(await short('{"audience":["a","b"]}', bearer), 'AudienceTooMany', 400, 'invalid_target');
    });
  });

  describe('public documents', () => {
    it('the discovery document names issuer and keys by the settings, not by the Host header', async () => {
      const answer = await endpoint.call({
        path: '/.well-known/openid-configuration',
        headers: { host: 'evil.example' },
      });
      assert.partialDeepStrictEqual(answer.json, { issuer: jwtIssuer, jwks_uri: `${jwtIssuer}/keys` });
      assert.deepEqual(answer.json.id_token_signing_alg_values_supported, ['ES256', 'RS256']);
    });

    for (const [path, type] of [
      ['/.well-known/openid-configuration', /^application\/json/],
      ['/keys', /^application\/jwk-set\+json/],
      ['/bundle', /^application\/json/],
      ['/roots.pem', /^application\/x-pem-file/],
    ] as const) {
      it(`${path} has ETag, Cache-Control and gzip, and is not sent twice`, async () => {
        const plain = await endpoint.call({ path });
        assert.equal(plain.status, 200);
        assert.match(String(plain.headers['content-type']), type);
        assert.equal(plain.headers['cache-control'], 'public, max-age=300');
        assert.equal(plain.headers.vary, 'accept-encoding');
        const etag = String(plain.headers.etag);
        const again = await endpoint.call({ path, headers: { 'if-none-match': etag } });
        assert.deepEqual([again.status, again.text], [304, '']);
        const head = await endpoint.call({ path, method: 'HEAD' });
        assert.deepEqual([head.status, head.headers.etag, head.text], [200, etag, '']);
        const zipped = await endpoint.call({ path, headers: { 'accept-encoding': 'gzip' } });
        // Shorter than 1 KiB, it is not worth it.
        const isLong = plain.text.length >= 1024;
        assert.equal(zipped.headers['content-encoding'], isLong ? 'gzip' : undefined);
        assert.deepEqual([zipped.headers.etag, zipped.headers.vary], [etag, 'accept-encoding']);
      });
    }

    it('a document compresses to the same bytes each time', async () => {
      const plain = await endpoint.call({ path: '/bundle' });
      const response = await new Promise<Buffer>((resolve, reject) => {
        const socket = connect({
          port: endpoint.port,
          host: '127.0.0.1',
          ca: rootsOf(),
          servername: 'localhost',
        });
        const chunks: Buffer[] = [];
        socket.on('data', (chunk) => chunks.push(chunk));
        socket.on('error', reject);
        socket.on('end', () => resolve(Buffer.concat(chunks)));
        socket.write('GET /bundle HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n');
      });
      const body = response.subarray(response.indexOf('\r\n\r\n') + 4);
      assert.equal(gunzipSync(body).toString(), plain.text);
    });

    it('public documents contain no private member and no private key', async () => {
      for (const path of ['/keys', '/bundle', '/roots.pem', '/.well-known/openid-configuration']) {
        const { text } = await endpoint.call({ path });
        assert.doesNotMatch(text, /PRIVATE KEY|"(d|p|q|dp|dq|qi)":/);
      }
    });
  });

  const rootsOf = () => installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
  const open = (options: object = {}) =>
    connect({ port: endpoint.port, host: '127.0.0.1', ca: rootsOf(), servername: 'localhost', ...options });

  describe('the connection', () => {
    it('the endpoint shows an SVID with the reserved path and the DNS names', async () => {
      const socket = open();
      await new Promise((resolve) => socket.once('secureConnect', resolve));
      const certificate = new X509Certificate(socket.getPeerCertificate(true).raw);
      assert.equal(socket.getProtocol(), 'TLSv1.3');
      assert.equal(certificate.subjectAltName, `URI:${endpointAudience}, DNS:localhost`);
      socket.destroy();
    });

    it('the endpoint accepts TLS 1.3 and nothing older', async () => {
      const error = await new Promise<NodeJS.ErrnoException>((resolve) =>
        open({ maxVersion: 'TLSv1.2' }).once('error', resolve),
      );
      assert.match(String(error.code), /ALERT_PROTOCOL_VERSION/);
    });

    it('a connection in plain text is closed', async () => {
      const socket = connectTcp(endpoint.port, '127.0.0.1');
      socket.write('POST /token HTTP/1.1\r\nHost: a\r\n\r\n');
      await new Promise((resolve) => socket.once('close', resolve));
    });

    it('a connection of a client that sends its request too slowly is closed', async () => {
      const socket = open({ allowHalfOpen: true });
      socket.write(
        'POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\na',
      );
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      // It goes on after it was told to stop, as if it had not heard.
      socket.on('error', () => undefined);
      const dribble = setInterval(() => socket.write('a'), 300);
      const startedAt = performance.now();
      await new Promise((resolve) => socket.once('close', resolve));
      clearInterval(dribble);
      assert.ok(performance.now() - startedAt < 15_000);
      assert.match(text, /^HTTP\/1.1 408 .*"RequestTooSlow"/s);
      const reason = 'RequestTooSlow';
      assert.equal(await endpoint.signer.metric('kubespiffe_tokens_total', { reason }), 1);
    });

    it('a connection stays open when the CA is replaced under the same id, and new ones show its certificate', async () => {
      const { pool } = installed;
      const before = open();
      await once(before, 'secureConnect');
      const [first, ...others] = pool.authorities;
      assert.ok(first);
      const now = Math.floor(Date.now() / 1000);
      const another = await createAuthority({ id: first.id, trustDomain: 'example.org', now });
      await putPool(controlPlane, {
        ...pool,
        sequence: pool.sequence + 1,
        authorities: [another, ...others, { ...first, id: 'former', state: 'retired' }],
      });
      await waitFor('a certificate of the new CA', async () => {
        const socket = open({ ca: another.certificate });
        await once(socket, 'secureConnect');
        socket.destroy();
        return true;
      });
      const answered = new Promise<string>((resolve) =>
        before.once('data', (chunk) => resolve(String(chunk))),
      );
      before.write('GET /keys HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.match(await answered, /^HTTP\/1.1 200 /);
      before.destroy();
    });
  });

  it('the endpoint could read the keys of the API server', () => {
    assert.doesNotMatch(endpoint.signer.output(), /keys of ServiceAccount tokens could not be read/);
  });

  it('the endpoint prints nothing secret', () => {
    assert.doesNotMatch(endpoint.signer.output(), /PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\./);
  });
});
