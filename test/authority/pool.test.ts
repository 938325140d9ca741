import { X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeyUsageFlags } from '@peculiar/x509';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { compilePool, parsePool } from '../../signer/authority/pool.ts';
import { poolJsonIn, poolSecret, serializePool } from '../../signer/authority/pool-secret.ts';
import { examinePool } from '../../signer/authority/repair.ts';
import { createRequested } from '../../signer/authority/request.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { nameConstraints, unknownExtension } from '../spiffe/pki/name-constraints.ts';
import { makeCa, p256, type TestCa } from './authorities.ts';

const now = Date.UTC(2026, 10, 22, 12) / 1000;
const year = 365 * 24 * 3600;
const validity = { notBefore: now - 3600, notAfter: now + year };

const root = await makeCa({ ...validity, subject: 'CN=root' });
const otherRoot = await makeCa({ ...validity, subject: 'CN=other' });
const middle = await makeCa({ ...validity, subject: 'CN=middle', issuer: root });
const lower = await makeCa({ ...validity, subject: 'CN=lower', issuer: middle, pathLen: 0 });

const requested = await createRequested({ id: 'waiting', trustDomain: 'example.org', now });

function record(ca: TestCa, changes: Partial<AuthorityRecord> = {}): AuthorityRecord {
  const { certificate, privateKey } = ca;
  return { id: 'a', kind: 'X509', state: 'active', tainted: false, privateKey, certificate, ...changes };
}

function poolOf(authorities: readonly unknown[], changes: Record<string, unknown> = {}): Secret {
  return secretOf(jsonOf(authorities, changes));
}

function jsonOf(authorities: readonly unknown[], changes: Record<string, unknown> = {}): string {
  return JSON.stringify({
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'AuthorityPool',
    trustDomain: 'example.org',
    sequence: 1,
    authorities,
    ...changes,
  });
}

function secretOf(text: string): Secret {
  return {
    metadata: { name: 'pool', namespace: 'kubespiffe-system' },
    type: poolSecret.type,
    data: { 'pool.json': Buffer.from(text).toString('base64') },
  };
}

const parse = (secret: Secret | undefined, trustDomain = 'example.org') =>
  parsePool(secret, { trustDomain, now });

interface Row {
  name: string;
  secret: Secret | undefined;
  reason: string;
  field: string;
  /** A part of the message that says what is wrong, and one that says what to do. */
  says: RegExp;
  remedy: RegExp;
}

const ca = async (options: Partial<Parameters<typeof makeCa>[0]>, changes: Partial<AuthorityRecord> = {}) =>
  poolOf([record(await makeCa({ ...validity, ...options }), changes)]);

