import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { crossSign } from '../../signer/authority/cross-sign.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { applyVerb } from '../../signer/authority/verbs.ts';
import { dnsConstraintsOf } from '../../spiffe/name-constraints.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { verifyX509Svid } from '../../spiffe/x509-verify.ts';
import { openJudges } from '../judges/judges.ts';

const trustDomain = 'example.org';
const now = Math.floor(Date.now() / 1000);
const day = 86_400;
const id = `spiffe://${trustDomain}/ns/default/sa/web`;
const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-cross-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const old = await createAuthority({ id: 'ca-1', trustDomain, now: now - 30 * day });
const {
  activatedAt: _,
  publishedAt: __,
  ...fresh
} = await createAuthority({
  ...{ id: 'ca-2', trustDomain, now, onlyTrustDomain: true },
});
const unpublished: AuthorityRecord = { ...fresh, state: 'prepared' };
const pool = newPool(trustDomain, old, unpublished);
const timing = { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 };

async function crossed(document: PoolDocument = pool): Promise<PoolDocument> {
  const change = await crossSign(document, { id: 'ca-2', by: 'ca-1', now });
  assert.ok(change.ok, change.ok ? '' : change.what);
  return change.document;
}

function apply(document: PoolDocument, ...steps: ['trust' | 'activate' | 'taint', string][]): PoolDocument {
  return steps.reduce((before, [verb, authority]) => {
    const change = applyVerb(before, verb, authority, { now, timing, published: undefined });
    assert.ok(change.ok && change.consequence === undefined, JSON.stringify(change));
    return change.document;
  }, document);
}

/** A chain for a workload, PEM: leaf first. */
async function issue(document: PoolDocument): Promise<string[]> {
  const read = compilePool(document, trustDomain);
  assert.ok(read.ok && read.pool.active?.signingAuthority);
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = readSubjectKey(publicKey.export({ type: 'spki', format: 'der' }));
  assert.ok(key.kind === 'supported');
  const { chainPem } = await issueLeaf({
    ...{ authority: read.pool.active.signingAuthority, profile: svidProfile, key },
    ...{ subject: { uris: [id], dnsNames: [] }, serial: makeSerial(randomBytes) },
    validity: { notBefore: now - 60, notAfter: now + 3600 },
  });
  const blocks = decodePem(chainPem);
  assert.ok(blocks.ok);
  return blocks.value.map(({ der }) => encodePem('CERTIFICATE', der));
}

const derOf = (pem = '') => {
  const blocks = decodePem(pem);
  assert.ok(blocks.ok && blocks.value[0]);
  return blocks.value[0].der;
};

const done = await crossed();
const short = await createAuthority({ id: 'ca-1', trustDomain, now, pathLength: 0 });

