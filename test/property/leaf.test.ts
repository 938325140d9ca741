import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import * as x509 from '@peculiar/x509';
import * as asn1js from 'asn1js';
import fc from 'fast-check';
import * as pkijs from 'pkijs';
import { type IssuedLeaf, issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { checkLeaf } from '../../spiffe/conformance.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { leafExtensions, type PodIdentity, readPodIdentity } from '../../spiffe/pki/leaf-extensions.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { authorityKeyNames } from '../../spiffe/pki/sign.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { keyShelf, subjectKeyNames, supportedKey, type TestKeyName } from '../spiffe/pki/keys.ts';

const run = promisify(execFile);
const key = keyShelf();

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-leaf-'));
});
after(() => rm(folder, { recursive: true, force: true }));

/** Everything that may differ between leaves of one subject key and one authority. */
const leafInputs = fc.record({
  serialSeed: fc.uint8Array({ minLength: 20, maxLength: 20 }),
  // On both sides of 2050, where the form of a time changes.
  notBefore: fc.integer({ min: Date.UTC(2026, 0, 1) / 1000, max: Date.UTC(2055, 0, 1) / 1000 }),
  lifetime: fc.integer({ min: 3600, max: 7_862_400 }),
  segments: fc.array(
    fc.string({ unit: fc.constantFrom(...'abc019-'), minLength: 1, maxLength: 253, size: 'max' }),
    {
      minLength: 1,
      maxLength: 7,
    },
  ),
});
type LeafInput = typeof leafInputs extends fc.Arbitrary<infer T> ? T : never;

function expectedUri(input: LeafInput): string {
  return `spiffe://example.org/${input.segments.join('/')}`;
}

async function leafOf(
  ca: TestCa,
  subject: TestKeyName,
  input: LeafInput,
  further?: { readonly pod: PodIdentity; readonly issuer: string },
): Promise<IssuedLeaf> {
  const id = makeSpiffeId('example.org', input.segments);
  assert.ok(id.ok);
  return issueLeaf({
    authority: authorityOf(ca),
    profile: further
      ? { ...svidProfile, extensionsFor: leafExtensions({ podIdentity: true, issuer: further.issuer }) }
      : svidProfile,
    subject: spiffeSubject(id.value),
    key: supportedKey(key(subject).spki),
    validity: { notBefore: input.notBefore, notAfter: input.notBefore + input.lifetime },
    serial: makeSerial(() => input.serialSeed),
    ...(further && { pod: further.pod }),
  });
}

/** What each reader must find in the same bytes. */
interface Reading {
  serialHex: string;
  notBefore: number;
  notAfter: number;
  spki: string;
  uri: string;
  issuer: string;
  keyId: string;
  authorityKeyId: string;
}

const hex = (bytes: ArrayBuffer | Uint8Array): string => Buffer.from(new Uint8Array(bytes)).toString('hex');

function ours(facts: CertificateFacts): Reading {
  return {
    serialHex: facts.serialHex,
    notBefore: facts.notBefore,
    notAfter: facts.notAfter,
    spki: hex(facts.spki),
    uri: facts.uris.join(),
    issuer: hex(facts.issuerDer),
    keyId: hex(facts.keyId),
    authorityKeyId: hex(facts.authorityKeyId ?? new Uint8Array()),
  };
}

function peculiar(der: Uint8Array): Reading {
  const certificate = new x509.X509Certificate(Uint8Array.from(der));
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  assert.ok(names?.critical);
  assert.deepEqual(
    certificate.getExtension(x509.KeyUsagesExtension)?.usages,
    x509.KeyUsageFlags.digitalSignature,
  );
  assert.deepEqual(Array.from(certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages ?? []), [
    x509.ExtendedKeyUsage.serverAuth,
    x509.ExtendedKeyUsage.clientAuth,
  ]);
  const constraints = certificate.getExtension(x509.BasicConstraintsExtension);
  assert.ok(constraints?.critical && constraints.ca === false);
  assert.equal(certificate.subject, '');
  return {
    serialHex: certificate.serialNumber,
    notBefore: certificate.notBefore.getTime() / 1000,
    notAfter: certificate.notAfter.getTime() / 1000,
    spki: hex(certificate.publicKey.rawData),
    uri: names.names.items.map((name) => (name.type === 'url' ? name.value : name.type)).join(),
    issuer: hex(certificate.issuerName.toArrayBuffer()),
    keyId: certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId ?? '',
    authorityKeyId: certificate.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId ?? '',
  };
}

