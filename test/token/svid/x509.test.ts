import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { spiffeSubject } from '../../../signer/identity/subject.ts';
import { describe as descriptionOf } from '../../../signer/observe/checked.ts';
import { pkcs10Of, readX509Request } from '../../../signer/token/svid/csr-request.ts';
import { keyOfRequest, mintX509Svid } from '../../../signer/token/svid/mint-x509.ts';
import { makeSpiffeId } from '../../../spiffe/id.ts';
import { readCertificate } from '../../../spiffe/pki/certificate.ts';
import { bitString, objectIdentifier, sequence } from '../../../spiffe/pki/der-writer.ts';
import type { SigningAuthority } from '../../../spiffe/pki/leaf.ts';
import { encodePem } from '../../../spiffe/pki/pem.ts';
import { makeSerial } from '../../../spiffe/pki/serial.ts';
import { svidProfile } from '../../../spiffe/svid-profile.ts';
import { authorityOf, makeCa } from '../../spiffe/pki/authorities.ts';
import { makeKey, supportedKey } from '../../spiffe/pki/keys.ts';
import { requestAround, stubRequest } from '../../spiffe/pki/requests.ts';

const key = makeKey('ECDSA P-256');
const request = stubRequest(key);
const pem = (label: string, der: Uint8Array = request) => encodePem(label, der);
const keyPem = key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

describe('the body of a request for a certificate', () => {
  const taken: [name: string, body: Uint8Array | string][] = [
    ['DER', request],
    ['PEM', pem('CERTIFICATE REQUEST')],
    ['PEM as old programs label it', pem('NEW CERTIFICATE REQUEST')],
    ['PEM with the line ends of Windows', pem('CERTIFICATE REQUEST').replaceAll('\n', '\r\n')],
    [
      'PEM below the text of openssl req -text',
      `Certificate Request:\n    Data:\n${pem('CERTIFICATE REQUEST')}`,
    ],
  ];
  for (const [name, body] of taken) {
    it(`the body of a request for a certificate may be ${name}`, () => {
      const der = pkcs10Of(Buffer.from(body));
      assert.ok(der.ok);
      assert.deepEqual(Buffer.from(der.value), request);
    });
  }

  const refused: [name: string, body: Uint8Array | string, said: RegExp][] = [
    ['nothing', '', /is empty/],
    ['text', 'give me a certificate', /no PEM block/],
    ['zeros', Buffer.alloc(100), /no PEM block/],
    ['two requests', pem('CERTIFICATE REQUEST').repeat(2), /2 PEM blocks/],
    ['a private key', keyPem, /is not a CERTIFICATE REQUEST/],
    ['a private key beside the request', keyPem + pem('CERTIFICATE REQUEST'), /2 PEM blocks/],
    ['a certificate', pem('CERTIFICATE'), /is not a CERTIFICATE REQUEST/],
    ['PEM that is cut', pem('CERTIFICATE REQUEST').slice(0, -30), /no END line/],
  ];
  for (const [name, body, said] of refused) {
    it(`the body of a request for a certificate may not be ${name}, which is not repeated in the answer`, () => {
      const outcome = pkcs10Of(Buffer.from(body));
      assert.ok(!outcome.ok && outcome.code === 'CsrUnreadable');
      assert.match(descriptionOf(outcome), said);
      assert.doesNotMatch(descriptionOf(outcome), /MII|[A-Za-z0-9+/]{30,}/);
    });
  }

  it('a request for a certificate has its token as Bearer', () => {
    assert.deepEqual(readX509Request(request, { authorization: 'Bearer a.b.c' }), {
      ok: true,
      value: { subjectToken: 'a.b.c', body: request },
    });
    for (const authorization of [undefined, '', 'Basic YTpi', 'Bearer', 'Bearer a b', 'Bearer a, Bearer b']) {
      const outcome = readX509Request(request, { authorization });
      assert.ok(!outcome.ok && outcome.code === 'TokenMissing', authorization);
    }
  });

  it('a request for a certificate cannot use a certificate, which would renew itself forever', () => {
    const peer = { certificate: Uint8Array.of(1) };
    for (const authorization of ['Bearer a.b.c', undefined]) {
      const outcome = readX509Request(request, { authorization, peer });
      assert.ok(!outcome.ok && outcome.code === 'CredentialsRepeated');
    }
    const none = { certificate: undefined };
    assert.ok(readX509Request(request, { authorization: 'Bearer a.b.c', peer: none }).ok);
  });

  it('the reader of requests for certificates never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (body) => {
        const der = pkcs10Of(body);
        if (der.ok) assert.equal(keyOfRequest(der.value).ok, false);
      }),
    );
  });
});