describe('a root that another root has signed', () => {
  it('a cross-signed root signs at once, and verifiers with either root accept what it signs', async () => {
    const judges = await openJudges();
    const document = apply(done, ['trust', 'ca-2'], ['trust', 'ca-2-by-ca-1'], ['activate', 'ca-2-by-ca-1']);
    const chain = await issue(document);
    assert.equal(chain.length, 2);
    const [leaf = '', cross = ''] = chain;
    writeFileSync(join(folder, 'leaf.pem'), leaf);
    writeFileSync(join(folder, 'cross.pem'), cross);
    const bundles = { old: [old], new: [unpublished], both: [old, unpublished] };
    for (const [name, records] of Object.entries(bundles)) {
      const roots = records.map(({ certificate = '' }) => certificate);
      writeFileSync(join(folder, 'roots.pem'), roots.join(''));
      const words = ['verify', '-x509_strict', '-CAfile', 'roots.pem', '-untrusted', 'cross.pem', 'leaf.pem'];
      // With the old root alone the path goes over the cross-certificate.
      assert.match(execFileSync('openssl', words, { cwd: folder, encoding: 'utf8' }), /OK/, name);
      const go = await judges.x509Svid({ chain: chain.join(''), bundles: { [trustDomain]: roots.join('') } });
      assert.deepEqual([go.errors, go.facts.id], [[], id], name);
      const facts = roots
        .map((pem) => readCertificate(derOf(pem)))
        .flatMap((each) => (each.ok ? each.value : []));
      const ours = verifyX509Svid(chain.map(derOf), () => facts, now);
      assert.ok(ours.ok, name);
    }
  });

  it('a cross-certificate has the name, the key and the limits of the new root, and ends with the earlier one', async () => {
    const record = done.authorities.at(-1);
    assert.equal(record?.id, 'ca-2-by-ca-1');
    assert.equal(record?.state, 'prepared');
    const cross = readCertificate(derOf(record?.intermediates?.[0]));
    const [older, newer] = [old, unpublished].map(({ certificate }) => readCertificate(derOf(certificate)));
    assert.ok(cross.ok && older?.ok && newer?.ok);
    assert.deepEqual(cross.value.subjectDer, newer.value.subjectDer);
    assert.deepEqual(cross.value.spki, newer.value.spki);
    assert.deepEqual(cross.value.keyId, newer.value.keyId);
    assert.deepEqual(cross.value.issuerDer, older.value.subjectDer);
    assert.equal(cross.value.notAfter, older.value.notAfter);
    assert.ok(cross.value.extensions.some(({ oid }) => oid === '2.5.29.30'));
  });

  it('a cross-certificate permits and excludes the DNS names of the new root', async () => {
    const [permittedDnsNames, excludedDnsNames] = [['svc', '.corp.example'], ['kube-system.svc']];
    const limits = { permittedDnsNames, excludedDnsNames };
    const { activatedAt: _, ...made } = await createAuthority({ id: 'ca-2', trustDomain, now, ...limits });
    const limited = await crossed(newPool(trustDomain, old, { ...made, state: 'prepared' }));
    const cross = readCertificate(derOf(limited.authorities.at(-1)?.intermediates?.[0]));
    assert.ok(cross.ok);
    const value = { permitted: permittedDnsNames, excluded: excludedDnsNames };
    assert.deepEqual(dnsConstraintsOf(cross.value), { ok: true, value });
  });

  it('a cross-certificate is tainted with the root that has its key', async () => {
    const tainted = apply(done, ['trust', 'ca-2'], ['taint', 'ca-2']);
    assert.deepEqual(
      tainted.authorities.map((each) => [each.id, each.tainted]),
      [
        ['ca-1', false],
        ['ca-2', true],
        ['ca-2-by-ca-1', true],
      ],
    );
  });

  const retiring: AuthorityRecord = { ...old, state: 'retiring', deactivatedAt: rfc3339(now) };
  const { privateKey: ___, ...keyless } = unpublished;
  const rows: [name: string, document: PoolDocument, what: RegExp][] = [
    ['one of the two does not exist', newPool(trustDomain, old), /the pool has no other CA ca-2/],
    [
      'the new root is tainted',
      newPool(trustDomain, old, { ...unpublished, tainted: true }),
      /ca-2 is tainted/,
    ],
    [
      'the old root is tainted',
      newPool(trustDomain, { ...retiring, tainted: true }, unpublished),
      /ca-1 is tainted/,
    ],
    ['the new root has no key', newPool(trustDomain, old, keyless), /ca-2 has no private key/],
    [
      'the old root is in no live bundle',
      newPool(trustDomain, { ...old, state: 'preview' }, unpublished),
      /ca-1 is preview/,
    ],
    ['it was done before', done, /there is an authority ca-2-by-ca-1 already/],
    ['the old root may sign no CA', newPool(trustDomain, short, unpublished), /ca-1 has path length 0/],
  ];
  for (const [name, document, what] of rows) {
    it(`a cross-certificate is not made when ${name}`, async () => {
      const outcome = await crossSign(document, { id: 'ca-2', by: 'ca-1', now });
      assert.ok(!outcome.ok);
      assert.match(outcome.what, what);
      assert.ok(outcome.remedy.length > 5);
    });
  }
});
