import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { KeyUsageFlags } from '@peculiar/x509';
import { answerRequest } from '../../signer/authority/answer.ts';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { prepareAuthority } from '../../signer/authority/prepare.ts';
import { keyOfRequest } from '../../signer/authority/read-keys.ts';
import { nextStep } from '../../signer/authority/rotation.ts';
import { signCa } from '../../signer/authority/sign-ca.ts';
import { writablePool } from '../../signer/authority/transitions.ts';
import { takeUpstreamStep } from '../../signer/authority/upstream/prepare.ts';
import { applyVerb } from '../../signer/authority/verbs.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { readProvenCsrKey } from '../../spiffe/pki/csr.ts';
import { encodePem, soleBlock } from '../../spiffe/pki/pem.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { makeCa, p256, type TestCa, type TestCaOptions } from './authorities.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const year = 365 * day;
const own = await createAuthority({ id: 'ca-1', trustDomain, now: now - 30 * day });
const requested = await withRequest(newPool(trustDomain, own));
const waiting = recordIn(requested, 'ca-2');
const company = await makeCa({ subject: 'CN=company root', notBefore: now - day, notAfter: now + 10 * year });
const stranger = await makeCa({ subject: 'CN=stranger', notBefore: now - day, notAfter: now + 10 * year });
const timing = { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 };
const facts = { now, timing, published: undefined };

async function withRequest(document: PoolDocument): Promise<PoolDocument> {
  const change = await prepareAuthority(document, { kind: 'X509', now, asRequest: true, pathLength: 0 });
  assert.ok(change.ok);
  return change.document;
}

function recordIn({ authorities }: PoolDocument, id: string): AuthorityRecord {
  const record = authorities.find((each) => each.id === id);
  assert.ok(record);
  return record;
}

/** A certificate for the key that was asked for, with every property to be chosen. */
async function signed(options: Partial<TestCaOptions> = {}): Promise<TestCa> {
  const der = soleBlock(waiting.privateKey ?? '', 'PRIVATE KEY');
  assert.ok(der);
  const privateKey = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' }).toCryptoKey(
    p256,
    true,
    ['sign'],
  );
  const spki = readSubjectKey(keyOfRequest(waiting.request ?? '') ?? new Uint8Array());
  assert.ok(spki.kind === 'supported');
  const publicKey = await crypto.subtle.importKey('spki', Uint8Array.from(spki.spki), p256, true, ['verify']);
  return makeCa({
    ...{ subject: 'CN=issuing', notBefore: now - 3600, notAfter: now + year, issuer: company, pathLen: 0 },
    ...{ keys: { privateKey, publicKey } },
    ...options,
  });
}

const answerOf = (...cas: TestCa[]) => ({
  certificates: cas.map(({ certificate }, index) => ({ pem: certificate, name: `file ${index + 1}` })),
});

describe('the request of an authority', () => {
  it('a request for a CA keeps its key in the pool and publishes, signs and rotates nothing', () => {
    assert.equal(waiting.state, 'prepared');
    assert.ok(waiting.privateKey !== undefined && waiting.certificate === undefined);
    const checked = writablePool(requested, now);
    assert.ok(checked.ok);
    assert.deepEqual(
      checked.pool.authorities.map(({ id }) => id),
      ['ca-1'],
    );
    assert.deepEqual(nextStep(requested, 'X509', facts), { kind: 'prepare' });
  });

  it('a request for a CA is signed with its own key', () => {
    const der = soleBlock(waiting.request ?? '', 'CERTIFICATE REQUEST');
    assert.equal(readProvenCsrKey(der ?? new Uint8Array()).kind, 'supported');
  });

  for (const verb of ['preview', 'trust'] as const) {
    it(`a CA is not published by ${verb} before its request is answered`, () => {
      const outcome = applyVerb(requested, verb, 'ca-2', facts);
      assert.ok(!outcome.ok);
      assert.match(outcome.what, /waits for its certificate/);
      assert.match(outcome.remedy, /ca import --request ca-2/);
    });
  }

  it('a request for a CA is withdrawn by remove', () => {
    const outcome = applyVerb(requested, 'remove', 'ca-2', facts);
    assert.ok(outcome.ok);
    assert.equal(outcome.document.authorities.length, 1);
  });
});

