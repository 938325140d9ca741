import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { newPool } from '../../signer/authority/document.ts';
import {
  assembleAuthority,
  type CaMaterial,
  type Imported,
  readMeshPool,
  readTlsSecret,
  trustDomainOf,
} from '../../signer/authority/import.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { makeCa, p256, type TestCa } from './authorities.ts';

const now = Math.floor(Date.now() / 1000);
const at = '2026-11-22T12:00:00Z';
const validity = { notBefore: now - 3600, notAfter: now + 86_400 };
const root = await makeCa({ ...validity, subject: 'CN=root' });
const middle = await makeCa({ ...validity, subject: 'CN=middle', issuer: root });
const lower = await makeCa({ ...validity, subject: 'CN=lower', issuer: middle });
const stranger = await makeCa({ ...validity, subject: 'CN=stranger' });

function value<T>(imported: Imported<T>): T {
  assert.ok(imported.ok, imported.ok ? '' : imported.problem.message);
  return imported.value;
}

function problem(imported: Imported<unknown>): string {
  assert.ok(!imported.ok, 'it was accepted');
  assert.ok(!/PRIVATE KEY-----/.test(imported.problem.message));
  return imported.problem.message;
}

function files(key: string, ...certificates: string[]): CaMaterial {
  return {
    id: 'a',
    privateKey: { name: 'ca.key', pem: key },
    certificates: certificates.map((pem, i) => ({ name: `${i}.pem`, pem })),
  };
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
const der = (pem: string) => pem.split('\n').slice(1, -2).join('');

function tlsSecret(data: Record<string, string>): Secret {
  const entries = Object.entries(data).map(([key, text]) => [key, base64(text)] as const);
  return { metadata: { name: 'root' }, type: 'kubernetes.io/tls', data: Object.fromEntries(entries) };
}

describe('a CA in PEM files', () => {
  it('a CA becomes an authority, with its certificates in any order', () => {
    for (const certificates of [
      [lower, middle, root],
      [root, stranger, middle, lower],
    ]) {
      const material = files(lower.privateKey, certificates.map((each) => each.certificate).join(''));
      const record = value(assembleAuthority(material, 'active', at));
      assert.deepEqual(record.intermediates, [lower.certificate, middle.certificate]);
      assert.equal(record.certificate, root.certificate);
      assert.equal(trustDomainOf(record), 'example.org');
      const compiled = compilePool(newPool('example.org', record), 'example.org');
      assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
    }
  });

  it('an imported CA may have its key as PKCS#8, PKCS#1 or SEC 1, and keeps it as PKCS#8', async () => {
    const rsa = await makeCa({
      ...validity,
      algorithm: {
        name: 'RSASSA-PKCS1-v1_5',
        modulusLength: 3072,
        publicExponent: Uint8Array.of(1, 0, 1),
        hash: 'SHA-256',
      },
    });
    const rows: [TestCa, 'pkcs8' | 'pkcs1' | 'sec1'][] = [
      [root, 'pkcs8'],
      [root, 'sec1'],
      [rsa, 'pkcs1'],
    ];
    for (const [ca, type] of rows) {
      const key = createPrivateKey(ca.privateKey).export({ format: 'pem', type }).toString();
      const record = value(assembleAuthority(files(key, ca.certificate), 'active', at));
      assert.match(record.privateKey ?? '', /^-----BEGIN PRIVATE KEY-----/);
      assert.equal(record.privateKey, ca.privateKey);
    }
  });

  it('an imported CA is refused when a part of it is missing or does not fit', async () => {
    const assemble = (material: CaMaterial) => problem(assembleAuthority(material, 'active', at));
    const encrypted = createPrivateKey(root.privateKey)
      .export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' })
      .toString();
    assert.match(assemble(files(encrypted, root.certificate)), /ca\.key: .*private key.*openssl pkey/);
    assert.match(assemble(files(root.certificate, root.certificate)), /ca\.key: is not a private key/);
    assert.match(
      assemble(files(stranger.privateKey, root.certificate)),
      /ca\.key: belongs to no certificate/,
    );
    assert.match(assemble(files(middle.privateKey, middle.certificate)), /no self-signed root.*--chain/);
    assert.match(assemble(files(root.privateKey, 'nothing')), /0\.pem: is not PEM/);
    assert.match(assemble(files(root.privateKey, root.privateKey)), /0\.pem: holds no certificate/);
  });

  it('an imported CA is refused by the rules of the pool when it is not a CA for SPIFFE', async () => {
    const leaf = await makeCa({ ...validity, isCa: false });
    const small = await makeCa({ ...validity, algorithm: { ...p256, namedCurve: 'P-521' } });
    for (const [ca, says] of [
      [leaf, /not a CA/],
      [small, /ECDSA P-521/],
    ] as const) {
      const record = value(assembleAuthority(files(ca.privateKey, ca.certificate), 'active', at));
      const compiled = compilePool(newPool('example.org', record), 'example.org');
      assert.ok(!compiled.ok);
      assert.match(compiled.problem.message, says);
    }
  });
});

describe('a kubernetes.io/tls Secret', () => {
  it('a kubernetes.io/tls Secret is read as cert-manager writes it: chain in tls.crt, root in ca.crt', () => {
    const secret = tlsSecret({
      'tls.crt': middle.certificate,
      'tls.key': middle.privateKey,
      'ca.crt': root.certificate,
    });
    const record = value(assembleAuthority(value(readTlsSecret(secret, 'root')), 'active', at));
    assert.deepEqual(record.intermediates, [middle.certificate]);
    assert.equal(record.certificate, root.certificate);
  });

  it('a kubernetes.io/tls Secret is refused without its two parts', () => {
    assert.match(
      problem(readTlsSecret(tlsSecret({ 'tls.key': 'x' }), 'a')),
      /tls\.crt: is not in the Secret/,
    );
    assert.match(
      problem(readTlsSecret(tlsSecret({ 'tls.crt': 'x' }), 'a')),
      /tls\.key: is not in the Secret/,
    );
  });
});

describe('a pool of mesh-example', () => {
  it('a pool of mesh-example is read in its own form and in that of its descendants', async () => {
    const plain = await makeCa({ ...validity, subject: '', uris: [], algorithm: { name: 'Ed25519' } });
    const pool = {
      CAs: [
        {
          ID: '1',
          SigningKeyPKCS8: der(plain.privateKey),
          RootCertificateDER: der(plain.certificate),
          IntermediateCertificatesDER: null,
        },
        { ID: '2', SigningKeyPEM: root.privateKey, RootCertificatePEM: root.certificate },
        {
          ID: '3',
          SigningKeyPKCS8: der(middle.privateKey),
          RootCertificateDER: der(root.certificate),
          IntermediateCertificatesDER: [der(middle.certificate)],
        },
      ],
    };
    const records = value(readMeshPool(JSON.stringify(pool))).map((material, i) =>
      value(assembleAuthority(material, i === 0 ? 'active' : 'trusted', at)),
    );
    assert.deepEqual(
      records.map((record) => [record.id, record.state, record.intermediates?.length]),
      [
        ['1', 'active', 0],
        ['2', 'trusted', 0],
        ['3', 'trusted', 1],
      ],
    );
    const [first] = records;
    assert.ok(first);
    const document = { ...newPool('example.org', first), authorities: records };
    const compiled = compilePool(document, 'example.org');
    assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
    assert.match(compiled.pool.active?.warnings.join() ?? '', /carries no SPIFFE ID.*has no subject/);
  });

  it('a text that is not a pool of mesh-example is refused', () => {
    for (const [json, says] of [
      ['{', /not JSON/],
      ['{"CAs":[],"CAs":[{"ID":"1"}]}', /has a name twice/],
      ['{}', /no list CAs/],
      ['{"CAs":[]}', /no list CAs/],
      ['{"CAs":[{"ID":"1"}]}', /CAs\[0\]: is not a CA/],
      ['{"CAs":[7]}', /CAs\[0\]: is not a CA/],
    ] as const) {
      assert.match(problem(readMeshPool(json)), says);
    }
  });
});
