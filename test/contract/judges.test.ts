import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { constants, createPrivateKey, randomBytes, randomUUID, sign } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { createAuthority } from '../../signer/authority/create.ts';
import { type IssuedLeaf, issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { identify } from '../../signer/identity/identify.ts';
import { prepareAnswer } from '../../signer/issuance/status.ts';
import { leafValidity } from '../../signer/issuance/validity.ts';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { desiredBundle } from '../../signer/trust/bundle.ts';
import { unprocessedExtensions } from '../../spiffe/clauses.ts';
import { checkAuthority, checkLeaf } from '../../spiffe/conformance.ts';
import { type AuthorityKeyType, authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { readCsrKey } from '../../spiffe/pki/csr.ts';
import type { CertificateProfile } from '../../spiffe/pki/leaf.ts';
import { leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey, type SubjectKey } from '../../spiffe/pki/spki.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { type Judges, openJudges, type Verdict } from '../judges/judges.ts';
import { authorityOf, makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { keyShelf, subjectKeyNames, type TestKey } from '../spiffe/pki/keys.ts';
import { constraintCases, nameConstraints, unknownExtension } from '../spiffe/pki/name-constraints.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';

const run = promisify(execFile);
const key = keyShelf();
const trustDomain = 'example.org';
const longNamespace = 'n'.repeat(63);
const longServiceAccount = `${'s'.repeat(63)}.`.repeat(3) + 's'.repeat(61);
const nowSeconds = Math.floor(Date.now() / 1000);
const now = new Date(nowSeconds * 1000);

let judges: Judges;
before(async () => {
  judges = await openJudges();
});

function assertAccepted(verdict: Verdict): void {
  assert.deepEqual(verdict.errors, []);
  assert.ok(verdict.ok);
}

function assertRefused(verdict: Verdict, reason: RegExp): void {
  assert.equal(verdict.ok, false);
  assert.match(verdict.errors.join('\n'), reason);
}

/** A root as `kubespiffe ca create` makes it. */
async function newRoot(keyType: AuthorityKeyType, domain = trustDomain): Promise<TestCa> {
  const { certificate: pem = '', privateKey: pkcs8 = '' } = await createAuthority({
    id: 'ca-1',
    trustDomain: domain,
    keyType,
    now: nowSeconds,
  });
  const blocks = decodePem(pem);
  const facts = blocks.ok && blocks.value[0] ? readCertificate(blocks.value[0].der) : undefined;
  assert.ok(facts?.ok);
  const privateKey = createPrivateKey(pkcs8);
  return {
    key: { name: keyType, privateKey, spki: Buffer.from(facts.value.spki) },
    facts: facts.value,
    pem,
  };
}

function domainOf(ca: TestCa): string {
  return (ca.facts.uris[0] ?? '').slice('spiffe://'.length);
}

interface Wishes {
  namespace?: string;
  serviceAccountName?: string;
  maxExpirationSeconds?: number;
}

type KeyFields = Pick<PodCertificateRequest['spec'], 'stubPKCS10Request' | 'pkixPublicKey'> & {
  proofOfPossession?: string;
};

const podUID = randomUUID();

function request(
  version: 'v1' | 'v1beta1',
  keyFields: KeyFields,
  wishes: Wishes = {},
): PodCertificateRequest {
  return {
    apiVersion: `certificates.k8s.io/${version}`,
    kind: 'PodCertificateRequest',
    metadata: {
      name: 'req-1',
      namespace: wishes.namespace ?? 'shop',
      uid: randomUUID(),
      resourceVersion: '1',
    },
    spec: {
      signerName: 'kubespiffe.io/spiffe',
      podName: 'web-0',
      podUID,
      serviceAccountName: wishes.serviceAccountName ?? 'web',
      serviceAccountUID: randomUUID(),
      nodeName: 'node-1',
      nodeUID: randomUUID(),
      maxExpirationSeconds: wishes.maxExpirationSeconds ?? 86_400,
      ...keyFields,
    },
  };
}

function stubFields(subject: TestKey): KeyFields {
  return { stubPKCS10Request: stubRequest(subject).toString('base64') };
}

/** What a 1.35 kubelet sends: the key and a signature over the pod's UID, PSS where it is RSA. */
function pkixFields(subject: TestKey): KeyFields {
  const padding = subject.name.startsWith('RSA') ? { padding: constants.RSA_PKCS1_PSS_PADDING } : {};
  const digest = subject.name === 'Ed25519' ? null : 'sha256';
  const proof = sign(digest, Buffer.from(podUID), { key: subject.privateKey, ...padding });
  return { pkixPublicKey: subject.spki.toString('base64'), proofOfPossession: proof.toString('base64') };
}

function keyOf({ spec }: PodCertificateRequest): SubjectKey {
  return spec.stubPKCS10Request
    ? readCsrKey(Buffer.from(spec.stubPKCS10Request, 'base64'))
    : readSubjectKey(Buffer.from(spec.pkixPublicKey ?? '', 'base64'));
}

interface Issued extends IssuedLeaf {
  readonly before: PodCertificateRequest;
  /** The request as our PATCH makes it. */
  readonly after: PodCertificateRequest;
  readonly id: string;
}

/** The whole way from a request to its answer, as the signer goes it, without a server. */
const answer = (asked: PodCertificateRequest, ...chain: readonly [TestCa, ...TestCa[]]): Promise<Issued> =>
  answerWith(asked, {}, ...chain);

async function answerWith(
  asked: PodCertificateRequest,
  different: Pick<CertificateProfile, 'extensionsFor'>,
  ...chain: readonly [TestCa, ...TestCa[]]
): Promise<Issued> {
  const authority = authorityOf(...chain);
  const subject = keyOf(asked);
  const identity = identify(
    {
      namespace: asked.metadata.namespace ?? '',
      serviceAccountName: asked.spec.serviceAccountName,
    },
    { trustDomain: domainOf(chain[0]) },
  );
  const validity = leafValidity({
    now: nowSeconds,
    maxExpirationSeconds: asked.spec.maxExpirationSeconds ?? 0,
    policy: { maxLifetimeSeconds: 7_862_400, refreshFraction: 0.5, refreshJitter: 0.1 },
    authorityNotBefore: authority.notBefore,
    authorityNotAfter: authority.notAfter,
    jitter: Math.random(),
  });
  assert.ok(subject.kind === 'supported' && identity.ok && validity);
  const issued = await issueLeaf({
    authority,
    profile: { ...svidProfile, ...different },
    subject: identity.subject,
    key: subject,
    validity,
    serial: makeSerial(randomBytes),
    pod: { ...asked.spec, namespace: asked.metadata.namespace ?? '' },
  });
  const { body } = prepareAnswer(
    { uid: asked.metadata.uid ?? '' },
    { type: 'Issued', reason: 'Issued', message: '', at: nowSeconds },
    { ...issued, ...validity },
  );
  const after = { ...asked, status: (JSON.parse(body) as PodCertificateRequest).status ?? {} };
  return { ...issued, before: asked, after, id: identity.subject.display };
}

/** Holds an answer to every judge. */
async function judgeAll(issued: Issued, subject: TestKey, root: TestCa): Promise<void> {
  const spiffe = await judges.x509Svid({
    chain: issued.chainPem,
    bundles: { [domainOf(root)]: root.pem },
    key: subject.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  });
  assertAccepted(spiffe);
  assert.equal(spiffe.facts.id, issued.id);
  assertAccepted(await judges.podCertificateRequest(issued.before));
  assertAccepted(await judges.podCertificateStatus({ before: issued.before, after: issued.after, now }));
  await assertOpenssl(issued, root);
  const facts = readCertificate(issued.leafDer);
  assert.ok(facts.ok);
  assert.deepEqual(
    checkLeaf(facts.value, domainOf(root)).filter(({ ok }) => !ok),
    [],
  );
}

async function assertOpenssl(issued: Issued, root: TestCa): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-openssl-'));
  try {
    const chain = decodePem(issued.chainPem, { strict: true });
    assert.ok(chain.ok);
    await writeFile(join(folder, 'root.pem'), root.pem);
    await writeFile(join(folder, 'chain.pem'), issued.chainPem);
    const words = ['verify', '-x509_strict', '-CAfile', 'root.pem', '-untrusted', 'chain.pem', 'chain.pem'];
    const { stdout } = await run('openssl', words, { cwd: folder });
    assert.equal(stdout, 'chain.pem: OK\n');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

for (const keyType of authorityKeyTypes) {
  test(`every judge accepts a ${keyType} root and its leaves of every key type`, async () => {
    const root = await newRoot(keyType);
    assert.deepEqual(
      checkAuthority(root.facts, trustDomain).filter(({ ok }) => !ok),
      [],
    );
    for (const name of subjectKeyNames) {
      await judgeAll(await answer(request('v1', stubFields(key(name))), root), key(name), root);
    }
  });
}

for (const name of subjectKeyNames) {
  test(`every judge accepts the answer to a request of a 1.35 kubelet with a ${name} key`, async () => {
    const root = await newRoot('ecdsa-p256');
    await judgeAll(await answer(request('v1beta1', pkixFields(key(name))), root), key(name), root);
  });
}

for (const maxExpirationSeconds of [3600, 7_862_400]) {
  test(`every judge accepts names at their length limits, and a lifetime of exactly ${maxExpirationSeconds} s`, async () => {
    const root = await newRoot('ecdsa-p256');
    const wishes = { namespace: longNamespace, serviceAccountName: longServiceAccount, maxExpirationSeconds };
    assert.equal(longServiceAccount.length, 253);
    const issued = await answer(request('v1', stubFields(key('RSA 4096')), wishes), root);
    assert.equal(issued.notAfter - issued.notBefore, maxExpirationSeconds);
    await judgeAll(issued, key('RSA 4096'), root);
  });
}

for (const domain of [
  '-',
  '_',
  '-a_b-',
  '10.1.2.3',
  '1',
  `${'t'.repeat(127)}.${'d'.repeat(127)}`,
  'x'.repeat(255),
]) {
  test(`a trust domain of ${domain.length} characters, ${domain.slice(0, 10)}, suits every judge`, async () => {
    const root = await newRoot('ecdsa-p256', domain);
    await judgeAll(await answer(request('v1', stubFields(key('Ed25519'))), root), key('Ed25519'), root);
  });
}

test('a trust domain with an empty label does not suit the API server, which is why we issue for none', async () => {
  for (const domain of ['.a', 'a.', 'a..b']) {
    await assert.rejects(newRoot('ecdsa-p256', domain), { code: 'SPIFFE_ID_INVALID' });
    const root = await makeCa({ trustDomain: domain });
    const { before: asked, after } = await answer(request('v1', stubFields(key('Ed25519'))), root);
    const judged = await judges.podCertificateStatus({ before: asked, after, now });
    assertRefused(judged, /does not parse as valid X.509/);
  }
});

for (const name of subjectKeyNames) {
  test(`every judge accepts pod and issuer in a ${name} leaf, and Go reads the pod`, async () => {
    const root = await newRoot('ecdsa-p256');
    const asked = request('v1', stubFields(key(name)), {
      namespace: longNamespace,
      serviceAccountName: longServiceAccount,
    });
    const { spec } = asked;
    const extensionsFor = leafExtensions({ podIdentity: true, issuer: 'https://id.example.org' });
    const issued = await answerWith(asked, { extensionsFor }, root);
    await judgeAll(issued, key(name), root);
    const [read] = await judges.parse([{ kind: 'certificate', der: issued.leafDer }]);
    assert.equal(read?.error, '');
    assert.deepEqual(read?.pod, [
      longNamespace,
      '',
      spec.serviceAccountName,
      spec.serviceAccountUID,
      spec.podName,
      spec.podUID,
      spec.nodeName,
      spec.nodeUID,
    ]);
  });
}

test('a chain of two intermediates leads every judge to the root, and a gap in it does not', async () => {
  const root = await newRoot('ecdsa-p384');
  const upper = await makeCa({
    subject: 'O=example.org, CN=upper',
    issuer: { ...root, key: { ...root.key, name: 'ECDSA P-384' } },
  });
  const signing = await makeCa({ keyName: 'Ed25519', subject: 'O=example.org, CN=signing', issuer: upper });
  const issued = await answer(request('v1', stubFields(key('ECDSA P-256'))), signing, upper, root);
  await judgeAll(issued, key('ECDSA P-256'), root);

  const [leaf = '', first = ''] = issued.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
  const gap = await judges.x509Svid({ chain: leaf + first, bundles: { [trustDomain]: root.pem } });
  assertRefused(gap, /unknown authority/);
});

/** What go-spiffe and OpenSSL say of an SVID below this CA; undefined where both accept it. */
async function refusalBelow(ca: TestCa): Promise<string | undefined> {
  const issued = await answer(request('v1', stubFields(key('ECDSA P-256'))), ca);
  const bundles = { [trustDomain]: ca.pem };
  const go = await judges.x509Svid({ chain: issued.chainPem, bundles });
  if (!go.ok) return go.errors.join();
  return assertOpenssl(issued, ca).then(() => undefined, String);
}

for (const [name, wish, expected] of constraintCases) {
  const outcome = expected === 'accepted' ? 'accepted by every judge' : 'refused by a judge';
  test(`an SVID below a CA whose name constraints ${name} is ${outcome}, as we say`, async () => {
    const refusal = await refusalBelow(await makeCa({ furtherExtensions: [nameConstraints(wish)] }));
    if (expected === 'accepted') assert.equal(refusal, undefined);
    else assert.notEqual(refusal, undefined);
  });
}

for (const critical of [true, false]) {
  test(`an unknown extension on a CA makes judges refuse what is below exactly if critical: ${critical}`, async () => {
    const ca = await makeCa({ furtherExtensions: [unknownExtension(critical)] });
    assert.equal((await refusalBelow(ca)) !== undefined, critical);
    assert.equal(unprocessedExtensions(ca.facts).length > 0, critical);
  });
}

test('go-spiffe refuses what it should, so that its acceptance is a proof', async () => {
  const root = await newRoot('ecdsa-p256');
  const other = await newRoot('ecdsa-p256');
  const { chainPem } = await answer(request('v1', stubFields(key('ECDSA P-256'))), root);
  const bundles = { [trustDomain]: root.pem };
  assertRefused(
    await judges.x509Svid({ chain: chainPem, bundles: { [trustDomain]: other.pem } }),
    /verify|authority/,
  );
  assertRefused(
    await judges.x509Svid({ chain: chainPem, bundles: { 'example.com': root.pem } }),
    /no X.509 bundle/,
  );
  assertRefused(await judges.x509Svid({ chain: root.pem, bundles }), /CA flag|leaf/);
  assertRefused(
    await judges.x509Svid({ chain: chainPem, bundles, now: new Date(Date.now() + 100 * 86_400_000) }),
    /expired/,
  );
  const foreign = key('Ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  assertRefused(await judges.x509Svid({ chain: chainPem, bundles, key: foreign }), /key/);
});

test('the API server refuses what it should: other keys, fractions of seconds, clocks too far off', async () => {
  const root = await newRoot('ecdsa-p256');
  const { before: asked, after } = await answer(request('v1', stubFields(key('ECDSA P-256'))), root);
  const judge = (change: object, at = now) =>
    judges.podCertificateStatus({
      before: asked,
      after: { ...after, status: { ...after.status, ...change } },
      now: at,
    });
  assertAccepted(await judge({}));
  assertRefused(
    await judge({ notBefore: after.status?.notBefore?.replace('Z', '.123Z') }),
    /NotBefore time encoded/,
  );
  assertRefused(await judge({ beginRefreshAt: after.status?.notBefore }), /10 minutes after/);
  assertAccepted(await judge({}, new Date(now.getTime() + 179_000)));
  assertRefused(await judge({}, new Date(now.getTime() + 180_000)), /within 5 minutes/);
  assertAccepted(await judge({}, new Date(now.getTime() - 419_000)));
  assertRefused(await judge({}, new Date(now.getTime() - 420_000)), /within 5 minutes/);
  assertRefused(await judge({ unknown: true }), /unknown field/);
  const { before: another } = await answer(request('v1', stubFields(key('Ed25519'))), root);
  assertRefused(
    await judges.podCertificateStatus({
      before: another,
      after: { ...another, status: after.status ?? {} },
      now,
    }),
    /not issued to the requested public key/,
  );
});

test('the API server accepts our denials', async () => {
  const asked = request('v1', stubFields(key('ECDSA P-256')));
  const { body } = prepareAnswer(
    { uid: asked.metadata.uid ?? '' },
    { type: 'Denied', reason: 'UnsupportedKeyType', message: 'use one of ECDSA P-256', at: nowSeconds },
  );
  const { status } = JSON.parse(body) as PodCertificateRequest;
  assertAccepted(
    await judges.podCertificateStatus({ before: asked, after: { ...asked, status: status ?? {} }, now }),
  );
});

test('the API server accepts our ClusterTrustBundle, and no other name for it', async () => {
  const roots = await Promise.all([newRoot('ecdsa-p256'), newRoot('rsa-3072'), newRoot('ed25519')]);
  for (const domain of [trustDomain, '-', 'a'.repeat(255)]) {
    const desired = desiredBundle({
      signerName: 'kubespiffe.io/spiffe',
      suffix: 'live',
      trustDomain: domain,
      canarying: 'live',
      roots: roots.map(({ facts }) => facts),
      mark: { sequence: 1, content: 'c0ffee' },
    });
    assert.ok(desired.ok);
    const { name, signerName, labels, annotations, trustBundle } = desired.value;
    const bundle = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'ClusterTrustBundle',
      metadata: { name, labels, annotations },
      spec: { signerName, trustBundle },
    };
    assertAccepted(await judges.clusterTrustBundle(bundle));
    assertAccepted(await judges.clusterTrustBundle({ ...bundle, apiVersion: 'certificates.k8s.io/v1beta1' }));
    assertRefused(
      await judges.clusterTrustBundle({ ...bundle, metadata: { name: 'roots' } }),
      /metadata.name/,
    );
    const twice = { ...bundle, spec: { signerName, trustBundle: trustBundle + trustBundle } };
    assertRefused(await judges.clusterTrustBundle(twice), /duplicate/i);
  }
});

test('two workloads speak mTLS with their files, and only with the peers that they expect', async () => {
  const root = await newRoot('ecdsa-p256');
  const bundles = { [trustDomain]: root.pem };
  const side = async (name: (typeof subjectKeyNames)[number], serviceAccountName: string) => {
    const { chainPem, id } = await answer(request('v1', stubFields(key(name)), { serviceAccountName }), root);
    const credentials = `${key(name).privateKey.export({ type: 'pkcs8', format: 'pem' })}${chainPem}`;
    return { id, credentials, bundles };
  };
  for (const name of subjectKeyNames) {
    const server = await side(name, 'server');
    const client = await side('ECDSA P-256', 'client');
    const met = await judges.mtls({
      server: { ...server, expects: client.id },
      client: { ...client, expects: server.id },
    });
    assertAccepted(met);
    assert.deepEqual(met.facts, { serverSaw: client.id, clientSaw: server.id, tlsVersion: 'TLS 1.3' });
  }
  const server = await side('ECDSA P-256', 'server');
  const client = await side('Ed25519', 'client');
  assertRefused(await judges.mtls({ server: { ...server, expects: server.id }, client }), /unexpected ID/);
  assertRefused(await judges.mtls({ server, client: { ...client, expects: client.id } }), /unexpected ID/);
  const stranger = await newRoot('ecdsa-p256');
  assertRefused(
    await judges.mtls({ server, client: { ...client, bundles: { [trustDomain]: stranger.pem } } }),
    /authority/,
  );
});
