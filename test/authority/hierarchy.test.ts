import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Change } from '../../signer/authority/change.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { restoredPool } from '../../signer/authority/restore.ts';
import { longestCertificateSeconds } from '../../signer/authority/signed-until.ts';
import { writablePool } from '../../signer/authority/transitions.ts';
import { applyVerb, type Verb } from '../../signer/authority/verbs.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { makeCa, type TestCa } from './authorities.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const validity = { notBefore: now - 30 * day, notAfter: now + 365 * day };
const root = await makeCa({ ...validity, subject: 'CN=company root' });
const otherRoot = await makeCa({ ...validity, subject: 'CN=other root' });
const first = await makeCa({ ...validity, subject: 'CN=issuing 1', issuer: root, pathLen: 0 });
const second = await makeCa({ ...validity, subject: 'CN=issuing 2', issuer: root, pathLen: 0 });
const renewed = await makeCa({ ...validity, subject: 'CN=next root', keys: second.keys });
const cross = await makeCa({ ...validity, subject: 'CN=next root', keys: second.keys, issuer: root });

const below = (ca: TestCa, id: string, changes: Partial<AuthorityRecord> = {}): AuthorityRecord => ({
  ...{ id, kind: 'X509', state: 'prepared', tainted: false },
  ...{ certificate: root.certificate, intermediates: [ca.certificate], privateKey: ca.privateKey },
  createdAt: rfc3339(now),
  ...changes,
});
const active = below(first, 'ca-1', {
  ...{ state: 'active', createdAt: rfc3339(now - 30 * day) },
  ...{ publishedAt: rfc3339(now - 20 * day), activatedAt: rfc3339(now - 20 * day) },
});
const older: AuthorityRecord = {
  ...{ id: 'ca-0', kind: 'X509', state: 'retiring', tainted: false },
  ...{ certificate: otherRoot.certificate, publishedAt: rfc3339(now - 300 * day) },
  deactivatedAt: rfc3339(now - 200 * day),
};
const timing = {
  ...{ certificateSeconds: longestCertificateSeconds, rootPropagationSeconds: 390 },
  jwtPropagationSeconds: 900,
};

function apply(document: PoolDocument, verb: Verb, id: string, published?: ReadonlySet<string>): Change {
  const change = applyVerb(document, verb, id, { now, timing, published });
  assert.ok(change.ok, change.ok ? '' : change.what);
  return change;
}

const recordOf = ({ document }: Change, id: string) => document.authorities.find((each) => each.id === id);

describe('authorities below one root', () => {
  it('the next CA below the same root signs at once, because every verifier has the root', () => {
    const pool = newPool(trustDomain, older, active, below(second, 'ca-2'));
    const trusted = apply(pool, 'trust', 'ca-2');
    assert.equal(recordOf(trusted, 'ca-2')?.publishedAt, active.publishedAt);
    const activated = apply(trusted.document, 'activate', 'ca-2');
    assert.equal(activated.consequence, undefined);
    assert.ok(writablePool(activated.document, now).ok);
  });

  it('the root above two authorities is published once, and no intermediate', () => {
    const read = compilePool(
      newPool(trustDomain, active, below(second, 'ca-2', { state: 'trusted' })),
      trustDomain,
    );
    assert.ok(read.ok);
    assert.equal(read.pool.roots.length, 1);
    assert.equal(read.pool.roots[0]?.selfIssued, true);
  });

  it('one of two authorities below a root is retired and removed without harm, because the root stays', () => {
    const pool = newPool(
      trustDomain,
      below(first, 'ca-1', { state: 'retiring', deactivatedAt: rfc3339(now) }),
      below(second, 'ca-2', { state: 'active' }),
    );
    const retired = apply(pool, 'retire', 'ca-1');
    assert.equal(retired.consequence, undefined);
    const read = compilePool(retired.document, trustDomain);
    assert.ok(read.ok);
    const published = new Set(read.pool.roots.map(({ sha256Hex }) => sha256Hex));
    assert.equal(published.size, 1);
    assert.equal(recordOf(apply(retired.document, 'remove', 'ca-1', published), 'ca-1'), undefined);
  });

  it('the report of a stolen intermediate key says that it is usable as long as its root is trusted', () => {
    const pool = newPool(
      trustDomain,
      below(first, 'ca-1', { state: 'retiring', tainted: true, deactivatedAt: rfc3339(now) }),
      below(second, 'ca-2', { state: 'active' }),
    );
    const [note] = apply(pool, 'retire', 'ca-1').notes;
    assert.match(
      note ?? '',
      /root of authority ca-1 stays published .* is accepted until 2027-11-29T12:00:00Z/,
    );
  });

  it('one of two authorities below a root is tainted without the other, also when a copy is restored', () => {
    const pool = newPool(trustDomain, active, below(second, 'ca-2', { state: 'trusted' }));
    const tainted = apply(pool, 'taint', 'ca-1').document;
    const restored = restoredPool(pool, { live: tainted, now });
    assert.deepEqual(restored.stillTainted, ['ca-1']);
    assert.deepEqual(
      restored.pool.authorities.map((each) => each.tainted),
      [true, false],
    );
  });

  it('every authority with the stolen key is tainted, and none of them takes over', () => {
    const selfSigned: AuthorityRecord = {
      ...below(second, 'ca-2', { state: 'trusted', publishedAt: rfc3339(now - 20 * day) }),
      ...{ certificate: renewed.certificate, intermediates: [] },
    };
    const crossSigned = below(second, 'ca-1', { state: 'active', intermediates: [cross.certificate] });
    const pool = newPool(trustDomain, crossSigned, selfSigned);
    assert.ok(writablePool(pool, now).ok);
    const change = apply(pool, 'taint', 'ca-1');
    assert.deepEqual(
      change.document.authorities.map(({ tainted, state }) => [tainted, state]),
      [
        [true, 'active'],
        [true, 'trusted'],
      ],
    );
    assert.match(change.notes.join(), /nothing signs in its place/);
  });

  it('a root stays retired when a copy has another authority below it', () => {
    const live = newPool(
      trustDomain,
      { ...below(first, 'ca-1'), state: 'retired' },
      {
        ...older,
        state: 'active',
        privateKey: otherRoot.privateKey,
      },
    );
    const copy = newPool(trustDomain, below(second, 'ca-2', { state: 'active' }));
    const { pool, stillRetired } = restoredPool(copy, { live, now });
    assert.deepEqual(stillRetired, ['ca-2']);
    assert.equal(pool.authorities.find(({ id }) => id === 'ca-2')?.state, 'retired');
  });
});