describe('the key of a request', () => {
  const mlDsa = sequence(sequence(objectIdentifier('2.16.840.1.101.3.4.3.18')), bitString(Buffer.alloc(9)));
  const rsa2048 = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  const cases: [name: string, pkcs10: Uint8Array, expected: string, said?: RegExp][] = [
    ['of its own', request, 'taken'],
    ['that has not signed it', requestAround(key.spki), 'CsrSignatureInvalid', /is not one of the key/],
    [
      'that is too short',
      requestAround(rsa2048.export({ type: 'spki', format: 'der' })),
      'UnsupportedKeyType',
      /is RSA 2048; use one of ECDSA P-256, ECDSA P-384, ECDSA P-521, Ed25519, RSA 3072, RSA 4096\.$/,
    ],
    ['of another algorithm', requestAround(mlDsa), 'UnsupportedKeyType', /is ML-DSA-65; use one of/],
    ['of a request that is cut', request.subarray(0, -1), 'CsrUnreadable', /truncated; send one PKCS#10/],
  ];
  for (const [name, pkcs10, expected, said = /^/] of cases) {
    it(`a request for a certificate with a key ${name}: ${expected}`, () => {
      const outcome = keyOfRequest(pkcs10);
      assert.equal(outcome.ok ? 'taken' : outcome.code, expected);
      if (!outcome.ok) assert.match(descriptionOf(outcome), said);
    });
  }
});

describe('an X509-SVID for a request', () => {
  const id = makeSpiffeId('example.org', ['ns', 'shop', 'sa', 'web']);
  assert.ok(id.ok);
  const spiffeId = id.value;
  const now = Math.floor(Date.now() / 1000);
  const mint = async (different: { credentialEndsAt?: number; authority?: SigningAuthority } = {}) =>
    mintX509Svid({
      authority: authorityOf(await makeCa()),
      profile: svidProfile,
      subject: spiffeSubject(spiffeId),
      pod: {
        ...{ namespace: 'shop', serviceAccountName: 'web', serviceAccountUID: 'a-1' },
        ...{ podName: 'web-0', podUID: 'p-1', nodeName: 'node-1', nodeUID: 'n-1' },
      },
      key: supportedKey(key.spki),
      now,
      lifetimeSeconds: 3600,
      credentialEndsAt: now + 86_400,
      serial: makeSerial(randomBytes),
      ...different,
    });

  it('an X509-SVID has the identity and the key, and nothing else of the request', async () => {
    const outcome = await mint();
    assert.ok(outcome.ok);
    const leaf = readCertificate(outcome.value.leafDer);
    assert.ok(leaf.ok);
    assert.deepEqual(
      [leaf.value.uris, leaf.value.dnsNames, leaf.value.hasSubject],
      [[spiffeId.uri], [], false],
    );
    assert.deepEqual(Buffer.from(leaf.value.spki), key.spki);
    assert.equal(leaf.value.serialHex, outcome.value.serialHex);
  });

  const ends: [name: string, left: number, expected: { notAfter: number; refreshAt: number } | 'refused'][] =
    [
      [
        'lives for an hour, including the two minutes of backdating',
        86_400,
        { notAfter: 3480, refreshAt: 1740 },
      ],
      ['never outlives the token', 600, { notAfter: 600, refreshAt: 300 }],
      ['may have half a minute', 30, { notAfter: 30, refreshAt: 15 }],
      ['is refused below half a minute', 29, 'refused'],
    ];
  for (const [name, left, expected] of ends) {
    it(`an X509-SVID ${name}`, async () => {
      const outcome = await mint({ credentialEndsAt: now + left });
      if (expected === 'refused') return assert.ok(!outcome.ok && outcome.code === 'TokenEndsTooSoon');
      assert.ok(outcome.ok);
      const { notBefore, notAfter, refreshAt } = outcome.value;
      assert.deepEqual(
        { notAfter: notAfter - now, refreshAt: refreshAt - now, notBefore: notBefore - now },
        { ...expected, notBefore: -120 },
      );
    });
  }

  it('an X509-SVID stays inside the validity of its authority', async () => {
    const young = authorityOf(await makeCa({ notBefore: now - 60, notAfter: now + 1000 }));
    const outcome = await mint({ authority: young });
    assert.ok(outcome.ok);
    assert.deepEqual([outcome.value.notBefore, outcome.value.notAfter], [now - 60, now + 1000]);
  });
});
