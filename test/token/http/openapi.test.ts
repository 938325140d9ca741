import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { createAuthority } from '../../../signer/authority/create.ts';
import { createJwtAuthority } from '../../../signer/authority/create-jwt.ts';
import { newPool } from '../../../signer/authority/document.ts';
import { compilePool } from '../../../signer/authority/pool.ts';
import { type Checked, pass, refuse } from '../../../signer/observe/checked.ts';
import { type RefusalCode, refusals } from '../../../signer/observe/refusals.ts';
import { addBundleRoutes, createBundles } from '../../../signer/token/http/bundle-routes.ts';
import { addDocumentRoutes, createDocuments, openApiOf } from '../../../signer/token/http/document-routes.ts';
import { addDocuments } from '../../../signer/token/http/document-scope.ts';
import { createHttp } from '../../../signer/token/http/http.ts';
import { describeRoutes } from '../../../signer/token/http/openapi.ts';
import { paths } from '../../../signer/token/http/paths.ts';
import { addTokenRoutes } from '../../../signer/token/http/token-routes.ts';
import { addX509Routes } from '../../../signer/token/http/x509-routes.ts';
import { readExchange, readShortForm } from '../../../signer/token/svid/exchange.ts';
import type { IssuedToken } from '../../../signer/token/svid/jwt-service.ts';
import type { IssuedX509Svid } from '../../../signer/token/svid/x509-service.ts';
import { publicationOf } from '../../../signer/trust/publication.ts';
import { timeWith } from '../../kube/fake-time.ts';

interface Schema {
  readonly required: readonly string[];
  readonly properties: Readonly<Record<string, { readonly enum?: readonly string[] }>>;
}

interface Operation {
  readonly operationId: string;
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema: Schema }>> };
  readonly responses: Readonly<Record<string, { readonly content?: Record<string, unknown> }>>;
}

const now = Date.UTC(2026, 10, 22, 12) / 1000;
/** A path as OpenAPI writes it. */
const described = (path: string) => path.replace(/:(\w+)/, '{$1}');

const spiffeId = 'spiffe://example.org/ns/n/sa/a';
const ofRegistration = { registration: 'n/a', hint: 'internal' };
const aToken: IssuedToken = {
  ...{ kind: 'token', token: 'x.y.z', expiresIn: 300, spiffeId, ...ofRegistration },
  ...{ audiences: ['a'], tokenId: 'i', keyId: 'k', notAfter: 600 },
};
const leaf = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';
const aCertificate: IssuedX509Svid = {
  ...{ kind: 'x509-svid', spiffeId, ...ofRegistration, dnsNames: [], chainPem: leaf + leaf, rootsPem: leaf },
  ...{ serial: '01', publicKeySha256: '02', authority: 'x1' },
  ...{ notBefore: 0, issuedAt: 100, refreshAt: 350, notAfter: 600 },
};