const rows: Row[] = [
  {
    name: 'a Secret that is missing',
    secret: undefined,
    reason: 'PoolMissing',
    field: 'pool',
    says: /no such Secret/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'a Secret without the key',
    secret: { metadata: { name: 'pool' }, data: {} },
    reason: 'PoolEmpty',
    field: 'pool',
    says: /no key pool\.json/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'a Secret with a CA of cert-manager',
    secret: { metadata: { name: 'pool' }, data: { 'tls.crt': 'eA==', 'tls.key': 'eA==' } },
    reason: 'PoolEmpty',
    field: 'pool',
    says: /no key pool\.json/,
    remedy: /kubespiffe ca import/,
  },
  {
    name: 'an empty pool.json',
    secret: secretOf(''),
    reason: 'PoolEmpty',
    field: 'pool',
    says: /no key pool\.json/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'a pool without authorities',
    secret: poolOf([]),
    reason: 'PoolEmpty',
    field: 'pool.authorities',
    says: /there is none/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'text that is not JSON',
    secret: secretOf(`{"authorities": [${root.privateKey}`),
    reason: 'PoolMalformed',
    field: 'pool',
    says: /not JSON/,
    remedy: /kubespiffe ca restore/,
  },
  ...['"tainted": true', '"state": "retired"', '"privateKey": ""'].map(
    (member): Row => ({
      name: `an authority with two values for ${member.split(':')[0]}`,
      secret: secretOf(jsonOf([record(root)]).replace('"id":"a"', `$&,${member}`)),
      reason: 'PoolMalformed',
      field: 'pool',
      says: /has a name twice/,
      remedy: /kubespiffe ca restore/,
    }),
  ),
  {
    name: 'JSON that is no object',
    secret: secretOf('[]'),
    reason: 'PoolMalformed',
    field: 'pool',
    says: /not a JSON object/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'a pool that is too large',
    secret: secretOf(JSON.stringify({ padding: 'x'.repeat(600_000) })),
    reason: 'PoolMalformed',
    field: 'pool',
    says: /larger than 512 KiB/,
    remedy: /remove/,
  },
  {
    name: 'too many authorities',
    secret: poolOf(Array.from({ length: 33 }, (_, i) => record(root, { id: `a${i}`, state: 'retired' }))),
    reason: 'PoolMalformed',
    field: 'pool.authorities',
    says: /33 entries, more than 32/,
    remedy: /remove retired authorities/,
  },
  {
    name: 'another apiVersion',
    secret: poolOf([record(root)], { apiVersion: 'kubespiffe.io/v9' }),
    reason: 'PoolMalformed',
    field: 'pool.apiVersion',
    says: /"kubespiffe\.io\/v1alpha1"/,
    remedy: /restore/,
  },
  {
    name: 'a sequence that is negative',
    secret: poolOf([record(root)], { sequence: -1 }),
    reason: 'PoolMalformed',
    field: 'pool.sequence',
    says: /whole number/,
    remedy: /restore/,
  },
  {
    name: 'a field that is misspelt',
    secret: poolOf([{ ...record(root), tained: true }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].tained',
    says: /not a field/,
    remedy: /correct its name/,
  },
  {
    name: 'a field that is missing',
    secret: poolOf([{ ...record(root), tainted: undefined }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].tainted',
    says: /missing/,
    remedy: /restore/,
  },
  {
    name: 'an id that is not fit to be one',
    secret: poolOf([record(root, { id: 'a/b' })]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].id',
    says: /1 to 63/,
    remedy: /restore/,
  },
  {
    name: 'a time that is not a time',
    secret: poolOf([record(root, { createdAt: 'yesterday' })]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].createdAt',
    says: /a time like/,
    remedy: /restore/,
  },
  {
    name: 'an unknown kind',
    secret: poolOf([{ ...record(root), kind: 'SSH' }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].kind',
    says: /one of X509/,
    remedy: /restore/,
  },
  {
    name: 'an unknown state',
    secret: poolOf([record(root), { ...record(otherRoot), id: 'b', state: 'resting' }]),
    reason: 'PoolStateUnknown',
    field: 'pool.authorities[1].state',
    says: /"resting" is not known/,
    remedy: /run the version of kubespiffe that wrote it/,
  },
  {
    name: 'a JWT authority in preview',
    secret: poolOf([{ id: 'j', kind: 'JWT-ES256', state: 'preview', tainted: false }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].state',
    says: /only X509/,
    remedy: /restore/,
  },
  {
    name: 'two authorities of one id',
    secret: poolOf([record(root), record(otherRoot, { state: 'trusted' })]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[1].id',
    says: /a is the id of pool\.authorities\[0\]/,
    remedy: /unique id/,
  },
  {
    name: 'two active authorities',
    secret: poolOf([record(root), record(otherRoot, { id: 'b' })]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[1].state',
    says: /active, and so is pool\.authorities\[0\]/,
    remedy: /must no longer sign to retiring/,
  },
  {
    name: 'a pool of another trust domain',
    secret: poolOf([record(root)], { trustDomain: 'other.example' }),
    reason: 'PoolTrustDomainMismatch',
    field: 'pool.trustDomain',
    says: /"other\.example".*"example\.org"/,
    remedy: /setting pool;.*misspelt --trust-domain.*delete the Secret, and run `kubespiffe ca create` again/,
  },
  {
    name: 'a root of another trust domain',
    secret: await ca({ uris: ['spiffe://other.example'] }),
    reason: 'PoolTrustDomainMismatch',
    field: 'pool.authorities[0].certificate',
    says: /spiffe:\/\/other\.example/,
    remedy: /use a CA of example\.org/,
  },
  {
    name: 'a root whose SPIFFE ID has a path',
    secret: await ca({ uris: ['spiffe://example.org/ca'] }),
    reason: 'PoolTrustDomainMismatch',
    field: 'pool.authorities[0].certificate',
    says: /spiffe:\/\/example\.org\/ca/,
    remedy: /use a CA of/,
  },
  {
    name: 'an intermediate of another trust domain',
    secret: await (async () => {
      const foreign = await makeCa({ ...validity, uris: ['spiffe://other.example'], issuer: root });
      return poolOf([record(root, { privateKey: foreign.privateKey, intermediates: [foreign.certificate] })]);
    })(),
    reason: 'PoolTrustDomainMismatch',
    field: 'pool.authorities[0].intermediates[0]',
    says: /other\.example/,
    remedy: /use a CA of/,
  },
  {
    name: 'a key that belongs to another certificate',
    secret: poolOf([record(root, { privateKey: otherRoot.privateKey })]),
    reason: 'PoolKeyMismatch',
    field: 'pool.authorities[0].privateKey',
    says: /does not belong to the certificate of authority a/,
    remedy: /put the key/,
  },
  {
    name: 'a key that belongs to the root and not to the intermediate',
    secret: poolOf([record(root, { intermediates: [middle.certificate] })]),
    reason: 'PoolKeyMismatch',
    field: 'pool.authorities[0].privateKey',
    says: /the first intermediate/,
    remedy: /put the key/,
  },
  {
    name: 'an active authority without a key',
    secret: poolOf([{ ...record(root), privateKey: undefined }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].privateKey',
    says: /has to sign/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'a key that is a certificate',
    secret: poolOf([record(root, { privateKey: root.certificate })]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].privateKey',
    says: /PKCS#8/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'a key that is cut off',
    secret: poolOf([
      record(root, { privateKey: '-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----\n' }),
    ]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].privateKey',
    says: /not a readable PKCS#8/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'an RSA key of 2048 bits',
    secret: await ca({
      algorithm: {
        name: 'RSASSA-PKCS1-v1_5',
        modulusLength: 2048,
        publicExponent: Uint8Array.of(1, 0, 1),
        hash: 'SHA-256',
      },
    }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].privateKey',
    says: /RSA 2048/,
    remedy: /a key of one of these types: ECDSA P-256/,
  },
  {
    name: 'a key on P-521',
    secret: await ca({ algorithm: { ...p256, namedCurve: 'P-521' } }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].privateKey',
    says: /ECDSA P-521/,
    remedy: /a key of one of these types: ECDSA P-256/,
  },
  {
    name: 'a certificate that is not a certificate',
    secret: poolOf([
      record(root, { certificate: '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n' }),
    ]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /cannot be read/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'two certificates in one field',
    secret: poolOf([record(root, { certificate: root.certificate + otherRoot.certificate })]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /not one PEM certificate/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'a certificate that is no CA',
    secret: await ca({ isCa: false }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /not a CA/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'a CA that may not sign certificates',
    secret: await ca({ keyUsage: KeyUsageFlags.digitalSignature }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /without keyCertSign/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'a CA that is limited to servers',
    secret: await ca({ extKeyUsage: ['1.3.6.1.5.5.7.3.1'] }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /extKeyUsage without clientAuth/,
    remedy: /use a CA without this problem.*kubespiffe ca restore/,
  },
  {
    name: 'a CA with a critical extension that verifiers do not know',
    secret: await ca({ furtherExtensions: [unknownExtension(true)] }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /has the critical extension 1\.3\.6\.1\.4\.1\.99999\.1, so verifiers refuse what it signs/,
    remedy: /use a CA without this extension/,
  },
  {
    name: 'a CA whose name constraints exclude the trust domain',
    secret: await ca({ furtherExtensions: [nameConstraints({ excluded: [['URI', 'example.org']] })] }),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /has nameConstraints that exclude URIs of "example\.org", so verifiers refuse the SPIFFE IDs/,
    remedy: /permit example\.org as the host of a URI/,
  },
  {
    name: 'a root above the signing certificate whose name constraints exclude the trust domain',
    secret: await (async () => {
      const furtherExtensions = [
        nameConstraints({
          permitted: [
            ['DNS', 'a.example'],
            ['URI', 'a.example'],
          ],
        }),
      ];
      const top = await makeCa({ ...validity, subject: 'CN=top', furtherExtensions });
      const below = await makeCa({ ...validity, subject: 'CN=below', issuer: top });
      return poolOf([record(top, { privateKey: below.privateKey, intermediates: [below.certificate] })]);
    })(),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /permit URIs of "a\.example" alone/,
    remedy: /permit example\.org/,
  },
  {
    name: 'a certificate that is not self-signed where the root should be',
    secret: poolOf([record(middle)]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /not signed by itself/,
    remedy: /the complete chain/,
  },
  {
    name: 'an intermediate of another root',
    secret: poolOf([
      record(otherRoot, { privateKey: middle.privateKey, intermediates: [middle.certificate] }),
    ]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].intermediates[0]',
    says: /not signed by the root/,
    remedy: /the complete chain/,
  },
  {
    name: 'intermediates in the wrong order',
    secret: poolOf([
      record(root, {
        privateKey: middle.privateKey,
        intermediates: [middle.certificate, lower.certificate],
      }),
    ]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].intermediates[0]',
    says: /not signed by the next intermediate/,
    remedy: /issuer of the leaf certificates first/,
  },
  {
    name: 'a document that is cut off',
    secret: secretOf(jsonOf([record(root)]).slice(0, 700)),
    reason: 'PoolMalformed',
    field: 'pool',
    says: /not JSON/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'a cycle of two CAs',
    secret: await (async () => {
      const one = await makeCa({ ...validity, subject: 'CN=one' });
      const other = await makeCa({ ...validity, subject: 'CN=other one', issuer: one });
      const signedBack = await makeCa({ ...validity, subject: 'CN=one', issuer: other, keys: one.keys });
      return poolOf([
        record(signedBack, { privateKey: other.privateKey, intermediates: [other.certificate] }),
      ]);
    })(),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /not signed by itself/,
    remedy: /the complete chain/,
  },
  {
    name: 'a request that cannot be read',
    secret: poolOf([record(root), { ...requested, request: root.certificate }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[1].request',
    says: /not one PEM certificate request/,
    remedy: /ca remove waiting/,
  },
  {
    name: 'a request of an authority that is trusted',
    secret: poolOf([record(root), { ...requested, state: 'trusted' }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[1].state',
    says: /must be prepared/,
    remedy: /kubespiffe ca restore/,
  },
  {
    name: 'a request beside a certificate',
    secret: poolOf([record(root), { ...requested, certificate: root.certificate }]),
    reason: 'PoolMalformed',
    field: 'pool.authorities[1].certificate',
    says: /not a field/,
    remedy: /remove it/,
  },
  {
    name: 'a request for another key',
    secret: poolOf([record(root), { ...requested, privateKey: middle.privateKey }]),
    reason: 'PoolKeyMismatch',
    field: 'pool.authorities[1].privateKey',
    says: /does not belong to the request/,
    remedy: /ca remove waiting/,
  },
  {
    name: 'a root that allows no intermediate',
    secret: await (async () => {
      const short = await makeCa({ ...validity, subject: 'CN=short', pathLen: 0 });
      const below = await makeCa({ ...validity, subject: 'CN=below', issuer: short });
      return poolOf([record(short, { privateKey: below.privateKey, intermediates: [below.certificate] })]);
    })(),
    reason: 'PoolMalformed',
    field: 'pool.authorities[0].certificate',
    says: /allows 0 intermediates below it, and there are 1/,
    remedy: /kubespiffe ca/,
  },
  {
    name: 'an active root that has expired',
    secret: await ca({ notBefore: now - year, notAfter: now }),
    reason: 'PoolExpired',
    field: 'pool.authorities[0].certificate',
    says: /expired at 2026-11-22T12:00:00Z/,
    remedy: /add a new CA/,
  },
  {
    name: 'an active root that is not yet valid',
    secret: await ca({ notBefore: now + 1 }),
    reason: 'PoolNotYetValid',
    field: 'pool.authorities[0].certificate',
    says: /only from 2026-11-22T12:00:01Z/,
    remedy: /clock/,
  },
  {
    name: 'an active root with less than an hour left',
    secret: await ca({ notAfter: now + 3599 }),
    reason: 'AuthorityExpiring',
    field: 'pool.authorities[0].certificate',
    says: /in less than an hour/,
    remedy: /add a new CA/,
  },
  {
    name: 'an intermediate that ends before its root',
    secret: await (async () => {
      const brief = await makeCa({ ...validity, notAfter: now + 60, subject: 'CN=brief', issuer: root });
      return poolOf([record(root, { privateKey: brief.privateKey, intermediates: [brief.certificate] })]);
    })(),
    reason: 'AuthorityExpiring',
    field: 'pool.authorities[0].intermediates[0]',
    says: /12:01:00Z/,
    remedy: /add a new CA/,
  },
];

describe('a pool with a problem', () => {
  for (const row of rows) {
    it(`a pool is refused: ${row.name}`, () => {
      const result = parse(row.secret);
      assert.ok(!result.ok, 'it was accepted');
      assert.equal(result.problem.reason, row.reason, result.problem.message);
      assert.equal(result.problem.field, row.field);
      assert.match(result.problem.message, row.says);
      assert.match(result.problem.message, row.remedy);
      assert.ok(result.problem.message.startsWith(`${row.field}: `), 'the message begins with the field');
      assert.ok(!result.problem.message.includes('\n'), 'the message is one line');
    });
  }

  it('`ca doctor` repairs a pool so that it can be read, or says what a person has to do', () => {
    const timely = new Set(['PoolExpired', 'PoolNotYetValid', 'AuthorityExpiring']);
    for (const { name, secret, reason } of rows) {
      const json = secret && poolJsonIn(secret);
      if (json === undefined || timely.has(reason)) continue;
      const { findings, document } = examinePool(json, { roots: [] }, { now, trustDomain: 'example.org' });
      const last = findings.at(-1);
      assert.ok(last, name);
      if (document) assert.ok(compilePool(document, 'example.org').ok, name);
      else
        assert.match(
          last.problem.remedy,
          /kubespiffe|use |run |put |remove |correct |give |make |set |name /,
          name,
        );
    }
  });

  it('a problem of the pool keeps its words as time passes, so that it is logged once', async () => {
    const timely = [
      await ca({ notBefore: now + 3600 }),
      await ca({ notBefore: now - year, notAfter: now }),
      await ca({ notAfter: now + 3599 }),
    ];
    for (const secret of timely) {
      const [first, second] = [now, now + 1].map((at) =>
        parsePool(secret, { trustDomain: 'example.org', now: at }),
      );
      assert.ok(first && second && !first.ok && !second.ok);
      assert.deepEqual(second.problem, first.problem);
    }
  });

  it('a problem of the pool never quotes a key', () => {
    const secrets = [root, otherRoot, middle, lower].flatMap((each) => keyFragments(each.privateKey));
    for (const row of rows) {
      const result = parse(row.secret);
      const told = JSON.stringify(result.ok ? '' : result.problem);
      assert.ok(!/PRIVATE KEY-----|MIG|MIIE/.test(told), row.name);
      for (const fragment of secrets) assert.ok(!told.includes(fragment), row.name);
    }
  });
});

/** Every run of twelve characters of a PEM body. */
function keyFragments(pem: string): string[] {
  const body = pem.split('\n').slice(1, -2).join('');
  return Array.from({ length: body.length - 12 }, (_, at) => body.slice(at, at + 12));
}

describe('a sound pool', () => {
  it('a pool publishes trusted, active and retiring roots once each, in their order', async () => {
    const states = ['retiring', 'prepared', 'active', 'preview', 'trusted', 'retired'] as const;
    const cas = await Promise.all(states.map((state) => makeCa({ ...validity, subject: `CN=${state}` })));
    const records = cas.map((each, i) => record(each, { id: `a${i}`, state: states[i] ?? 'retired' }));
    const again = record(cas[0] ?? root, { id: 'again', state: 'trusted' });
    const result = parse(poolOf([...records, again]));
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    assert.deepEqual(
      result.pool.roots.map(({ der }) => new X509Certificate(der).subject),
      ['CN=retiring', 'CN=active', 'CN=trusted'],
    );
    assert.equal(result.pool.active?.id, 'a2');
  });

  it('a pool signs with the first intermediate, and its chain has no root', () => {
    const result = parse(
      poolOf([
        record(root, {
          privateKey: lower.privateKey,
          intermediates: [lower.certificate, middle.certificate],
        }),
      ]),
    );
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    const active = result.pool.active;
    assert.equal(new X509Certificate(active?.signing.der ?? '').subject, 'CN=lower');
    assert.equal(active?.signingAuthority?.chainSuffixPem, lower.certificate + middle.certificate);
    assert.equal(active?.signingAuthority?.notAfter, validity.notAfter);
  });

  it('a pool is accepted with a warning when its root has no SPIFFE ID, as those of cert-manager', async () => {
    const result = parse(await ca({ uris: [] }));
    assert.ok(result.ok);
    assert.match(result.pool.active?.warnings.join() ?? '', /carries no SPIFFE ID/);
  });

  it('a pool is accepted with a warning when name constraints of a CA limit other names than SPIFFE IDs', async () => {
    const furtherExtensions = [nameConstraints({ permitted: [['DNS', 'corp.example']] })];
    const result = parse(await ca({ furtherExtensions }));
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    assert.match(result.pool.active?.warnings.join() ?? '', /nameConstraints for DNS names/);
  });

  it('a pool may have a CA that is limited to the purposes of leaves, or not limited', async () => {
    for (const extKeyUsage of [['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'], ['2.5.29.37.0']]) {
      const result = parse(await ca({ extKeyUsage }));
      assert.ok(result.ok, result.ok ? '' : result.problem.message);
    }
  });

  it('a pool may hold expired authorities, and authorities without a key, as long as they do not sign', async () => {
    const old = await makeCa({ ...validity, notBefore: now - year, notAfter: now - 1, subject: 'CN=old' });
    const retiring: Partial<AuthorityRecord> = { id: 'b', state: 'retiring' };
    const { privateKey: _, ...withoutKey } = record(old, retiring);
    const result = parse(poolOf([record(root), withoutKey]));
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    assert.equal(result.pool.roots.length, 2);
  });

  it('a pool may hold JWT authorities, which do not sign certificates', () => {
    const jwt = { id: 'j', kind: 'JWT-ES256', state: 'active', tainted: false, privateKey: root.privateKey };
    const result = parse(poolOf([record(root), jwt]));
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    assert.equal(result.pool.authorities.length, 1);
  });

  it('a pool reads back as it was written', () => {
    const document: PoolDocument = {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'AuthorityPool',
      trustDomain: 'example.org',
      sequence: 7,
      authorities: [record(root, { createdAt: '2026-11-22T12:00:00Z' })],
    };
    const result = parse({ metadata: { name: 'pool' }, data: serializePool(document) });
    assert.ok(result.ok, result.ok ? '' : result.problem.message);
    assert.equal(result.pool.sequence, 7);
    assert.equal(result.pool.active?.createdAt, '2026-11-22T12:00:00Z');
  });
});
