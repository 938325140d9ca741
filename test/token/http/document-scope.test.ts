import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createAuthority } from '../../../signer/authority/create.ts';
import { newPool } from '../../../signer/authority/document.ts';
import { compilePool } from '../../../signer/authority/pool.ts';
import { realTime } from '../../../signer/kube/time.ts';
import { pass } from '../../../signer/observe/checked.ts';
import { addBundleRoutes, createBundles } from '../../../signer/token/http/bundle-routes.ts';
import {
  addDocumentRoute,
  addDocumentRoutes,
  createDocuments,
} from '../../../signer/token/http/document-routes.ts';
import { addDocuments } from '../../../signer/token/http/document-scope.ts';
import { createHttp, type Http } from '../../../signer/token/http/http.ts';
import { addTokenRoutes } from '../../../signer/token/http/token-routes.ts';
import { addX509Routes } from '../../../signer/token/http/x509-routes.ts';
import { publicationOf } from '../../../signer/trust/publication.ts';
import { published } from '../../../signer/trust/published-documents.ts';
import { type ServerCredentials, webCredentials } from '../../contract/bundle-endpoint.ts';

const trustDomain = 'example.org';
const now = Math.floor(Date.now() / 1000);
/** So long that the plugin would compress them. */
const secret = 'eyJhbGciOiJFUzI1NiJ9.'.repeat(200);
const spiffeId = 'spiffe://example.org/ns/n/sa/a';
const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64');

