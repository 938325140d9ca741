import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { newPool } from '../../../signer/authority/document.ts';
import { compilePool, type Pool } from '../../../signer/authority/pool.ts';
import { type Identify, identify } from '../../../signer/identity/identify.ts';
import { createLimiter } from '../../../signer/kube/limiter.ts';
import { describe as sentenceOf } from '../../../signer/observe/checked.ts';
import { createCertificateAuthenticator } from '../../../signer/token/caller/authenticate-certificate.ts';
import type { Authenticated } from '../../../signer/token/caller/caller.ts';
import {
  judgeClientCertificate,
  readClientCertificate,
} from '../../../signer/token/caller/client-certificate.ts';
import { identifyCaller } from '../../../signer/token/caller/pods.ts';
import { decodePem } from '../../../spiffe/pki/pem.ts';
import { makeCa } from '../../authority/authorities.ts';
import { timeWith } from '../../kube/fake-time.ts';
import {
  aCertificate,
  authoritiesOfAllStates,
  badCertificates,
  type CertificateFacts,
  type ClientCredentials,
  type LeafWishes,
} from './client-certificates.ts';

const now = 1_800_000_000;
const year = 365 * 24 * 3600;
const trustDomain = 'example.org';
const facts: CertificateFacts = {
  authorities: await authoritiesOfAllStates(now),
  namespace: 'shop',
  serviceAccount: { name: 'web', uid: 'sa-uid' },
  pod: { name: 'web-0', uid: 'pod-uid' },
  now,
};

