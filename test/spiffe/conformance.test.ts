import 'reflect-metadata';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as x509 from '@peculiar/x509';
import type { Finding } from '../../spiffe/clauses.ts';
import { checkAuthority, checkLeaf } from '../../spiffe/conformance.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { subjectAltName } from '../../spiffe/pki/subject-alt-name.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, makeCa, webAlgorithm, webKeyPair } from './pki/authorities.ts';
import { keyShelf, supportedKey } from './pki/keys.ts';
import { nameConstraints } from './pki/name-constraints.ts';

const key = keyShelf();

/** The clauses that are not met, as "must X509-SVID 2". */
function broken(findings: readonly Finding[]): string[] {
  return findings.filter((finding) => !finding.ok).map(({ level, clause }) => `${level} ${clause}`);
}

function factsOf(der: Uint8Array): CertificateFacts {
  const facts = readCertificate(der);
  if (!facts.ok) throw new Error(facts.reason);
  return facts.value;
}

test('a leaf from our template meets every clause', async () => {
  const { templateFor, signer } = authorityOf(await makeCa());
  const template = templateFor(svidProfile);
  const subject = supportedKey(key('ECDSA P-256').spki);
  const now = Math.floor(Date.now() / 1000);
  const tbs = template.build({
    serial: makeSerial(randomBytes),
    notBefore: now,
    notAfter: now + 3600,
    key: subject,
    subjectAltName: subjectAltName({ uris: ['spiffe://example.org/ns/shop/sa/web'], dnsNames: [] }),
  });
  const facts = factsOf(template.assemble(tbs, await signer.sign(tbs)));
  const findings = checkLeaf(facts, 'example.org');
  assert.deepEqual(broken(findings), []);
  assert.ok(
    findings.length >= 15 && findings.every(({ clause, message }) => clause !== '' && message !== ''),
  );
  assert.deepEqual(broken(checkLeaf(facts, 'example.com')), ['must SPIFFE-ID 2.1']);
});

test('a root and an intermediate as SPIFFE wants them meet every clause', async () => {
  const root = await makeCa();
  const intermediate = await makeCa({ subject: 'CN=below', issuer: root });
  assert.deepEqual(broken(checkAuthority(root.facts, 'example.org')), []);
  assert.deepEqual(broken(checkAuthority(intermediate.facts, 'example.org')), []);
  assert.deepEqual(broken(checkAuthority(root.facts, 'example.com')), ['must X509-SVID 4.1']);
});

interface Profile {
  subject?: string;
  uris?: string[];
  sanCritical?: boolean;
  keyUsage?: number | undefined;
  keyUsageCritical?: boolean;
  purposes?: string[] | undefined;
  isCa?: boolean | undefined;
  constraintsCritical?: boolean;
  keyIds?: boolean;
  extra?: x509.Extension[];
}

/** A self-signed certificate made by another library, as good or bad as the profile says. */
async function certificate(profile: Profile): Promise<CertificateFacts> {
  const keys = await webKeyPair('ECDSA P-256', key('ECDSA P-256').privateKey);
  const { subject = '', uris = [], keyUsage, purposes, isCa } = profile;
  const names = uris.map((value) => ({ type: 'url', value }) as const);
  const made = await x509.X509CertificateGenerator.create({
    subject,
    issuer: subject,
    notBefore: new Date(0),
    notAfter: new Date(1e12),
    signingAlgorithm: webAlgorithm('ECDSA P-256'),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    extensions: [
      ...(names.length > 0
        ? [new x509.SubjectAlternativeNameExtension(names, profile.sanCritical ?? true)]
        : []),
      ...(keyUsage === undefined
        ? []
        : [new x509.KeyUsagesExtension(keyUsage, profile.keyUsageCritical ?? true)]),
      ...(purposes ? [new x509.ExtendedKeyUsageExtension(purposes)] : []),
      ...(isCa === undefined
        ? []
        : [new x509.BasicConstraintsExtension(isCa, undefined, profile.constraintsCritical ?? true)]),
      ...(profile.keyIds === false
        ? []
        : [
            await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
            await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
          ]),
      ...(profile.extra ?? []),
    ],
  });
  return factsOf(new Uint8Array(made.rawData));
}

const { digitalSignature, keyCertSign, cRLSign } = x509.KeyUsageFlags;
const bothPurposes = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
const goodLeaf: Profile = {
  uris: ['spiffe://example.org/web'],
  keyUsage: digitalSignature,
  purposes: bothPurposes,
  isCa: false,
};
const unknownCritical = new x509.Extension('1.2.3.4', true, Uint8Array.of(5, 0));

