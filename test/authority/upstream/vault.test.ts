import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { answerRequest } from '../../../signer/authority/answer.ts';
import { createAuthority } from '../../../signer/authority/create.ts';
import { newPool } from '../../../signer/authority/document.ts';
import { prepareAuthority } from '../../../signer/authority/prepare.ts';
import { keyOfRequest } from '../../../signer/authority/read-keys.ts';
import { signCa } from '../../../signer/authority/sign-ca.ts';
import { parseUpstream } from '../../../signer/authority/upstream/upstream.ts';
import { type VaultLogin, vaultUpstream } from '../../../signer/authority/upstream/vault.ts';
import { readCertificate } from '../../../spiffe/pki/certificate.ts';
import { encodePem, soleBlock } from '../../../spiffe/pki/pem.ts';
import { readSubjectKey } from '../../../spiffe/pki/spki.ts';
import { makeCa } from '../authorities.ts';

const trustDomain = 'example.org';
const now = Math.floor(Date.now() / 1000);
const day = 86_400;
const company = await makeCa({
  subject: 'CN=company root',
  notBefore: now - day,
  notAfter: now + 3650 * day,
});
const web = await makeCa({ subject: 'CN=web root', notBefore: now - day, notAfter: now + day, uris: [] });
const server = await makeCa({
  ...{
    subject: 'CN=localhost',
    notBefore: now - day,
    notAfter: now + day,
    issuer: web,
    uris: [],
    isCa: false,
  },
  ...{ names: [['dns', 'localhost']], keyUsage: 1, extKeyUsage: ['1.3.6.1.5.5.7.3.1'] },
});
const pool = await (async () => {
  const change = await prepareAuthority(
    newPool(trustDomain, await createAuthority({ id: 'ca-1', trustDomain, now })),
    { kind: 'X509', now, asRequest: true, pathLength: 0 },
  );
  assert.ok(change.ok);
  return change.document;
})();
const request = pool.authorities.find(({ id }) => id === 'ca-2')?.request ?? '';

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** What a Vault answers to root/sign-intermediate (its HTTP API, PKI secrets engine). */
async function signIntermediate(csr: string, ttlSeconds: number): Promise<Answer> {
  const key = readSubjectKey(keyOfRequest(csr) ?? new Uint8Array());
  const root = readCertificate(soleBlock(company.certificate, 'CERTIFICATE') ?? new Uint8Array());
  assert.ok(key.kind === 'supported' && root.ok);
  const made = await signCa(
    { certificate: root.value, privateKey: createPrivateKey(company.privateKey) },
    { key, trustDomain, pathLength: 0, now, notAfter: now + ttlSeconds },
  );
  const data = {
    ...{ certificate: encodePem('CERTIFICATE', made.der), issuing_ca: company.certificate },
    ...{ ca_chain: [company.certificate], serial_number: '01', expiration: made.notAfter },
  };
  return { status: 200, body: { request_id: '1', lease_id: '', renewable: false, lease_duration: 0, data } };
}

