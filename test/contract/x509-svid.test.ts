import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, hash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import type { Pod } from '../../signer/kube/types.ts';
import { checkLeaf } from '../../spiffe/conformance.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { webAlgorithm, webKeyPair } from '../spiffe/pki/authorities.ts';
import { keyShelf, subjectKeyNames } from '../spiffe/pki/keys.ts';
import { requestAround, stubRequest } from '../spiffe/pki/requests.ts';
import { claimsOf, headerOf, signed } from '../token/caller/bad-tokens.ts';
import { putPool } from './installation.ts';
import {
  type Answer,
  assertRefused,
  endpointAudience,
  factsOf,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

const run = promisify(execFile);
const key = keyShelf();
const spiffeId = 'spiffe://example.org/ns/default/sa/default';
const request = stubRequest(key('ECDSA P-256'));

/** POST /x509-svid of a signer process, on a real API server. */
describe('a certificate over HTTP', () => {
  let controlPlane: ControlPlane;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let endpoint: TokenSigner;
  let judges: Judges;
  let root: string;

  before(async () => {
    judges = await openJudges();
    controlPlane = await startControlPlane();
    installed = await installTokenEndpoint(controlPlane);
    root = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []).join('');
    endpoint = await startTokenSigner(installed, {
      flags: [
        ...['--x509-svid', 'true', '--token-address-rate', '100000'],
        ...['--leaf-pod-identity', 'true', '--leaf-issuer', 'true'],
      ],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await controlPlane?.stop();
  });

  const audiences = [x509Audience];
  const tokenOf = (pod: Pod, expirationSeconds = 7200) =>
    tokenFor(controlPlane, pod, { audiences, expirationSeconds });
  const aToken = async () => tokenOf(await createPod(controlPlane));
  const podPath = (pod: Pod) => `/api/v1/namespaces/${pod.metadata.namespace}/pods/${pod.metadata.name}`;

  function leafOf(chain: string): CertificateFacts {
    const blocks = decodePem(chain, { strict: true });
    const leaf = readCertificate((blocks.ok && blocks.value[0]?.der) || new Uint8Array());
    assert.ok(leaf.ok);
    return leaf.value;
  }

  /** The leaf of an answer, and chain and roots as its header parts them. */
  function parted(answer: Answer): { leaf: CertificateFacts; chain: string; roots: string } {
    assert.equal(answer.status, 200, answer.text);
    const blocks = decodePem(answer.text, { strict: true });
    assert.ok(blocks.ok);
    const pem = blocks.value.map(({ label, der }) => encodePem(label, der));
    const length = Number(answer.headers['kubespiffe-chain-length']);
    const chain = pem.slice(0, length).join('');
    return { leaf: leafOf(chain), chain, roots: pem.slice(length).join('') };
  }

  describe('a good request', () => {
    for (const name of subjectKeyNames) {
      it(`a certificate with a ${name} key is valid for go-spiffe and OpenSSL`, async () => {
        const answer = await endpoint.certify(await aToken(), stubRequest(key(name)));
        const { leaf, chain, roots } = parted(answer);
        assert.equal(roots, root);
        assert.deepEqual(leaf.uris, [spiffeId]);
        assert.deepEqual(Buffer.from(leaf.spki), key(name).spki);
        assert.deepEqual(
          checkLeaf(leaf, 'example.org').filter(({ ok }) => !ok),
          [],
        );
        const verdict = await judges.x509Svid({
          chain,
          bundles: { 'example.org': roots },
          key: key(name).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        });
        assert.deepEqual(verdict.errors, []);
        assert.equal(verdict.facts.id, spiffeId);
        const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-openssl-'));
        try {
          await Promise.all([
            writeFile(join(folder, 'roots.pem'), roots),
            writeFile(join(folder, 'chain.pem'), chain),
          ]);
          const words = ['-x509_strict', '-CAfile', 'roots.pem', '-untrusted', 'chain.pem', 'chain.pem'];
          const { stdout } = await run('openssl', ['verify', ...words], { cwd: folder });
          assert.equal(stdout, 'chain.pem: OK\n');
        } finally {
          await rm(folder, { recursive: true });
        }
      });
    }

    it('a certificate over HTTP serves both ends of mTLS of go-spiffe', async () => {
      const { privateKey } = key('ECDSA P-256');
      const { chain, roots } = parted(await endpoint.certify(await aToken(), request));
      const side = {
        credentials: privateKey.export({ type: 'pkcs8', format: 'pem' }) + chain,
        bundles: { 'example.org': roots },
        expects: spiffeId,
      };
      const verdict = await judges.mtls({ server: side, client: side });
      assert.deepEqual(verdict.errors, []);
    });

    it('a certificate over HTTP comes as PEM with what a shell needs, and no cache may store it', async () => {
      const asked = Math.floor(Date.now() / 1000);
      const answer = await endpoint.certify(await aToken(), encodePem('CERTIFICATE REQUEST', request));
      assert.match(String(answer.headers['content-type']), /^application\/pem-certificate-chain/);
      assert.equal(answer.headers['cache-control'], 'no-store');
      assert.equal(answer.headers['kubespiffe-chain-length'], '1');
      const { leaf } = parted(answer);
      assert.ok(Math.abs(leaf.notBefore + 120 - asked) <= 5);
      assert.equal(leaf.notAfter - leaf.notBefore, 3600);
      assert.equal(Number(answer.headers['kubespiffe-refresh-after']), 1740);
    });

    it('a certificate over HTTP comes as JSON if the client accepts that', async () => {
      const answer = await endpoint.certify(await aToken(), request, { accept: 'application/json' });
      assert.equal(answer.status, 200, answer.text);
      const { certificate_chain: chain, trust_bundle: bundle, ...rest } = answer.json;
      assert.equal(bundle, root);
      const { notAfter: expiresAt } = leafOf(String(chain));
      assert.deepEqual(rest, { spiffe_id: spiffeId, expires_at: expiresAt, refresh_at: expiresAt - 1740 });
    });

    it('a certificate over HTTP never outlives the token', async () => {
      const facts = await factsOf(controlPlane, await createPod(controlPlane));
      const ending = (exp: number) =>
        signed(facts.key, headerOf(facts), claimsOf(facts, { aud: [x509Audience], exp }));
      const { leaf } = parted(await endpoint.certify(ending(facts.now + 200), request));
      assert.equal(leaf.notAfter, facts.now + 200);
      assertRefused(await endpoint.certify(ending(facts.now + 25), request), 'TokenEndsTooSoon');
    });

    it('the API server is asked before each certificate over HTTP', async () => {
      const token = await aToken();
      const reviews = (result: string) =>
        endpoint.signer.metric('kubespiffe_token_reviews_total', { result });
      const [good, cached] = [await reviews('good'), await reviews('cached')];
      for (let i = 0; i < 5; i += 1) parted(await endpoint.certify(token, request));
      assert.deepEqual([await reviews('good'), await reviews('cached')], [good + 5, cached]);
    });

    it('a certificate over HTTP carries the optional extensions of its signer: pod and issuer', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenOf(pod);
      const { leaf } = parted(await endpoint.certify(token, request));
      const [answer] = await judges.parse([{ kind: 'certificate', der: leaf.der }]);
      const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
      const { serviceaccount } = claims['kubernetes.io'];
      const { name, uid } = pod.metadata;
      assert.deepEqual(answer?.pod.slice(0, 6), ['default', '', 'default', serviceaccount.uid, name, uid]);
      assert.ok(leaf.extensions.some((extension) => extension.name === 'issuerAltName'));
    });
  });

  it('a certificate over HTTP has the identity of a PodCertificateRequest of the same pod', async () => {
    const label = fc.stringMatching(/^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$/);
    const names = fc.sample(fc.tuple(label, fc.array(label, { minLength: 1, maxLength: 4 })), 8);
    const namespaces = new Set<string>();
    for (const [namespace, labels] of names) {
      const serviceAccountName = labels.join('.');
      if (!namespaces.has(namespace)) {
        namespaces.add(namespace);
        await create(controlPlane, '/api/v1/namespaces', { metadata: { name: namespace } });
      }
      const account = { metadata: { name: serviceAccountName } };
      await create(controlPlane, `/api/v1/namespaces/${namespace}/serviceaccounts`, account);
      const pod = await createPod(controlPlane, { namespace, serviceAccountName });
      const { certificateChain = '' } = await answerTo(controlPlane, await requestFor(controlPlane, pod));
      const projected = leafOf(certificateChain);
      const { leaf } = parted(await endpoint.certify(await tokenOf(pod), request));
      assert.deepEqual(leaf.uris, projected.uris);
      assert.deepEqual(leaf.uris, [`spiffe://example.org/ns/${namespace}/sa/${serviceAccountName}`]);
    }
  });

  it('a certificate over HTTP takes only the key from the request', async () => {
    const made = await x509.Pkcs10CertificateRequestGenerator.create({
      name: 'CN=admin, O=system:masters',
      keys: await webKeyPair('Ed25519', key('Ed25519').privateKey),
      signingAlgorithm: webAlgorithm('Ed25519'),
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: 'url', value: 'spiffe://example.org/ns/kube-system/sa/admin' },
          { type: 'dns', value: 'kubernetes.default.svc' },
        ]),
        new x509.BasicConstraintsExtension(true, 5, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
      attributes: [new x509.ChallengePasswordAttribute('open sesame')],
    });
    const { leaf } = parted(await endpoint.certify(await aToken(), Buffer.from(made.rawData)));
    assert.deepEqual(
      [leaf.uris, leaf.dnsNames, leaf.hasSubject, leaf.isCa, leaf.keyUsage],
      [[spiffeId], [], false, false, ['digitalSignature']],
    );
  });

  describe('a request that is refused', () => {
    const rsa2048 = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
    const thief = Buffer.from(request);
    thief.fill(0, thief.length - 8);
    const requests: [name: string, body: Buffer | string, reason: string][] = [
      ['nothing', '', 'CsrUnreadable'],
      ['a text that is not a request', 'give me a certificate', 'CsrUnreadable'],
      ['a request that is cut', request.subarray(0, -1), 'CsrUnreadable'],
      [
        'PEM without its lines, as curl --data sends it',
        encodePem('CERTIFICATE REQUEST', request).replaceAll('\n', ''),
        'CsrUnreadable',
      ],
      ['two requests', encodePem('CERTIFICATE REQUEST', request).repeat(2), 'CsrUnreadable'],
      [
        'the key beside the request',
        key('ECDSA P-256').privateKey.export({ type: 'pkcs8', format: 'pem' }) +
          encodePem('CERTIFICATE REQUEST', request),
        'CsrUnreadable',
      ],
      ['a key that did not sign the request', requestAround(key('ECDSA P-384').spki), 'CsrSignatureInvalid'],
      ['a signature that was altered', thief, 'CsrSignatureInvalid'],
      [
        'an RSA key of 2048 bits',
        requestAround(rsa2048.export({ type: 'spki', format: 'der' })),
        'UnsupportedKeyType',
      ],
    ];
    for (const [name, body, reason] of requests) {
      it(`a certificate is refused for ${name}`, async () => {
        assertRefused(await endpoint.certify(await aToken(), body), reason);
      });
    }

    it('a certificate is refused for another content type, and for more than 64 KiB', async () => {
      const token = await aToken();
      for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/plain']) {
        assertRefused(await endpoint.certify(token, request, { 'content-type': type }), 'RequestMalformed');
      }
      assertRefused(await endpoint.certify(token, 'a'.repeat(70_000)), 'RequestTooLarge', 413);
      const reason = 'RequestTooLarge';
      assert.equal(await endpoint.signer.metric('kubespiffe_x509_svids_total', { reason }), 1);
      assert.equal(await endpoint.signer.metric('kubespiffe_tokens_total', { reason }), 0);
    });

    it('a certificate is refused without a credential, with another kind, and with two', async () => {
      const token = await aToken();
      for (const authorization of ['', 'Basic YTpi', `Bearer ${token}, Bearer ${token}`]) {
        assertRefused(await endpoint.certify(token, request, { authorization }), 'TokenMissing');
      }
      const twice = { authorization: [`Bearer ${token}`, `Bearer ${await aToken()}`] };
      assertRefused(await endpoint.certify(token, request, twice), 'CredentialsRepeated');
    });

    it('a certificate is refused to a token for JWT-SVIDs, for the API server, for several audiences, and without a pod', async () => {
      const pod = await createPod(controlPlane);
      const rows: [Parameters<typeof tokenFor>[2], string][] = [
        [{}, 'AudienceWrong'],
        [{ audiences: [] }, 'AudienceWrong'],
        [{ audiences: [x509Audience, endpointAudience] }, 'AudienceWrong'],
        [{ audiences, bound: false }, 'NotBoundToPod'],
      ];
      for (const [wishes, reason] of rows) {
        const token = await tokenFor(controlPlane, pod, wishes);
        assertRefused(await endpoint.certify(token, request), reason);
      }
    });

    it('a certificate is refused to a token that was altered, and to a JWT-SVID', async () => {
      const token = await aToken();
      assertRefused(await endpoint.certify(`${token.slice(0, -4)}AAAA`, request), 'SignatureInvalid');
      const { json } = await endpoint.exchange(await tokenFor(controlPlane, await createPod(controlPlane)));
      const answer = await endpoint.certify(String(json.access_token), request);
      assert.equal(answer.status, 400, answer.text);
    });

    it('a token for certificates gets no JWT-SVID, and no JWT-SVID is issued for that audience', async () => {
      const pod = await createPod(controlPlane);
      assertRefused(await endpoint.exchange(await tokenOf(pod)), 'AudienceWrong');
      const answer = await endpoint.exchange(await tokenFor(controlPlane, pod), { audience: x509Audience });
      assertRefused(answer, 'AudienceForbidden', 400, 'invalid_target');
    });

    it('a certificate is refused to a deleted pod at once, although the API server caches the review for 10 s', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenOf(pod);
      parted(await endpoint.certify(token, request));
      await controlPlane.request('DELETE', `${podPath(pod)}?gracePeriodSeconds=0`);
      const answer = await endpoint.certify(token, request);
      assert.ok(['PodGone', 'TokenRefused'].includes(String(answer.json.reason)), answer.text);
    });

    it('a certificate is refused to a finished pod at once, and that is reported on the pod', async () => {
      const pod = await createPod(controlPlane);
      const token = await tokenOf(pod);
      parted(await endpoint.certify(token, request));
      await controlPlane.request('PATCH', `${podPath(pod)}/status`, { status: { phase: 'Succeeded' } });
      assertRefused(await endpoint.certify(token, request), 'PodFinished');
      assert.deepEqual(await eventOn(pod), { reason: 'PodFinished', type: 'Warning' });
    });

    it('a certificate is refused to a pod that sends too many requests of any kind', async () => {
      const pod = await createPod(controlPlane);
      const [token, forTokens] = [await tokenOf(pod), await tokenFor(controlPlane, pod)];
      const answers = await Promise.all(Array.from({ length: 60 }, () => endpoint.certify(token, request)));
      const limited = answers.filter(({ status }) => status === 429);
      assert.ok(limited.length >= 10, `${limited.length} of 60`);
      for (const answer of limited) {
        assertRefused(answer, 'PodLimited', 429, 'temporarily_unavailable');
        assert.ok(Number(answer.headers['retry-after']) > 0);
      }
      const others = await Promise.all(Array.from({ length: 40 }, () => endpoint.exchange(forTokens)));
      assert.ok(others.some(({ json }) => json.reason === 'PodLimited'));
    });
  });

  async function eventOn(pod: Pod): Promise<{ reason: string; type: string }> {
    return waitFor('the Event', async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = body as {
        items: { reason: string; type: string; regarding: { uid: string } }[];
      };
      const found = items.find(({ regarding }) => regarding.uid === pod.metadata.uid);
      return found && { reason: found.reason, type: found.type };
    });
  }

  it('a certificate over HTTP is counted, and its audit line names the pod, the certificate and the key that signed', async () => {
    const pod = await createPod(controlPlane);
    const counted = () => endpoint.signer.metric('kubespiffe_x509_svids_total', { reason: 'Issued' });
    const before = await counted();
    const { leaf } = parted(await endpoint.certify(await tokenOf(pod), request));
    assert.equal(await counted(), before + 1);
    const line = await waitFor('the audit line', async () =>
      endpoint.signer.lines().find(({ serial }) => serial === leaf.serialHex),
    );
    assert.partialDeepStrictEqual(line, {
      audit: true,
      event: 'x509-svid',
      outcome: 'Issued',
      namespace: 'default',
      pod: { name: pod.metadata.name, uid: pod.metadata.uid },
      spiffeId,
      publicKeySha256: hash('sha256', key('ECDSA P-256').spki),
      authority: '1',
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
    });
  });

  it('a refused certificate request leaves an audit line, a count and an Event with the same code', async () => {
    const pod = await createPod(controlPlane);
    const reason = 'CsrSignatureInvalid';
    const counted = () => endpoint.signer.metric('kubespiffe_x509_svids_total', { outcome: 'deny', reason });
    const before = await counted();
    const answer = await endpoint.certify(await tokenOf(pod), requestAround(key('ECDSA P-256').spki));
    assertRefused(answer, reason);
    assert.equal(await counted(), before + 1);
    assert.deepEqual(await eventOn(pod), { reason, type: 'Warning' });
    const line = await waitFor('the audit line', () =>
      endpoint.signer.lines().find((each) => {
        const { event, pod: whose } = each as { event?: string; pod?: { uid?: string } };
        return event === 'x509-svid' && whose?.uid === pod.metadata.uid;
      }),
    );
    assert.partialDeepStrictEqual(line, { outcome: 'Denied', reason });
  });

  it('certificates over HTTP are not served unless they are enabled', async () => {
    const other = await startTokenSigner(installed, { replica: 'signer-b' });
    try {
      await other.signer.ready();
      assertRefused(await other.certify(await aToken(), request), 'RouteUnknown', 404);
      const pod = await createPod(controlPlane);
      assert.equal((await other.exchange(await tokenFor(controlPlane, pod))).status, 200);
    } finally {
      other.agent.destroy();
      await other.signer.child.stop();
    }
  });

  it('the audience for certificates must differ from that for JWT-SVIDs', async () => {
    const flags = ['--x509-svid', 'true', '--x509-audience', endpointAudience];
    const other = await startTokenSigner(installed, { replica: 'signer-c', flags });
    await waitFor('it to end', async () => other.signer.child.hasExited());
    assert.match(other.signer.output(), /--x509-audience: ".*" is tokenAudience and x509Audience/);
    other.agent.destroy();
  });

  it('a certificate over HTTP waits for an authority that may sign', async () => {
    const { pool } = installed;
    const token = await aToken();
    const tainted = pool.authorities.map((each) =>
      each.kind === 'X509' ? { ...each, tainted: true } : each,
    );
    await putPool(controlPlane, { ...pool, sequence: pool.sequence + 1, authorities: tainted });
    const answer = await waitFor('a refusal', async () => {
      const given = await endpoint.certify(token, request);
      return given.status === 503 ? given : undefined;
    });
    assertRefused(answer, 'SigningUnavailable', 503, 'temporarily_unavailable');
    assert.match(String(answer.json.error_description), /tainted/);
  });

  it('the signer prints nothing secret', () => {
    assert.doesNotMatch(endpoint.signer.output(), /PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\.|open sesame/);
  });
});