/** The endpoint's server with a service that says what a test wants, and the documents of a real pool. */
describe('the OpenAPI document', () => {
  let app: FastifyInstance;
  /** As they are added, each with its method. */
  const added: string[] = [];
  let tokens: Checked<IssuedToken>;
  let certificates: Checked<IssuedX509Svid>;
  let hasPool = true;
  let isFull = false;
  let document: {
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<'Token' | 'X509Svid' | 'Refusal', Schema> };
  };
  let operations: { path: string; method: string; operation: Operation }[];

  before(async () => {
    const trustDomain = 'example.org';
    const compiled = compilePool(
      {
        ...newPool(trustDomain),
        authorities: [
          await createAuthority({ id: 'x1', trustDomain, now }),
          await createJwtAuthority({ key: 'es256', now }),
        ],
      },
      trustDomain,
    );
    assert.ok(compiled.ok);
    const current = () => (hasPool ? compiled.pool : undefined);
    const http = createHttp({
      tls: {},
      connectionRate: { take: () => 0, charge: () => undefined },
      addressLimits: { take: () => (isFull ? 1 : 0) },
      report: () => undefined,
      onCut: () => undefined,
      onError: (error) => assert.fail(error),
      time: timeWith({ monotonic: () => 0 }),
    });
    ({ app } = http);
    app.addHook('onRoute', ({ method, path }) => {
      for (const each of [method].flat()) added.push(`${each} ${described(path)}`);
    });
    const peers = new Map<string, string>();
    const settings = { issuer: 'https://id.example.org', refreshHintSeconds: 300 };
    const publication = publicationOf(current);
    const documents = createDocuments(publication, settings);
    const bundles = createBundles({ ...settings, trustDomain, publication, peers: () => peers });
    await describeRoutes(app);
    const all = { trustDomains: 'all', because: 'the test' } as const;
    await addDocuments(http, (scope) => {
      addDocumentRoutes(scope, { ...documents, openApi: openApiOf(http) }, 300);
      addBundleRoutes(scope, bundles, async () => pass(all), 300);
    });
    addTokenRoutes(http, async () => tokens);
    addX509Routes(http, async () => certificates);
    await app.ready();
    document = app.swagger() as unknown as typeof document;
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        path,
        method: method.toUpperCase(),
        operation,
      })),
    );
  });
  after(() => app.close());

  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: 'a.b.c',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'https://api.example.com',
  };
  const requests: Record<string, InjectOptions> = {
    exchangeToken: {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams(form).toString(),
    },
    getJwtSvid: {
      headers: { 'content-type': 'application/json', authorization: 'Bearer a.b.c' },
      payload: JSON.stringify({ audience: form.audience }),
    },
    getX509Svid: {
      headers: {
        'content-type': 'application/pkcs10',
        authorization: 'Bearer a.b.c',
        accept: 'application/json',
      },
      payload: Buffer.from('a request'),
    },
  };

  const call = ({ path, method, operation }: (typeof operations)[number], more: InjectOptions = {}) =>
    app.inject({
      ...requests[operation.operationId],
      ...more,
      method: method as 'GET',
      url: path.replace('{trustDomain}', 'example.org'),
    });

  /** Whether a body of this type is described for this status. */
  function assertDescribed(
    operation: Operation,
    answer: { statusCode: number; headers: Record<string, unknown>; body: string },
  ): void {
    const response = operation.responses[String(answer.statusCode)];
    assert.ok(response, `${operation.operationId} answers ${answer.statusCode}, which is not described`);
    const types = Object.keys(response.content ?? {});
    if (answer.body === '') {
      assert.deepEqual(types, []);
      return;
    }
    const [type = ''] = String(answer.headers['content-type']).split(';');
    assert.ok(types.includes(type), `${operation.operationId}: ${type} is not one of ${types}`);
  }

  it('the OpenAPI document describes every route, and no other', () => {
    // HEAD is GET without the body, which HTTP says by itself.
    const routes = added.filter((route) => !route.startsWith('HEAD '));
    assert.ok(routes.length >= 7);
    assert.deepEqual(operations.map(({ path, method }) => `${method} ${path}`).sort(), routes.sort());
    assert.deepEqual(Object.keys(document.paths).sort(), Object.values(paths).map(described).sort());
  });

  it('the OpenAPI document describes the answers to good requests', async () => {
    tokens = pass(aToken);
    certificates = pass(aCertificate);
    const { Token, X509Svid } = document.components.schemas;
    for (const each of operations) {
      const answer = await call(each);
      assert.equal(answer.statusCode, 200, answer.body);
      assertDescribed(each.operation, answer);
      if (each.method !== 'POST') continue;
      const { required, properties } = each.path === paths.x509Svid ? X509Svid : Token;
      const { registration, hint, ...always } = answer.json();
      assert.deepEqual({ registration, hint }, ofRegistration);
      assert.deepEqual(Object.keys(always).sort(), [...required].sort());
      assert.deepEqual(Object.keys(properties).sort(), Object.keys(answer.json()).sort());
    }
  });

  const accepted: [accept: string | undefined, type: string][] = [
    [undefined, 'application/pem-certificate-chain'],
    ['*/*', 'application/pem-certificate-chain'],
    ['application/pem-certificate-chain, application/json;q=0.5', 'application/pem-certificate-chain'],
    ['application/json;q=0', 'application/pem-certificate-chain'],
    ['application/json', 'application/json'],
    ['text/html, APPLICATION/JSON ; q=0.1, */*', 'application/json'],
  ];
  for (const [accept, type] of accepted) {
    it(`the OpenAPI document describes a certificate in the form that is sent for ${accept ?? 'any Accept header'}`, async () => {
      certificates = pass(aCertificate);
      const operation = operations.find(({ path }) => path === paths.x509Svid);
      assert.ok(operation);
      const { accept: _usual, ...headers } = requests.getX509Svid?.headers ?? {};
      const answer = await call(operation, {
        headers: { ...headers, ...(accept !== undefined && { accept }) },
      });
      assert.ok(String(answer.headers['content-type']).startsWith(type), answer.body);
      assertDescribed(operation.operation, answer);
      if (type === 'application/json') return;
      assert.equal(answer.headers['kubespiffe-chain-length'], '2');
      assert.equal(answer.headers['kubespiffe-refresh-after'], '250');
      assert.equal(answer.body, leaf.repeat(3));
    });
  }

  it('the OpenAPI document describes every refusal where it can come, with its status', async () => {
    const { required, properties } = document.components.schemas.Refusal;
    for (const each of operations.filter(({ method }) => method === 'POST')) {
      const reasons = new Set<string>();
      const text = JSON.stringify(each.operation.responses);
      for (const code of Object.keys(refusals) as RefusalCode[]) {
        if (!text.includes(`"${code}"`)) continue;
        tokens = refuse(code, 'a detail');
        certificates = tokens;
        const answer = await call(each);
        assert.equal(answer.statusCode, refusals[code].status);
        assertDescribed(each.operation, answer);
        const { error, reason, ...rest } = answer.json();
        assert.deepEqual(Object.keys(rest), ['error_description']);
        assert.deepEqual([reason, properties.error?.enum?.includes(error)], [code, true]);
        assert.ok(JSON.stringify(each.operation.responses[String(answer.statusCode)]).includes(`"${code}"`));
        reasons.add(code);
      }
      assert.ok(reasons.size > 25);
    }
    assert.deepEqual([...required].sort(), ['error', 'error_description', 'reason']);
    assert.deepEqual(properties.reason?.enum, Object.keys(refusals));
  });

  it('the OpenAPI document describes the answers for documents: not modified, too many requests, and not ready', async () => {
    for (const each of operations.filter(({ method }) => method === 'GET')) {
      const { headers } = await call(each);
      const again = await call(each, { headers: { 'if-none-match': String(headers.etag) } });
      assert.equal(again.statusCode, 304);
      assertDescribed(each.operation, again);
      isFull = true;
      const often = await call(each);
      isFull = false;
      assert.equal(often.statusCode, 429);
      assertDescribed(each.operation, often);
      hasPool = false;
      const early = await call(each);
      hasPool = true;
      assert.equal(early.statusCode, each.path === paths.openApi ? 200 : 503);
      if (each.path !== paths.openApi) assert.match(early.body, /the pool was not read yet/);
      assertDescribed(each.operation, early);
    }
  });

  it('the OpenAPI document describes the form as it is read', () => {
    const [schema] = Object.values(document.paths[paths.exchange]?.post?.requestBody?.content ?? {}).map(
      ({ schema: each }) => each,
    );
    assert.ok(schema);
    const read = (fields: Record<string, string>) =>
      readExchange(new URLSearchParams(fields).toString(), { authorization: undefined });
    const all = { ...form, requested_token_type: form.subject_token_type, registration: 'web' };
    assert.deepEqual(Object.keys(schema.properties).sort(), Object.keys(all).sort());
    assert.ok(read(all).ok && read(form).ok);
    for (const name of schema.required) {
      const { [name as keyof typeof form]: _left, ...rest } = form;
      const outcomeOf = read(rest);
      // Whether there is an audience is a matter of the policy, which sees an empty list.
      if (name === 'audience') assert.ok(outcomeOf.ok && outcomeOf.value.audiences.length === 0);
      else assert.equal(outcomeOf.ok, false, name);
    }
    assert.equal(read({ ...form, actor_token: 'a' }).ok, false);
    assert.ok(readShortForm('{"audience":["a","b"]}', { authorization: 'Bearer a.b.c' }).ok);
    assert.equal(readShortForm('{"audience":"a","more":1}', { authorization: 'Bearer a.b.c' }).ok, false);
  });

  it('the OpenAPI document has no dangling reference, and is served unchanged', async () => {
    const text = JSON.stringify(document);
    const names = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name = '']) => name);
    assert.deepEqual([...new Set(names)].sort(), Object.keys(document.components.schemas).sort());
    const answer = await app.inject({ url: paths.openApi });
    assert.deepEqual(answer.json(), JSON.parse(text));
    const ids = operations.map(({ operation }) => operation.operationId);
    assert.equal(new Set(ids).size, ids.length);
  });
});
