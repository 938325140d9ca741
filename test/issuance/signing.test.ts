import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { newPool } from '../../signer/authority/document.ts';
import { createPoolHolder } from '../../signer/authority/holder.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import { reserveNothing } from '../../signer/authority/reservations.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { createSigning, type SigningNeeds } from '../../signer/issuance/signing.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { nothingPublished } from '../authority/published.ts';
import { timeWith } from '../kube/fake-time.ts';
import { anOpenRequest, aSupportedKey } from './examples.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 25, 12) / 1000;
const hour = 3600;
const authority = await createAuthority({ id: 'x', trustDomain, now, lifetimeSeconds: 48 * hour });
const secret = { metadata: { name: 'pool' }, data: serializePool(newPool(trustDomain, authority)) };

function signingWith(different: Partial<SigningNeeds> = {}, at = now) {
  const pool = createPoolHolder({
    trustDomain,
    published: nothingPublished,
    rootPropagationSeconds: 390,
    onChange: () => undefined,
  });
  pool.offer(secret, now);
  const asked: CertificateFacts[] = [];
  const signing = createSigning({
    pool: { signable: pool.signable, reserve: reserveNothing },
    visibility: () => ({ place: 'the bundle', isVisible: (root) => asked.push(root) > 0 }),
    clockProblem: () => undefined,
    policy: { maxLifetimeSeconds: 24 * hour, refreshFraction: 0.5, refreshJitter: 0 },
    profile: svidProfile,
    time: timeWith({ now: () => at * 1000, jitter: () => 0 }),
    randomBytes: (count) => new Uint8Array(count).fill(7),
    ...different,
  });
  return { signing, asked };
}

const parsed = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
assert.ok(parsed.ok);
const decision = { kind: 'issue', subject: spiffeSubject(parsed.value), key: aSupportedKey } as const;

describe('signing', () => {
  it('signing makes a certificate for the key of the request, under an authority whose root is seen', async () => {
    const { signing, asked } = signingWith();
    const signed = await signing.sign(decision, anOpenRequest());
    assert.ok(signed.ok);
    const leaf = new X509Certificate(signed.chainPem);
    const ca = new X509Certificate(authority.certificate ?? '');
    assert.ok(leaf.verify(ca.publicKey));
    assert.deepEqual(leaf.publicKey.export({ type: 'spki', format: 'der' }), Buffer.from(aSupportedKey.spki));
    assert.equal(leaf.subjectAltName, `URI:${parsed.value.uri}`);
    assert.equal(Date.parse(leaf.validTo) - Date.parse(leaf.validFrom), 24 * hour * 1000);
    assert.ok(asked.length > 0 && asked.every(({ der }) => ca.raw.equals(der)));
  });

  it('signing waits if the name constraints of the authority do not permit a DNS name, and others are signed', async () => {
    const limited = await createAuthority({
      ...{ id: 'dns-1', trustDomain: undefined, permittedDnsNames: ['svc'], now },
    });
    const pool = createPoolHolder({
      trustDomain: undefined,
      published: nothingPublished,
      rootPropagationSeconds: 390,
      onChange: () => undefined,
    });
    pool.offer({ metadata: { name: 'pool' }, data: serializePool(newPool(undefined, limited)) }, now);
    const { signing } = signingWith({ pool: { signable: pool.signable, reserve: reserveNothing } });
    const sign = (...dnsNames: string[]) => {
      const subject = { uris: [], dnsNames, display: '' };
      return signing.sign({ kind: 'issue', subject, key: aSupportedKey }, anOpenRequest());
    };
    assert.deepEqual(await sign('web.shop.svc', 'web.shop.svc.cluster.local'), {
      ok: false,
      reason: 'NameNotPermitted',
      detail: 'web.shop.svc.cluster.local, by authority dns-1',
    });
    const signed = await sign('web.shop.svc');
    assert.ok(signed.ok);
    assert.equal(new X509Certificate(signed.chainPem).subjectAltName, 'DNS:web.shop.svc');
  });

  const empty = createPoolHolder({
    trustDomain,
    published: nothingPublished,
    rootPropagationSeconds: 390,
    onChange: () => undefined,
  });
  const problems: [name: string, Partial<SigningNeeds>, at: number, reason: string, detail: RegExp][] = [
    ['a clock that is off', { clockProblem: () => 'an hour' }, now, 'ClockSkew', /an hour/],
    [
      'no pool',
      { pool: { signable: empty.signable, reserve: reserveNothing } },
      now,
      'PoolUnusable',
      /pool: .+; .+/,
    ],
    ['an authority that has expired', {}, now + 49 * hour, 'PoolUnusable', /expired|ended/],
    ['an authority in its last hour', {}, now + 47 * hour + 1, 'AuthorityExpiring', /authorit/],
    [
      'a root that is not seen',
      { visibility: () => ({ place: 'the bundle', isVisible: () => false }) },
      now,
      'TrustNotPublished',
      /the bundle/,
    ],
  ];
  it('signing records how long a certificate is valid before it signs, and does not sign without that', async () => {
    const order: string[] = [];
    const pool = createPoolHolder({
      trustDomain,
      published: nothingPublished,
      rootPropagationSeconds: 390,
      onChange: () => undefined,
    });
    pool.offer(secret, now);
    const reserve: SigningNeeds['pool']['reserve'] = async (_, until) => void order.push(`until ${until}`);
    const { signing } = signingWith({
      pool: { signable: pool.signable, reserve },
      randomBytes(count) {
        order.push('sign');
        return new Uint8Array(count).fill(7);
      },
    });
    const signed = await signing.sign(decision, anOpenRequest());
    assert.ok(signed.ok);
    assert.deepEqual(order, [`until ${signed.certificate.notAfter}`, 'sign']);

    const broken = signingWith({
      pool: { signable: pool.signable, reserve: () => Promise.reject(new Error('forbidden')) },
    });
    const refused = await broken.signing.sign(decision, anOpenRequest());
    assert.deepEqual(refused, { ok: false, reason: 'SigningNotRecorded', detail: 'forbidden' });
  });

  it('a certificate is discarded if its authority was tainted or its view became too old meanwhile', async () => {
    const pool = createPoolHolder({
      trustDomain,
      published: nothingPublished,
      rootPropagationSeconds: 390,
      onChange: () => undefined,
    });
    pool.offer(secret, now);
    const tainted = { ...newPool(trustDomain, { ...authority, tainted: true }), sequence: 2 };
    const { signing } = signingWith({
      pool: {
        signable: pool.signable,
        reserve: async () => pool.offer({ metadata: { name: 'pool' }, data: serializePool(tainted) }, now),
      },
    });
    const refused = await signing.sign(decision, anOpenRequest());
    assert.ok(!refused.ok);
    assert.match(refused.detail, /authority x is tainted/);
  });

  for (const [name, different, at, reason, detail] of problems) {
    it(`signing waits for the end of ${name}, and may not use the authority for anything else meanwhile`, async () => {
      const { signing } = signingWith(different, at);
      const signed = await signing.sign(decision, anOpenRequest());
      assert.ok(!signed.ok);
      assert.equal(signed.reason, reason);
      assert.match(signed.detail, detail);
      assert.deepEqual(signing.mayUse(), signed);
    });
  }
});