function pki(der: Uint8Array): Reading {
  const certificate = pkijs.Certificate.fromBER(Uint8Array.from(der));
  const parsed = (oid: string): unknown =>
    certificate.extensions?.find((extension) => extension.extnID === oid)?.parsedValue;
  const names = parsed('2.5.29.17');
  const authority = parsed('2.5.29.35');
  const subjectKeyId = certificate.extensions?.find((extension) => extension.extnID === '2.5.29.14');
  assert.ok(
    names instanceof pkijs.AltName && authority instanceof pkijs.AuthorityKeyIdentifier && subjectKeyId,
  );
  assert.equal(certificate.extensions?.length, 6);
  return {
    serialHex: hex(certificate.serialNumber.valueBlock.valueHexView),
    notBefore: certificate.notBefore.value.getTime() / 1000,
    notAfter: certificate.notAfter.value.getTime() / 1000,
    spki: hex(certificate.subjectPublicKeyInfo.toSchema().toBER()),
    uri: names.altNames.map((name) => (name.type === 6 ? String(name.value) : `type ${name.type}`)).join(),
    issuer: hex(certificate.issuer.toSchema().toBER()),
    keyId: hex(subjectKeyId.extnValue.valueBlock.valueHexView.subarray(2)),
    authorityKeyId: hex(authority.keyIdentifier?.valueBlock.valueHexView ?? new Uint8Array()),
  };
}

/** Node reads by OpenSSL. It has no words for the key identifiers and the issuer's bytes. */
function node(der: Uint8Array, ca: TestCa): Partial<Reading> {
  const certificate = new X509Certificate(der);
  assert.ok(certificate.verify(createPublicKey(ca.key.privateKey)));
  assert.ok(certificate.checkIssued(new X509Certificate(ca.pem)));
  assert.equal(certificate.ca, false);
  assert.ok(!certificate.subject);
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  return {
    serialHex: certificate.serialNumber.toLowerCase(),
    notBefore: Date.parse(certificate.validFrom) / 1000,
    notAfter: Date.parse(certificate.validTo) / 1000,
    spki: hex(certificate.publicKey.export({ type: 'spki', format: 'der' })),
    uri: (certificate.subjectAltName ?? '').replace(/^URI:/, ''),
  };
}

/** Names and UIDs at any length that the API server takes, so that every length of a length is met. */
const identities = fc.record({
  namespace: fc.string({ unit: fc.constantFrom(...'abc019-'), minLength: 1, maxLength: 63, size: 'max' }),
  serviceAccountName: fc.string({
    unit: fc.constantFrom(...'ab.9-'),
    minLength: 1,
    maxLength: 253,
    size: 'max',
  }),
  serviceAccountUID: fc.uuid(),
  podName: fc.string({ unit: fc.constantFrom(...'ab.9-'), minLength: 1, maxLength: 253, size: 'max' }),
  podUID: fc.string({ minLength: 1, maxLength: 128 }).filter((uid) => !/\p{Cc}/u.test(uid)),
  nodeName: fc.string({ unit: fc.constantFrom(...'ab.9-'), minLength: 1, maxLength: 253, size: 'max' }),
  nodeUID: fc.uuid(),
});

/** The fields of the PodIdentity extension as asn1js reads them: context tags [0] to [7], primitive. */
function podAsAsn1js(der: Uint8Array): string[] {
  const certificate = pkijs.Certificate.fromBER(Uint8Array.from(der));
  const found = certificate.extensions?.find(({ extnID }) => extnID === '1.3.6.1.4.1.57683.1');
  assert.ok(found && !found.critical);
  const { result } = asn1js.fromBER(Uint8Array.from(found.extnValue.valueBlock.valueHexView));
  assert.ok(result instanceof asn1js.Sequence);
  return result.valueBlock.value.map((field, number) => {
    assert.ok(field instanceof asn1js.Primitive);
    assert.deepEqual([field.idBlock.tagClass, field.idBlock.tagNumber], [3, number]);
    return Buffer.from(field.valueBlock.valueHexView).toString('utf8');
  });
}

function issuerAsPeculiar(der: Uint8Array): string[] {
  const certificate = new x509.X509Certificate(Uint8Array.from(der));
  const found = certificate.getExtension('2.5.29.18');
  assert.ok(found && !found.critical);
  return new x509.GeneralNames(found.value).items.map(({ type, value }) => `${type} ${value}`);
}

async function openssl(ca: TestCa, leaf: IssuedLeaf): Promise<void> {
  await writeFile(join(folder, 'root.pem'), ca.pem);
  await writeFile(join(folder, 'leaf.pem'), leaf.chainPem);
  const at = ['-attime', String(leaf.notBefore + 1)];
  for (const purpose of ['sslserver', 'sslclient']) {
    const verify = ['verify', '-x509_strict', '-purpose', purpose, ...at, '-CAfile', 'root.pem', 'leaf.pem'];
    const { stdout } = await run('openssl', verify, { cwd: folder });
    assert.equal(stdout, 'leaf.pem: OK\n');
  }
}