describe('the answer to a request', () => {
  it('the answer to a request makes the authority prepared, with its chain in any order', async () => {
    const middle = await makeCa({
      ...{ subject: 'CN=middle', notBefore: now - day, notAfter: now + 5 * year, issuer: company },
    });
    const outcome = answerRequest(
      requested,
      'ca-2',
      answerOf(company, middle, await signed({ issuer: middle })),
      now,
    );
    assert.ok(outcome.ok, JSON.stringify(outcome));
    const record = recordIn(outcome.document, 'ca-2');
    assert.equal(record.state, 'prepared');
    assert.equal(record.request, undefined);
    assert.equal(record.intermediates?.length, 2);
    assert.ok(writablePool(outcome.document, now).ok);
    assert.deepEqual(nextStep(outcome.document, 'X509', facts), {
      kind: 'change',
      verb: 'trust',
      id: 'ca-2',
    });
  });

  it('the answer of our own offline root is accepted, and has only the key of the request', async () => {
    const root = await createAuthority({
      id: 'root-1',
      trustDomain,
      now,
      pathLength: 1,
      keyType: 'ecdsa-p384',
    });
    const rootDer = soleBlock(root.certificate ?? '', 'CERTIFICATE');
    const read = rootDer && readCertificate(rootDer);
    assert.ok(read?.ok);
    const key = readSubjectKey(keyOfRequest(waiting.request ?? '') ?? new Uint8Array());
    assert.ok(key.kind === 'supported');
    const made = await signCa(
      { certificate: read.value, privateKey: createPrivateKey(root.privateKey ?? '') },
      { key, trustDomain, pathLength: 0, onlyTrustDomain: true, now, notAfter: now + 2 * year },
    );
    assert.equal(made.pathLen, 0);
    assert.equal(made.notAfter, read.value.notAfter);
    const answer = {
      certificates: [
        { name: 'answer', pem: encodePem('CERTIFICATE', made.der) },
        { name: 'root', pem: root.certificate ?? '' },
      ],
    };
    const outcome = answerRequest(requested, 'ca-2', answer, now);
    assert.ok(outcome.ok, JSON.stringify(outcome));
    assert.ok(writablePool(outcome.document, now).ok);
  });

  const rows: [name: string, options: Partial<TestCaOptions> | undefined, what: RegExp, remedy: RegExp][] = [
    ['is for another key', undefined, /belongs to no certificate/, /certificate of this key/],
    ['is no CA', { isCa: false }, /not a CA certificate/, /use a CA/],
    [
      'may sign no certificates',
      { keyUsage: KeyUsageFlags.digitalSignature },
      /keyUsage without keyCertSign/,
      /use a CA/,
    ],
    [
      'carries another SPIFFE ID',
      { uris: ['spiffe://other.org'] },
      /carries the SPIFFE ID "spiffe:\/\/other/,
      /example\.org/,
    ],
    [
      'carries an extra URI',
      { uris: ['spiffe://example.org', 'https://example.org'] },
      /carries "https:\/\/example.org", which was not asked for/,
      /sign the request again/,
    ],
    [
      'carries a DNS name',
      { names: [['dns', 'example.org']] },
      /carries "example.org", which/,
      /sign the request again/,
    ],
    [
      'carries an email address',
      { names: [['email', 'ca@example.org']] },
      /a name of kind email/,
      /sign the request/,
    ],
    ['carries an IP address', { names: [['ip', '192.0.2.1']] }, /a name of kind IP/, /sign the request/],
    ['has expired', { notAfter: now - 1 }, /ends at 2026-11-29T11:59:59Z/, /sign the request again/],
    [
      'has half an hour left',
      { notAfter: now + 1800 },
      /ends at 2026-11-29T12:30:00Z/,
      /sign the request again/,
    ],
    ['begins tomorrow', { notBefore: now + day }, /valid only from 2026-11-30/, /sign the request again/],
    ['has no subject', { subject: '' }, /has no subject/, /sign the request again/],
    [
      'lives longer than was asked for',
      { notAfter: now + 2 * year },
      /valid until 2028-.*, and 2027-/,
      /sign the request/,
    ],
    ['is signed by a CA that is missing', { issuer: stranger }, /no self-signed root/, /up to the root/],
    ['is limited to code signing', { extKeyUsage: ['1.3.6.1.5.5.7.3.3'] }, /extKeyUsage without/, /use a CA/],
  ];
  for (const [name, options, what, remedy] of rows) {
    it(`the answer to a request is refused when it ${name}`, async () => {
      const certificate = options
        ? await signed(options)
        : await makeCa({ notBefore: now, notAfter: now + year, issuer: company });
      const answer = { ...answerOf(certificate, company), notAfter: now + year };
      const outcome = answerRequest(requested, 'ca-2', answer, now);
      assert.ok(!outcome.ok);
      assert.match(outcome.what, what);
      assert.match(outcome.remedy, remedy);
    });
  }

  it('the answer to a request is refused when it is not a certificate', () => {
    for (const pem of ['', 'no', waiting.request ?? '', '<html></html>']) {
      const outcome = answerRequest(requested, 'ca-2', { certificates: [{ name: 'answer.pem', pem }] }, now);
      assert.ok(!outcome.ok);
      assert.match(outcome.what, /^answer\.pem: /);
    }
  });

  it('the answer to a request is refused when it is below a CA with path length 0', async () => {
    const short = await makeCa({
      subject: 'CN=short',
      notBefore: now - day,
      notAfter: now + year,
      pathLen: 0,
    });
    const outcome = answerRequest(requested, 'ca-2', answerOf(await signed({ issuer: short }), short), now);
    assert.ok(!outcome.ok);
    assert.match(outcome.what, /allows 0 intermediates below it, and there are 1/);
  });

  it('the answer for an authority without a request is refused, and the waiting authorities are named', async () => {
    const answer = answerOf(await signed(), company);
    const answered = answerRequest(requested, 'ca-2', answer, now);
    assert.ok(answered.ok);
    for (const [document, id, remedy] of [
      [requested, 'ca-1', /name one of ca-2/],
      [requested, 'ca-9', /name one of ca-2/],
      [answered.document, 'ca-2', /ca csr/],
    ] as const) {
      const outcome = answerRequest(document, id, answer, now);
      assert.ok(!outcome.ok);
      assert.match(outcome.remedy, remedy);
    }
  });
});