/** The routes of a token endpoint on a real listener. The services answer whoever asks. */
describe('the answers of an endpoint', () => {
  let http: Http;
  let credentials: ServerCredentials;
  let hasPool = true;
  const errors: string[] = [];
  /** The Accept-Encoding of the last answer with a document, as the plugin that compresses reads it. */
  let accepted: string | undefined;
  const agent = new Agent({ keepAlive: true });

  async function call(
    path: string,
    headers: OutgoingHttpHeaders = {},
    { method = 'GET', body = '' } = {},
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
    const { port } = http.server.address() as AddressInfo;
    const outgoing = request({
      ...{ host: '127.0.0.1', port, path, method, headers, agent, ca: credentials.cert },
    });
    outgoing.end(body);
    const [incoming] = await once(outgoing, 'response');
    const chunks: Buffer[] = await incoming.toArray();
    return { status: incoming.statusCode, headers: incoming.headers, body: Buffer.concat(chunks) };
  }

  before(async () => {
    credentials = await webCredentials();
    const pool = newPool(trustDomain, await createAuthority({ id: 'x1', trustDomain, now }));
    const more = await Promise.all(['x2', 'x3'].map((id) => createAuthority({ id, trustDomain, now })));
    const authorities = [
      ...pool.authorities,
      ...more.map((each) => ({ ...each, state: 'trusted' as const })),
    ];
    const compiled = compilePool({ ...pool, authorities }, trustDomain);
    assert.ok(compiled.ok);
    const publication = publicationOf(() => (hasPool ? compiled.pool : undefined));
    const settings = { issuer: 'https://id.example.org', refreshHintSeconds: 300 };
    http = createHttp({
      tls: { key: credentials.key, cert: credentials.cert },
      addressLimits: { take: () => 0 },
      connectionRate: { take: () => 0, charge: () => undefined },
      report: () => undefined,
      onCut: () => undefined,
      onError: ({ message }) => errors.push(message),
      time: realTime,
    });
    const peers = new Map([['a.example', `{"keys":[]${' '.repeat(50_000)}}`]]);
    const bundles = createBundles({ ...settings, trustDomain, publication, peers: () => peers });
    const large = published(`{"keys":[${'1,'.repeat(100_000)}1]}`, 'application/json');
    await addDocuments(http, (scope) => {
      // The plugin adds its own hook to each route, and those run after the hooks of the scope.
      scope.app.addHook('onSend', async ({ headers }, _reply, payload) => {
        accepted = headers['accept-encoding'];
        return payload;
      });
      addDocumentRoutes(
        scope,
        { ...createDocuments(publication, settings), openApi: () => pass(large) },
        300,
      );
      addBundleRoutes(scope, bundles, async () => pass({ trustDomains: 'all', because: 'the test' }), 300);
      addDocumentRoute(scope, '/broken', {}, async () => {
        throw new Error('it is broken');
      });
    });
    const shown = { spiffeId, registration: 'n/a' };
    addTokenRoutes(http, async () =>
      pass({
        ...{ ...shown, kind: 'token', token: secret, expiresIn: 300, audiences: ['a'] },
        ...{ tokenId: 'i', keyId: 'k', notAfter: 600 },
      }),
    );
    addX509Routes(http, async () =>
      pass({
        ...{ ...shown, kind: 'x509-svid', dnsNames: [], chainPem: secret, rootsPem: secret, serial: '01' },
        ...{
          publicKeySha256: '02',
          authority: 'x1',
          notBefore: 0,
          issuedAt: 100,
          refreshAt: 350,
          notAfter: 600,
        },
      }),
    );
    await http.app.ready();
    http.server.listen(0, '127.0.0.1');
    await once(http.server, 'listening');
  });
  after(async () => {
    agent.destroy();
    await http.app.close();
  });

  describe('an answer with a document', () => {
    const encodings: [accept: string | undefined, encoding: 'gzip' | undefined][] = [
      [undefined, undefined],
      ['', undefined],
      ['gzip', 'gzip'],
      ['GZIP', 'gzip'],
      ['x-gzip', 'gzip'],
      ['br, gzip;q=0.5', 'gzip'],
      ['*', 'gzip'],
      ['gzip;q=0.2, identity;q=0.8', undefined],
      ['gzip;q=0', undefined],
      ['gzip; q=0.000', undefined],
      ['*;q=0', undefined],
      ['br, zstd, deflate', undefined],
      // None of ours is left: the plain document is better than none (RFC 9110 12.5.3).
      ['identity;q=0, br', undefined],
      ['gzip;q=', undefined],
      [';;,,;q=1,gzip\t;\tq\t=\t1,', 'gzip'],
      [`${'*;q=0.1,'.repeat(30)}`, 'gzip'],
      ['*'.repeat(15_000), undefined],
      [`gzip${';q=1'.repeat(3_500)}`, undefined],
    ];
    for (const [accept, encoding] of encodings) {
      const shown = (accept ?? 'no header').slice(0, 40);
      it(`a document is ${encoding ?? 'plain'} with Accept-Encoding "${shown}", with one validator`, async () => {
        const plain = await call('/bundle');
        const answer = await call('/bundle', accept === undefined ? {} : { 'accept-encoding': accept });
        assert.equal(answer.status, 200);
        assert.equal(answer.headers['content-encoding'], encoding);
        assert.deepEqual(encoding ? gunzipSync(answer.body) : answer.body, plain.body);
        assert.equal(Number(answer.headers['content-length']), answer.body.length);
        assert.equal(answer.headers.vary, 'accept-encoding');
        assert.equal(answer.headers.etag, `W/"${hash(plain.body)}"`);
      });
    }

    it('documents are compressed if they are PEM, and plain if that would take a stream', async () => {
      for (const [path, encoding] of [
        ['/roots.pem', 'gzip'],
        ['/openapi.json', undefined],
      ] as const) {
        const plain = await call(path);
        const { headers, body } = await call(path, { 'accept-encoding': 'gzip' });
        assert.equal(headers['content-encoding'], encoding, path);
        assert.deepEqual(encoding ? gunzipSync(body) : body, plain.body, path);
        assert.equal(Number(headers['content-length']), body.length);
        assert.deepEqual([headers.etag, headers.vary], [`W/"${hash(plain.body)}"`, 'accept-encoding']);
      }
    });

    it('no Accept-Encoding makes a refusal expensive, because nothing reads it', async () => {
      for (const accept of ['gzip', '*'.repeat(15_000)]) {
        await call('/bundle', { 'accept-encoding': 'gzip' });
        assert.equal(accepted, 'gzip', 'that of a document is read');
        hasPool = false;
        try {
          const { status } = await call('/bundle', { 'accept-encoding': accept });
          assert.deepEqual([status, accepted], [503, undefined]);
        } finally {
          hasPool = true;
        }
      }
    });

    it('an Accept-Encoding that is too long, or of a document that is too long, is not read', async () => {
      for (const [path, accept] of [
        ['/bundle', '*'.repeat(257)],
        ['/openapi.json', 'gzip'],
      ] as const) {
        await call('/bundle', { 'accept-encoding': '*'.repeat(256) });
        assert.equal(accepted?.length, 256);
        const { status } = await call(path, { 'accept-encoding': accept });
        assert.deepEqual([status, accepted], [200, undefined], path);
      }
    });

    it('bundles of other trust domains are never compressed, and may differ by caller', async () => {
      for (const path of ['/bundles', '/bundles/a.example']) {
        const { headers, body } = await call(path, { 'accept-encoding': 'gzip' });
        assert.ok(body.length > 50_000);
        assert.deepEqual(
          [headers['content-encoding'], headers.vary, headers['cache-control'], headers.etag],
          [undefined, 'authorization', 'private, max-age=300', `W/"${hash(body)}"`],
        );
      }
    });

    it('HEAD of a document has the headers of GET, and no body', async () => {
      for (const path of ['/bundle', '/openapi.json', '/bundles']) {
        for (const accept of ['gzip', 'identity']) {
          const [get, head] = [
            await call(path, { 'accept-encoding': accept }),
            await call(path, { 'accept-encoding': accept }, { method: 'HEAD' }),
          ];
          const { date: _got, ...expected } = get.headers;
          const { date: _had, ...headers } = head.headers;
          assert.deepEqual([head.status, headers, head.body.length], [200, expected, 0]);
        }
      }
    });

    const conditions: [what: string, of: (etag: string) => string, status: 200 | 304][] = [
      ['its validator', (etag) => etag, 304],
      ['its validator made strong', (etag) => etag.slice(2), 304],
      ['a list with it', (etag) => `"a", ${etag},W/"b"`, 304],
      ['a list with it made strong', (etag) => `W/"a",${etag.slice(2)}`, 304],
      ['*', () => '*', 304],
      ['another one', () => 'W/"a"', 200],
      ['its validator without quotes', (etag) => etag.replaceAll('"', ''), 200],
      ['a part of it', (etag) => etag.slice(0, -2), 200],
      ['nothing', () => '', 200],
      ['many commas', () => ','.repeat(15_000), 200],
    ];
    for (const [what, of, status] of conditions) {
      it(`a document is answered with ${status} to an If-None-Match with ${what}`, async () => {
        const { headers: plain } = await call('/bundle');
        const etag = String(plain.etag);
        for (const accept of ['gzip', 'identity']) {
          for (const method of ['GET', 'HEAD']) {
            const conditional = { 'accept-encoding': accept, 'if-none-match': of(etag) };
            const { headers, body, ...answer } = await call('/bundle', conditional, { method });
            assert.equal(answer.status, status);
            assert.deepEqual(
              [headers.etag, headers['cache-control'], headers.vary],
              [etag, 'public, max-age=300', 'accept-encoding'],
            );
            if (status === 200) continue;
            assert.deepEqual(
              [headers['content-length'], headers['content-encoding'], headers['transfer-encoding']],
              [undefined, undefined, undefined],
            );
            assert.equal(body.length, 0);
          }
        }
      });
    }

    it('a refusal in place of a document has no ETag, and no If-None-Match changes it', async () => {
      hasPool = false;
      try {
        const first = await call('/bundle');
        for (const held of ['*', `W/"${hash(first.body)}"`]) {
          const answer = await call('/bundle', { 'if-none-match': held, 'accept-encoding': 'gzip' });
          assert.deepEqual([answer.status, answer.headers.etag], [503, undefined]);
          assert.equal(JSON.parse(String(answer.body)).reason, 'NotReady');
        }
      } finally {
        hasPool = true;
      }
      const broken = await call('/broken', { 'if-none-match': '*', 'accept-encoding': 'gzip' });
      assert.deepEqual([broken.status, broken.headers.etag], [500, undefined]);
      assert.equal(JSON.parse(String(broken.body)).reason, 'InternalError');
      assert.deepEqual(errors.splice(0), ['it is broken']);
    });

    it('the Content-Encoding of a GET is ignored', async () => {
      for (const encoding of ['gzip', 'br', 'none']) {
        const { status } = await call('/bundle', { 'content-encoding': encoding });
        assert.equal(status, 200, encoding);
      }
    });

    it('a client that leaves in the middle of a document is no error', async () => {
      const { port } = http.server.address() as AddressInfo;
      const outgoing = request({
        ...{ host: '127.0.0.1', port, path: '/openapi.json', headers: { 'accept-encoding': 'gzip' } },
        ...{ agent: false, ca: credentials.cert },
      });
      outgoing.end();
      const [incoming] = await once(outgoing, 'response');
      incoming.destroy();
      await once(incoming, 'close');
      const { status } = await call('/openapi.json', { 'accept-encoding': 'gzip' });
      assert.deepEqual([status, errors], [200, []]);
    });
  });

  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: 'a.b.c',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'https://api.example.com',
  }).toString();
  const bearer = { authorization: 'Bearer a.b.c' };
  const secrets: [path: string, headers: OutgoingHttpHeaders, body: string][] = [
    ['/token', { 'content-type': 'application/x-www-form-urlencoded' }, form],
    ['/jwt-svid', { ...bearer, 'content-type': 'application/json' }, '{"audience":"a"}'],
    ['/x509-svid', { ...bearer, 'content-type': 'application/pkcs10' }, 'a request'],
    ['/x509-svid', { ...bearer, 'content-type': 'application/pkcs10', accept: 'application/json' }, 'a'],
  ];
  for (const [path, headers, body] of secrets) {
    const type = String(headers.accept ?? headers['content-type']);
    it(`the answer of ${path} to ${type} is never compressed, and has no ETag`, async () => {
      const asked = { ...headers, 'accept-encoding': 'gzip', 'if-none-match': '*' };
      const answer = await call(path, asked, { method: 'POST', body });
      assert.equal(answer.status, 200, String(answer.body));
      assert.ok(String(answer.body).includes(secret));
      assert.deepEqual(
        ['content-encoding', 'etag', 'vary', 'cache-control'].map((name) => answer.headers[name]),
        [undefined, undefined, undefined, 'no-store'],
      );
    });
  }
});