function poolOf(authorities: CertificateFacts['authorities']) {
  const [first] = authorities;
  assert.ok(first);
  const compiled = compilePool({ ...newPool(trustDomain, first), authorities }, trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return compiled.pool;
}
const pool = poolOf(facts.authorities);

function derOf({ cert }: ClientCredentials): Uint8Array {
  const blocks = decodePem(cert);
  assert.ok(blocks.ok && blocks.value[0]);
  return blocks.value[0].der;
}

const sound = derOf(await aCertificate(facts));

function readDer(der: Uint8Array, at = now, from = pool): Authenticated {
  const reading = readClientCertificate(der, from, trustDomain);
  return reading.ok ? judgeClientCertificate(reading.value, at) : reading;
}

const read = (credentials: ClientCredentials, at = now, from = pool) => readDer(derOf(credentials), at, from);

/** What the whole way says: the certificate, then its pod, which lives and runs under the ServiceAccount web. */
function judge(credentials: ClientCredentials): string {
  const caller = read(credentials);
  if (!caller.ok) return caller.code;
  const pod = { uid: 'pod-uid', nodeName: 'node-1', serviceAccountName: 'web', finished: undefined };
  const identifyPod: Identify = (named) => identify(named, { trustDomain });
  const identity = identifyCaller(caller.value, { kind: 'found', pod }, identifyPod, now);
  return identity.ok ? identity.value.spiffeId : identity.code;
}

describe('a client certificate', () => {
  it('a refusal names the pod of a client certificate that has expired, and not of one by an unknown CA', async () => {
    const ended = read(await aCertificate(facts, { notAfter: now }));
    assert.ok(!ended.ok);
    assert.equal(ended.code, 'CertificateExpired');
    assert.deepEqual(ended.owner?.pod, { name: 'web-0', uid: 'pod-uid' });
    const others = await authoritiesOfAllStates(now);
    const foreign = read(await aCertificate({ ...facts, authorities: others }));
    assert.ok(!foreign.ok);
    assert.deepEqual([foreign.code, foreign.owner], ['CertificateUntrusted', undefined]);
  });

  it('a client certificate names its pod', async () => {
    const credentials = await aCertificate(facts);
    const caller = read(credentials);
    assert.ok(caller.ok);
    const { id, ...others } = caller.value;
    assert.match(id, /^40[0-9a-f]{30}$/);
    assert.deepEqual(others, {
      namespace: 'shop',
      serviceAccount: { name: 'web', uid: 'sa-uid' },
      pod: { name: 'web-0', uid: 'pod-uid' },
      expiresAt: now + 3600,
      provedBy: 'certificate',
      spiffeId: 'spiffe://example.org/ns/shop/sa/web',
    });
    assert.equal(judge(credentials), 'spiffe://example.org/ns/shop/sa/web');
  });

  for (const state of ['trusted', 'retiring']) {
    it(`a client certificate is good when its authority is ${state}: it is in the bundles`, async () => {
      assert.equal(judge(await aCertificate(facts, {}, state)), 'spiffe://example.org/ns/shop/sa/web');
    });
  }

  const edges: [name: string, wishes: LeafWishes, ok: boolean][] = [
    ['in its last second', { notAfter: now + 1 }, true],
    ['in the second in which it ends', { notAfter: now }, false],
    ['that begins in a minute', { notBefore: now + 60 }, true],
    ['that begins in more than a minute', { notBefore: now + 61 }, false],
    ['with DNS names beside the SPIFFE ID', { otherNames: [{ type: 'dns', value: 'web.shop.svc' }] }, true],
  ];
  for (const [name, wishes, ok] of edges) {
    it(`a client certificate ${ok ? 'is good' : 'is refused'} ${name}`, async () => {
      assert.equal(read(await aCertificate(facts, wishes)).ok, ok);
    });
  }

  for (const { name, code, make } of badCertificates(facts)) {
    it(`a client certificate is refused with ${code}: one ${name}`, async () => {
      assert.equal(judge(await make()), code);
    });
  }

  it('a client certificate is refused with the clause that it violates', async () => {
    const outcome = read(await aCertificate(facts, { isCa: true }));
    assert.ok(!outcome.ok);
    assert.match(sentenceOf(outcome), /X509-SVID 4\.1: basicConstraints says cA TRUE/);
  });

  for (const [name, der] of [
    ['nothing', new Uint8Array()],
    ['garbage', Buffer.from('garbage')],
    ['a certificate that is cut off', sound.subarray(0, -1)],
    ['a certificate with more behind it', Buffer.concat([sound, Buffer.of(0)])],
  ] as const) {
    it(`a client certificate is refused with CertificateMalformed: ${name}`, () => {
      const outcome = readDer(der);
      assert.equal(outcome.ok || outcome.code, 'CertificateMalformed');
    });
  }

  it('a client certificate is refused after a change of any single byte', () => {
    for (let at = 0; at < sound.length; at++) {
      const changed = Buffer.from(sound);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      assert.equal(readDer(changed).ok, false, `byte ${at}`);
    }
  });

  it('a client certificate is good from the intermediate that signs leaves, and not from the root above it', async () => {
    const times = { notBefore: now - 3600, notAfter: now + year };
    const root = await makeCa({ ...times, subject: 'CN=root' });
    const signing = await makeCa({ ...times, subject: 'CN=signing', issuer: root });
    const record = {
      ...(facts.authorities[0] ?? assert.fail()),
      certificate: root.certificate,
      intermediates: [signing.certificate],
      privateKey: signing.privateKey,
    };
    const chained = poolOf([record]);
    const signedBy = (ca: typeof root) =>
      aCertificate({
        ...facts,
        authorities: [{ ...record, certificate: ca.certificate, privateKey: ca.privateKey }],
      });
    assert.equal(read(await signedBy(signing), now, chained).ok, true);
    const above = read(await signedBy(root), now, chained);
    assert.equal(above.ok || above.code, 'CertificateUntrusted');
  });

  it('a client certificate is refused when the root of its authority has expired', async () => {
    const ended = await authoritiesOfAllStates(now - year - 10);
    const of = { ...facts, authorities: ended };
    const outcome = read(await aCertificate(of), now, poolOf(ended));
    assert.equal(outcome.ok || outcome.code, 'CertificateUntrusted');
  });

  it('a client certificate is refused when its key is tainted under any name', async () => {
    const [active] = facts.authorities;
    assert.ok(active);
    const twin = { ...active, id: 'twin', state: 'retired' as const, tainted: true };
    const outcome = read(await aCertificate(facts), now, poolOf([...facts.authorities, twin]));
    assert.equal(outcome.ok || outcome.code, 'CertificateTainted');
  });
});

describe('the certificate of a connection', () => {
  const [active, ...others] = facts.authorities;
  assert.ok(active);

  it('a client certificate is charged to the rate limit of its pod with each request', async () => {
    const { take } = createLimiter({ perSecond: 1, time: timeWith({ monotonic: () => 0 }) });
    const podLimits = { take };
    const authenticate = createCertificateAuthenticator({
      ...{ pool: { current: () => pool }, trustDomain, podLimits, time: timeWith({ now: () => now * 1000 }) },
    });
    const der = derOf(await aCertificate(facts));
    assert.ok(authenticate(der).ok && authenticate(der).ok);
    const third = authenticate(der);
    assert.ok(!third.ok);
    assert.deepEqual([third.code, third.owner?.pod.uid], ['PodLimited', 'pod-uid']);
    assert.equal(take('pod-uid'), 1000);
  });

  it('a client certificate is verified for each request, by the current time and pool', async () => {
    const state = { now, pool: poolOf(facts.authorities) as Pool | undefined };
    const authenticate = createCertificateAuthenticator({
      pool: { current: () => state.pool },
      trustDomain,
      podLimits: { take: () => 0 },
      time: timeWith({ now: () => state.now * 1000 }),
    });
    const der = derOf(await aCertificate(facts));
    const verdict = () => {
      const caller = authenticate(der);
      return caller.ok ? caller.value.pod.name : caller.code;
    };
    assert.equal(verdict(), 'web-0');
    state.now = now + 3600;
    assert.equal(verdict(), 'CertificateExpired');
    state.now = now;
    assert.equal(verdict(), 'web-0');
    state.pool = poolOf([{ ...active, tainted: true }, ...others]);
    assert.equal(verdict(), 'CertificateTainted');
    state.pool = poolOf(others);
    assert.equal(verdict(), 'CertificateUntrusted');
    state.pool = undefined;
    assert.equal(verdict(), 'NotReady');
    state.pool = poolOf(facts.authorities);
    assert.equal(verdict(), 'web-0');
  });
});