const caTimes = { notBefore: Date.UTC(2020, 0, 1) / 1000, notAfter: Date.UTC(2060, 0, 1) / 1000 };

test('pod and issuer in a leaf read the same everywhere, and the rest of the leaf as before', async () => {
  const ca = await makeCa({ key: key('ECDSA P-256'), ...caTimes });
  await fc.assert(
    fc.asyncProperty(leafInputs, identities, fc.webPath(), async (input, identity, path) => {
      const url = `https://id.example.org${path}`;
      const { leafDer } = await leafOf(ca, 'ECDSA P-256', input, { pod: identity, issuer: url });
      const facts = readCertificate(leafDer);
      assert.ok(facts.ok);
      assert.deepEqual(readPodIdentity(facts.value.extensions), {
        ok: true,
        value: { namespaceUID: '', ...identity },
      });
      const { namespace, ...others } = identity;
      assert.deepEqual(podAsAsn1js(leafDer), [namespace, '', ...Object.values(others)]);
      assert.deepEqual(issuerAsPeculiar(leafDer), [`url ${url}`]);
      const reading = ours(facts.value);
      assert.equal(reading.uri, expectedUri(input));
      assert.deepEqual(peculiar(leafDer), reading);
      assert.deepEqual({ ...reading, ...node(leafDer, ca) }, reading);
      assert.deepEqual(
        checkLeaf(facts.value, 'example.org').filter((finding) => !finding.ok),
        [],
      );
    }),
    { numRuns: 50 },
  );
});

test('OpenSSL verifies a leaf with pod and issuer, and shows both', async () => {
  const ca = await makeCa({ key: key('ECDSA P-256'), ...caTimes });
  const [input] = fc.sample(leafInputs, 1);
  const [identity] = fc.sample(identities, 1);
  assert.ok(input && identity);
  const further = { pod: identity, issuer: 'https://id.example.org' };
  const leaf = await leafOf(ca, 'ECDSA P-256', input, further);
  await openssl(ca, leaf);
  const shown = await run('openssl', ['x509', '-in', 'leaf.pem', '-noout', '-ext', 'issuerAltName'], {
    cwd: folder,
  });
  assert.match(shown.stdout, /X509v3 Issuer Alternative Name: \n\s*URI:https:\/\/id\.example\.org\n/);
  const parsed = await run('openssl', ['asn1parse', '-in', 'leaf.pem'], { cwd: folder });
  const [, value = ''] =
    /OBJECT\s+:1\.3\.6\.1\.4\.1\.57683\.1\n.*\[HEX DUMP\]:([0-9A-F]+)/.exec(parsed.stdout) ?? [];
  await writeFile(join(folder, 'pod.der'), Buffer.from(value, 'hex'));
  const fields = await run('openssl', ['asn1parse', '-inform', 'DER', '-in', 'pod.der'], { cwd: folder });
  assert.deepEqual(
    [...fields.stdout.matchAll(/cont \[ (\d) \]/g)].map(([, number]) => number),
    ['0', '1', '2', '3', '4', '5', '6', '7'],
  );
});

for (const authority of authorityKeyNames as TestKeyName[]) {
  for (const subject of subjectKeyNames) {
    test(`a ${subject} leaf of a ${authority} authority reads the same everywhere`, async () => {
      const ca = await makeCa({ key: key(authority), ...caTimes });
      await fc.assert(
        fc.asyncProperty(leafInputs, async (input) => {
          const leaf = await leafOf(ca, subject, input);
          const facts = readCertificate(leaf.leafDer);
          assert.ok(facts.ok);
          const reading = ours(facts.value);
          assert.equal(reading.uri, expectedUri(input));
          assert.equal(reading.notAfter - reading.notBefore, input.lifetime);
          assert.equal(reading.spki, hex(key(subject).spki));
          assert.deepEqual(peculiar(leaf.leafDer), reading);
          assert.deepEqual(pki(leaf.leafDer), reading);
          const seen = node(leaf.leafDer, ca);
          assert.deepEqual({ ...reading, ...seen }, reading);
          assert.deepEqual(
            checkLeaf(facts.value, 'example.org').filter((finding) => !finding.ok),
            [],
          );
        }),
        { numRuns: 10 },
      );
      for (const input of fc.sample(leafInputs, 2)) await openssl(ca, await leafOf(ca, subject, input));
    });
  }
}