/** It speaks the documented wire format of Vault, and holds requests to it. */
describe('a stand-in for the PKI engine of Vault', () => {
  let vault: Server;
  let url: URL;
  let answer: ((csr: string) => Promise<Answer> | Answer) | undefined;
  const asked: { path: string; token: unknown; body: Record<string, unknown> }[] = [];

  before(async () => {
    vault = createServer({ key: server.privateKey, cert: server.certificate }, async (incoming, response) => {
      const body = JSON.parse(await text(incoming));
      const { 'x-vault-token': token } = incoming.headers;
      asked.push({ path: incoming.url ?? '', token, body });
      const reply = ({ status, body: said }: Answer) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(typeof said === 'string' ? said : JSON.stringify(said));
      };
      if (incoming.url === '/v1/auth/kubernetes/login') {
        const isRight = body.role === 'kubespiffe' && body.jwt === 'a token of a ServiceAccount';
        return reply(
          isRight
            ? { status: 200, body: { auth: { client_token: 's.given' } } }
            : { status: 403, body: { errors: ['permission denied'] } },
        );
      }
      if (token !== 's.given') return reply({ status: 403, body: { errors: ['permission denied'] } });
      if (incoming.url !== '/v1/pki/root/sign-intermediate')
        return reply({ status: 404, body: { errors: ['no handler for route'] } });
      reply(await (answer ?? ((csr) => signIntermediate(csr, Number.parseInt(body.ttl, 10))))(body.csr));
    });
    vault.listen(0, 'localhost');
    await once(vault, 'listening');
    url = new URL(`https://localhost:${(vault.address() as AddressInfo).port}/pki`);
  });
  after(() => vault.close());

  const ask = (login: VaultLogin = { token: 's.given' }, at = url, roots = web.certificate) =>
    vaultUpstream({ url: at, login, roots, env: {} }).sign(
      { id: 'ca-2', request, trustDomain, lifetimeSeconds: 90 * day },
      AbortSignal.timeout(10_000),
    );

  it('Vault signs, and its answer makes an authority', async () => {
    answer = undefined;
    const signed = await ask();
    assert.ok(signed.kind === 'signed', JSON.stringify(signed));
    const { path, body } = asked.at(-1) ?? assert.fail('it was not asked');
    assert.equal(path, '/v1/pki/root/sign-intermediate');
    assert.equal(body.uri_sans, 'spiffe://example.org');
    assert.equal(body.max_path_length, 0);
    assert.equal(body.ttl, `${90 * day}s`);
    const facts = { certificates: signed.certificates, notAfter: now + 90 * day };
    const known = answerRequest(pool, 'ca-2', { ...facts, furtherRoots: [company.certificate] }, now);
    assert.ok(known.ok, JSON.stringify(known));
    const unknown = answerRequest(pool, 'ca-2', { ...facts, furtherRoots: [] }, now);
    assert.ok(!unknown.ok);
    assert.match(unknown.what, /a root that the pool does not have, SHA-256 [0-9a-f]{64}/);
    assert.match(unknown.remedy, /--upstream-root/);
  });

  it('the login to Vault uses the token of a ServiceAccount', async () => {
    const login = {
      role: 'kubespiffe',
      mount: 'kubernetes',
      readJwt: async () => 'a token of a ServiceAccount',
    };
    assert.equal((await ask(login)).kind, 'signed');
    assert.equal((await ask({ ...login, role: 'other' })).kind, 'refused');
    const unreadable = await ask({ ...login, readJwt: () => Promise.reject(new Error('secret')) });
    assert.deepEqual(unreadable, { kind: 'pending', what: 'the token for Vault cannot be read' });
  });

  const rows: [name: string, given: Answer, kind: string, what: RegExp][] = [
    [
      'is sealed',
      { status: 503, body: { errors: ['Vault is sealed'] } },
      'pending',
      /answered 503: Vault is sealed/,
    ],
    ['is a standby', { status: 473, body: {} }, 'pending', /answered 473/],
    ['is busy', { status: 429, body: { errors: [] } }, 'pending', /answered 429/],
    [
      'refuses the request',
      { status: 400, body: { errors: ['ttl is too long'] } },
      'refused',
      /ttl is too long/,
    ],
    ['answers with nothing', { status: 200, body: {} }, 'refused', /without a certificate/],
    ['answers with a web page', { status: 200, body: '<html></html>' }, 'refused', /without a certificate/],
    [
      'answers with a text in place of data',
      { status: 200, body: { data: 'x' } },
      'refused',
      /without a certificate/,
    ],
    [
      'answers with 300 KiB',
      { status: 200, body: 'x'.repeat(300 * 1024) },
      'pending',
      /longer than 262144 bytes/,
    ],
  ];
  for (const [name, given, kind, what] of rows) {
    it(`Vault gives no certificate when it ${name}`, async () => {
      answer = () => given;
      const outcome = await ask();
      assert.equal(outcome.kind, kind);
      assert.match(outcome.kind === 'signed' ? '' : outcome.what, what);
    });
  }

  it('Vault is not asked if its certificate is not trusted, its mount is wrong, or it does not listen', async () => {
    const untrusted = await ask(undefined, url, company.certificate);
    assert.equal(untrusted.kind, 'pending');
    const wrong = await ask(undefined, new URL('/other', url));
    assert.ok(wrong.kind === 'refused');
    assert.match(wrong.remedy, /correct the mount/);
    assert.equal((await ask(undefined, new URL('https://localhost:1/pki'))).kind, 'pending');
  });
});

describe('the name of another CA', () => {
  it('the name of another CA is read in each of its forms', () => {
    for (const [given, expected] of [
      ['cert-manager:Issuer/company', { name: 'company', kind: 'Issuer', group: 'cert-manager.io' }],
      [
        'cert-manager:AWSPCAIssuer.awspca.cert-manager.io/pca',
        { name: 'pca', kind: 'AWSPCAIssuer', group: 'awspca.cert-manager.io' },
      ],
    ] as const) {
      const read = parseUpstream(given);
      assert.ok(read.ok && read.value.kind === 'cert-manager');
      assert.deepEqual(read.value.issuer, expected);
    }
    const vault = parseUpstream('vault:https://vault.example.com:8200/company/pki');
    assert.ok(vault.ok && vault.value.kind === 'vault');
    assert.equal(vault.value.url.pathname, '/company/pki');
  });

  const wrong = [
    ...[
      '',
      'vault',
      'step-ca:https://ca',
      'cert-manager:',
      'cert-manager:Issuer',
      'cert-manager:Issuer/Company',
    ],
    ...[
      'vault:http://vault/pki',
      'vault:https://vault',
      'vault:https://vault/',
      'vault:https://u:p@vault/pki',
    ],
    ...['vault:https://vault/pki?x=1', 'vault:https://vault/a%2fb'],
  ];
  for (const given of wrong) {
    it(`the name of another CA is refused: ${JSON.stringify(given)}`, () => {
      const read = parseUpstream(given);
      assert.ok(!read.ok);
      assert.match(read.reason, /write cert-manager:Issuer\/NAME/);
    });
  }
});
