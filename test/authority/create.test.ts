import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { isAuthorityId, newPool, writePoolDocument } from '../../signer/authority/document.ts';
import { parsePool } from '../../signer/authority/pool.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { authorityStates } from '../../signer/authority/states.ts';
import { checkAuthority } from '../../spiffe/conformance.ts';
import { authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { findExtension } from '../../spiffe/pki/extensions.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { subjectAltName } from '../../spiffe/pki/subject-alt-name.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';

const now = Math.floor(Date.now() / 1000);
let dir = '';
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'kubespiffe-create-'));
});
after(() => rmSync(dir, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
}

const openssl = (...args: string[]) => execFileSync('openssl', args, { encoding: 'utf8' });

function factsOf(pem: string | undefined) {
  const blocks = decodePem(pem ?? '');
  assert.ok(blocks.ok);
  const facts = readCertificate(blocks.value[0]?.der ?? new Uint8Array());
  assert.ok(facts.ok, facts.ok ? '' : facts.reason);
  return facts.value;
}

describe('a new root', () => {
  for (const keyType of authorityKeyTypes) {
    it(`a new root of ${keyType} is a SPIFFE signing certificate, for our checks and for OpenSSL's`, async () => {
      const record = await createAuthority({ id: 'ca-1', trustDomain: 'example.org', keyType, now });
      const facts = factsOf(record.certificate);
      const failed = checkAuthority(facts, 'example.org').filter((finding) => !finding.ok);
      assert.deepEqual(failed, []);
      assert.deepEqual(facts.uris, ['spiffe://example.org']);
      assert.deepEqual(facts.dnsNames, []);
      assert.deepEqual([...(facts.keyUsage ?? [])].sort(), ['cRLSign', 'keyCertSign']);
      assert.deepEqual(Buffer.from(facts.authorityKeyId ?? []), Buffer.from(facts.keyId));
      assert.equal(now - facts.notBefore, 3600);

      const root = write(`${keyType}.pem`, record.certificate ?? '');
      const text = openssl('x509', '-in', root, '-noout', '-text', '-nameopt', 'RFC2253');
      assert.match(text, /Subject: CN=example\.org ca-1,O=kubespiffe/);
      assert.match(text, /Basic Constraints: critical\s+CA:TRUE\n/);
      assert.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
      assert.match(text, /Subject Alternative Name: \n?\s+URI:spiffe:\/\/example\.org\n/);

      const parsed = parsePool(
        { metadata: { name: 'pool' }, data: serializePool(newPool('example.org', record)) },
        { trustDomain: 'example.org', now },
      );
      assert.ok(parsed.ok, parsed.ok ? '' : parsed.problem.message);
      const signing = parsed.pool.active?.signingAuthority;
      assert.ok(signing);
      const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const subject = readSubjectKey(publicKey.export({ format: 'der', type: 'spki' }));
      assert.ok(subject.kind === 'supported');
      const template = signing.templateFor(svidProfile);
      const tbs = template.build({
        serial: makeSerial(randomBytes),
        notBefore: now - 120,
        notAfter: now + 3600,
        key: subject,
        subjectAltName: subjectAltName({ uris: ['spiffe://example.org/ns/default/sa/web'], dnsNames: [] }),
      });
      const leaf = template.assemble(tbs, await signing.signer.sign(tbs));
      const leafFile = write(`${keyType}-leaf.pem`, encodePem('CERTIFICATE', leaf));
      assert.match(openssl('verify', '-x509_strict', '-CAfile', root, leafFile), /: OK\n$/);
    });
  }

  for (const trustDomain of ['a'.repeat(255), '-begins-with-a-hyphen', 'x', '1.2.3.4', 'a_b.c-d']) {
    it(`a new root takes the trust domain ${trustDomain.slice(0, 30)} (${trustDomain.length} characters)`, async () => {
      const record = await createAuthority({ id: 'ca-1', trustDomain, now });
      const facts = factsOf(record.certificate);
      assert.deepEqual(facts.uris, [`spiffe://${trustDomain}`]);
      const name = /CN=(.*)$/m.exec(new X509Certificate(facts.der).subject)?.[1] ?? '';
      assert.ok(name.length > 0 && name.length <= 64, name);
      assert.ok(name.endsWith('ca-1'));
      const file = write('root.pem', record.certificate ?? '');
      assert.match(openssl('verify', '-x509_strict', '-CAfile', file, file), /: OK\n$/);
    });
  }

  it('a new root without a trust domain has no SPIFFE ID, and may be limited to DNS names', async () => {
    const permittedDnsNames = ['svc', 'svc.cluster.local'];
    const record = await createAuthority({ id: 'dns-1', trustDomain: undefined, permittedDnsNames, now });
    const { uris, extensions } = factsOf(record.certificate);
    assert.deepEqual(uris, []);
    const limit = Buffer.from(findExtension(extensions, 'nameConstraints')?.value ?? []);
    assert.equal(limit.toString('latin1'), '0\x1e\xa0\x1c0\x05\x82\x03svc0\x13\x82\x11svc.cluster.local');
    const root = write('dns.pem', record.certificate ?? '');
    const text = openssl('x509', '-in', root, '-noout', '-text', '-nameopt', 'RFC2253');
    assert.match(text, /Subject: CN=service-dns dns-1,O=kubespiffe/);
    assert.match(text, /Name Constraints: critical\s+Permitted:\s+DNS:svc\s+DNS:svc\.cluster\.local\n/);
    assert.doesNotMatch(text, /Subject Alternative Name/);
    const data = serializePool(newPool(undefined, record));
    const parsed = parsePool({ metadata: { name: 'pool' }, data }, { trustDomain: undefined, now });
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.problem.message);
    assert.deepEqual(parsed.pool.active?.dnsConstraints, [{ permitted: permittedDnsNames, excluded: [] }]);
    const wrong = createAuthority({ id: 'a', trustDomain: undefined, permittedDnsNames: ['*.svc'], now });
    await assert.rejects(wrong, { code: 'USAGE', message: /"\*\.svc" is not a DNS name/ });
  });

  it('OpenSSL reads the DNS names that a new root permits and excludes, with a leading dot or without', async () => {
    const record = await createAuthority({
      ...{ id: 'dns-1', trustDomain: undefined, now },
      ...{ permittedDnsNames: ['.corp.example'], excludedDnsNames: ['bank.corp.example', ''] },
    });
    const text = openssl('x509', '-in', write('excluded.pem', record.certificate ?? ''), '-noout', '-text');
    const printed = /Permitted:\s+DNS:\.corp\.example\n\s+Excluded:\s+DNS:bank\.corp\.example\n\s+DNS:\n/;
    assert.match(text, printed);
    const wrong = createAuthority({ id: 'a', trustDomain: undefined, permittedDnsNames: ['.'], now });
    await assert.rejects(wrong, { code: 'USAGE', message: /"\." is not a DNS name/ });
  });

  it('a new root keeps an id of any length in its subject, within the 64 characters of X.520', async () => {
    const id = `i${'d'.repeat(61)}1`;
    const record = await createAuthority({ id, trustDomain: 'example.org', now });
    assert.match(new X509Certificate(record.certificate ?? '').subject, new RegExp(`CN=${id}$`, 'm'));
  });

  it('a new CA has its own key, and is valid for a year by default', async () => {
    const record = await createAuthority({ id: 'a', trustDomain: 'example.org', now });
    const certificate = new X509Certificate(record.certificate ?? '');
    assert.ok(certificate.checkPrivateKey(createPrivateKey(record.privateKey ?? '')));
    assert.equal(factsOf(record.certificate).notAfter - now, 365 * 24 * 3600);
  });

  it('a new root is refused for an invalid trust domain, id or lifetime', async () => {
    const sound = { id: 'a', trustDomain: 'example.org', now };
    await assert.rejects(createAuthority({ ...sound, trustDomain: 'Example.org' }), {
      code: 'SPIFFE_ID_INVALID',
    });
    await assert.rejects(createAuthority({ ...sound, id: '../a' }), { code: 'USAGE' });
    await assert.rejects(createAuthority({ ...sound, lifetimeSeconds: 60 }), { code: 'USAGE' });
    await assert.rejects(createAuthority({ ...sound, lifetimeSeconds: Number.NaN }), { code: 'USAGE' });
  });
});