const leaves: readonly [name: string, change: Profile, broken: string[]][] = [
  ['nothing wrong', {}, []],
  ['a subject and a SAN that is not critical', { subject: 'CN=web', sanCritical: false }, []],
  ['no URI', { uris: [], subject: 'CN=web' }, ['must X509-SVID 2', 'must SPIFFE-ID 2', 'must X509-SVID 4.1']],
  ['two SPIFFE IDs', { uris: ['spiffe://example.org/a', 'spiffe://example.org/b'] }, ['must X509-SVID 2']],
  [
    'another URI beside the SPIFFE ID',
    { uris: ['spiffe://example.org/a', 'https://example.org/'] },
    ['must X509-SVID 2'],
  ],
  [
    'a URI of another scheme',
    { uris: ['https://example.org/web'] },
    ['must SPIFFE-ID 2', 'must X509-SVID 4.1'],
  ],
  [
    'a malformed SPIFFE ID',
    { uris: ['spiffe://example.org/web/'] },
    ['must SPIFFE-ID 2', 'must X509-SVID 4.1'],
  ],
  ['an ID without path', { uris: ['spiffe://example.org'] }, ['must X509-SVID 4.1']],
  ['an empty subject and a SAN that is not critical', { sanCritical: false }, ['must RFC 5280 4.1.2.6']],
  ['cA TRUE', { isCa: true }, ['must X509-SVID 4.1']],
  ['no basicConstraints', { isCa: undefined }, ['should X509-SVID 4.1']],
  ['keyCertSign', { keyUsage: digitalSignature | keyCertSign }, ['must X509-SVID 4.3']],
  ['cRLSign', { keyUsage: digitalSignature | cRLSign }, ['must X509-SVID 4.3']],
  ['no digitalSignature', { keyUsage: x509.KeyUsageFlags.keyAgreement }, ['must X509-SVID 4.3']],
  ['no keyUsage', { keyUsage: undefined }, ['must X509-SVID 4.3', 'must X509-SVID 4.3']],
  ['a keyUsage that is not critical', { keyUsageCritical: false }, ['must X509-SVID 4.3']],
  ['no extKeyUsage', { purposes: undefined }, ['should X509-SVID 4.4']],
  ['serverAuth alone', { purposes: bothPurposes.slice(0, 1) }, ['must X509-SVID 4.4']],
  ['clientAuth alone', { purposes: bothPurposes.slice(1) }, ['must X509-SVID 4.4']],
  ['unrelated purposes', { purposes: ['1.3.6.1.5.5.7.3.3'] }, ['must X509-SVID 4.4']],
  ['no key identifiers', { keyIds: false }, ['must RFC 5280 4.2.1.1', 'should RFC 5280 4.2.1.2']],
  ['an unknown critical extension', { extra: [unknownCritical] }, ['must RFC 5280 4.2']],
];
for (const [name, change, expected] of leaves) {
  test(`a leaf with ${name} breaks ${expected.length === 0 ? 'nothing' : expected.join(', ')}`, async () => {
    assert.deepEqual(broken(checkLeaf(await certificate({ ...goodLeaf, ...change }))), expected);
  });
}

const goodRoot: Profile = {
  subject: 'CN=root',
  uris: ['spiffe://example.org'],
  keyUsage: keyCertSign | cRLSign,
  isCa: true,
};
const fitting = nameConstraints({ permitted: [['URI', 'example.org']] });
const foreign = nameConstraints({ permitted: [['URI', 'example.com']] });

const authorities: readonly [name: string, change: Profile, broken: string[]][] = [
  ['nothing wrong', {}, []],
  ['keyCertSign alone', { keyUsage: keyCertSign }, []],
  ['no URI', { uris: [] }, ['should X509-SVID 4.1']],
  ['two URIs', { uris: ['spiffe://example.org', 'spiffe://example.com'] }, ['must X509-SVID 2']],
  ['an ID with a path', { uris: ['spiffe://example.org/ca'] }, ['must X509-SVID 4.1']],
  ['a URI of another scheme', { uris: ['https://example.org'] }, ['must X509-SVID 4.1']],
  [
    'digitalSignature as well',
    { keyUsage: keyCertSign | digitalSignature },
    ['must X509-SVID 4.3, appendix A'],
  ],
  ['no keyCertSign', { keyUsage: cRLSign }, ['must X509-SVID 4.3']],
  ['no keyUsage', { keyUsage: undefined }, ['must X509-SVID 4.3', 'must X509-SVID 4.3']],
  ['a keyUsage that is not critical', { keyUsageCritical: false }, ['must X509-SVID 4.3']],
  ['cA FALSE', { isCa: false }, ['must X509-SVID 4.1']],
  ['no basicConstraints', { isCa: undefined }, ['must X509-SVID 4.1', 'must RFC 5280 4.2.1.9']],
  ['basicConstraints that are not critical', { constraintsCritical: false }, ['must RFC 5280 4.2.1.9']],
  ['an empty subject', { subject: '' }, ['must RFC 5280 4.1.2.4']],
  ['no key identifiers', { keyIds: false }, ['must RFC 5280 4.2.1.2']],
  ['name constraints that permit the trust domain', { extra: [fitting] }, ['should X509-SVID 4.2']],
  [
    'name constraints that do not permit the trust domain',
    { extra: [foreign] },
    ['must RFC 5280 4.2.1.10', 'should X509-SVID 4.2'],
  ],
  ['an unknown critical extension', { extra: [unknownCritical] }, ['must RFC 5280 4.2']],
];
for (const [name, change, expected] of authorities) {
  test(`a root with ${name} breaks ${expected.length === 0 ? 'nothing' : expected.join(', ')}`, async () => {
    assert.deepEqual(broken(checkAuthority(await certificate({ ...goodRoot, ...change }))), expected);
  });
}