describe('the answer of an issuer to a rotation', () => {
  const withCompany = newPool(trustDomain, own, {
    ...{ id: 'company', kind: 'X509', state: 'retiring', tainted: false },
    certificate: company.certificate,
  });
  const poolWith = (request: AuthorityRecord): PoolDocument => ({
    ...withCompany,
    authorities: [...withCompany.authorities, request],
  });
  const pool = poolWith({ ...waiting, requestedBy: 'rotation' });
  const step = async (document: PoolDocument, notAfter: number) => {
    const certificates = answerOf(company, await signed({ notAfter })).certificates;
    const upstream = { name: 'the issuer', sign: async () => ({ kind: 'signed' as const, certificates }) };
    const wanted = { now, lifetimeSeconds: year, certificateSeconds: day };
    return takeUpstreamStep(upstream, document, wanted, new AbortController().signal);
  };

  it('a CA from an issuer is accepted only if it lasts for more than maxLifetime plus a day', async () => {
    const long = await step(pool, now + 2 * day + 60);
    assert.ok(long.ok, JSON.stringify(long));
    assert.ok(writablePool(long.document, now).ok);
    const short = await step(pool, now + 2 * day);
    assert.ok(!short.ok);
    assert.match(short.what, /gave authority ca-2 a certificate that ends, .* 2026-12-01T12:00:00Z/);
    assert.match(short.remedy, /last for 172800 s and more/);
  });

  it('the answer of an issuer is refused if it leads to a tainted root of the pool', async () => {
    const tainted = pool.authorities.map((each) =>
      each.id === 'company' ? { ...each, tainted: true } : each,
    );
    const outcome = await step({ ...pool, authorities: tainted }, now + year);
    assert.ok(!outcome.ok);
    assert.match(
      outcome.what,
      /a root that the pool does not have, SHA-256 [0-9a-f]+, or that is tainted there/,
    );
  });

  it('an issuer is not asked to sign a request that a person made', async () => {
    const asked = await step(poolWith(waiting), now + year);
    assert.ok(asked.ok);
    const requests = ['ca-2', 'ca-3'].map((id) => recordIn(asked.document, id));
    assert.deepEqual(requests[0], waiting);
    assert.equal(requests[1]?.requestedBy, 'rotation');
    assert.ok(writablePool(asked.document, now).ok);
  });
});