describe('the JSON of a pool', () => {
  const pemText = fc
    .uint8Array({ minLength: 1, maxLength: 60 })
    .map((bytes) => `-----BEGIN X-----\n${Buffer.from(bytes).toString('base64')}\n-----END X-----\n`);
  const time = fc
    .integer({ min: 0, max: 4_000_000_000 })
    .map((s) => new Date(s * 1000).toISOString().replace('.000Z', 'Z'));
  const record = fc.record(
    {
      id: fc.string({ minLength: 1, maxLength: 63, unit: 'grapheme-ascii' }).filter(isAuthorityId),
      kind: fc.constant('X509' as const),
      state: fc.constantFrom(...authorityStates),
      tainted: fc.boolean(),
      certificate: pemText,
      privateKey: pemText,
      intermediates: fc.array(pemText, { maxLength: 4 }),
      createdAt: time,
      publishedAt: time,
      activatedAt: time,
    },
    { requiredKeys: ['id', 'kind', 'state', 'tainted', 'certificate'] },
  );
  const document = fc.record({
    apiVersion: fc.constant('kubespiffe.io/v1alpha1' as const),
    kind: fc.constant('AuthorityPool' as const),
    trustDomain: fc.stringMatching(/^[a-z0-9._-]{1,255}$/),
    sequence: fc.nat(),
    authorities: fc.array(record, { maxLength: 5 }),
  });

  it('the JSON of a pool is read as it was written', () => {
    fc.assert(
      fc.property(document, (written) => {
        const read = readPoolDocument(writePoolDocument(written));
        assert.ok(read.ok, read.ok ? '' : read.problem.message);
        assert.deepEqual(read.document, JSON.parse(JSON.stringify(written)));
      }),
    );
  });

  it('the reader of a pool never throws, and never quotes what it read', () => {
    const marker = 'SECRET/KEY+MATERIAL';
    fc.assert(
      fc.property(fc.json(), fc.nat(), (json, at) => {
        const text = `${json.slice(0, at % (json.length + 1))}"${marker}"${json.slice(at % (json.length + 1))}`;
        const read = readPoolDocument(text);
        assert.ok(!read.ok);
        assert.ok(!read.problem.message.includes(marker));
      }),
    );
  });
});
