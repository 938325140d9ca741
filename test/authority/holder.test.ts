import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { createPoolHolder } from '../../signer/authority/holder.ts';
import { parsePool } from '../../signer/authority/pool.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import { markOf, type PoolMark } from '../../signer/authority/sequence.ts';
import type { Secret } from '../../signer/kube/types.ts';

const now = Date.UTC(2026, 10, 22, 12) / 1000;
const hour = 3600;
const trustDomain = 'example.org';

const authority = async (id: string, changes: { from?: number; lifetime?: number } = {}) =>
  createAuthority({
    id,
    trustDomain,
    now: changes.from ?? now,
    lifetimeSeconds: changes.lifetime ?? 48 * hour,
  });

const secretAt = (sequence: number, ...authorities: AuthorityRecord[]): Secret => ({
  metadata: { name: 'pool' },
  data: serializePool({ ...newPool(trustDomain, ...authorities), sequence }),
});

/** Each one is a change: its sequence is greater than that of all before. */
let changesMade = 0;
const secretOf = (...authorities: AuthorityRecord[]): Secret => {
  changesMade += 1;
  return secretAt(changesMade, ...authorities);
};

const broken: Secret = { metadata: { name: 'pool' }, data: { 'pool.json': 'e30=' } };
const a = await authority('a');
const b = await authority('b');

/** @param inBundle whose roots the watch shows in the bundle; undefined while that is not known. */
function holder(inBundle?: readonly AuthorityRecord[], mark?: PoolMark) {
  const changes = { count: 0 };
  const sight = { inBundle, mark };
  const subject = createPoolHolder({
    trustDomain,
    rootPropagationSeconds: 0,
    onChange: () => changes.count++,
    published: {
      mark: () => sight.mark,
      rootEnds: () => sight.inBundle && new Map(sight.inBundle.map((each) => [sha256Of(each), endOf(each)])),
    },
  });
  const ids = () => subject.current()?.authorities.map((each) => each.id);
  const verdict = (at = now) => {
    const outcome = subject.signable(at);
    return outcome.ok ? outcome.authority.id : outcome.problem.reason;
  };
  return { subject, changes, ids, verdict, sight };
}

const endOf = ({ certificate = '' }: AuthorityRecord) =>
  new X509Certificate(certificate).validToDate.getTime() / 1000;

const sha256Of = ({ certificate = '' }: AuthorityRecord) =>
  new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();

describe('the pool that a replica holds', () => {
  it('a replica signs nothing before the Secret was read', () => {
    const { verdict, ids } = holder();
    assert.equal(verdict(), 'PoolMissing');
    assert.equal(ids(), undefined);
  });

  it('a replica signs with the active authority and reports each change', () => {
    const { subject, verdict, changes } = holder();
    subject.offer(secretOf(a), now);
    assert.equal(verdict(), 'a');
    assert.equal(changes.count, 1);
    subject.offer(secretOf({ ...a, state: 'retiring' }, b), now);
    assert.equal(verdict(), 'b');
    assert.equal(changes.count, 2);
  });

  for (const [name, secret, reason] of [
    ['is deleted', undefined, 'PoolMissing'],
    ['is emptied', { metadata: { name: 'pool' }, data: {} }, 'PoolEmpty'],
    ['becomes unreadable', broken, 'PoolMalformed'],
  ] as const) {
    it(`a replica keeps the last good pool for the bundles, and signs nothing, when the Secret ${name}`, () => {
      const { subject, verdict, ids } = holder();
      subject.offer(secretOf(a), now);
      subject.offer(secret, now);
      assert.equal(verdict(), reason);
      assert.deepEqual(ids(), ['a']);
      subject.offer(secretOf(a), now);
      assert.equal(verdict(), 'a');
    });
  }

  it('a replica keeps the last good pool when it is replaced by one that has expired', async () => {
    const { subject, verdict, ids } = holder();
    const expired = await authority('old', { from: now - 100 * hour });
    subject.offer(secretOf(a), now);
    subject.offer(secretOf(expired), now);
    assert.equal(verdict(), 'PoolExpired');
    assert.deepEqual(ids(), ['a']);
  });

  it('a replica accepts a pool whose active authority is in its last hour if no root is lost by it', async () => {
    const { subject, verdict, ids } = holder();
    subject.offer(secretOf(a), now);
    const late = now + 47 * hour + 1;
    assert.equal(verdict(late), 'AuthorityExpiring');
    const next = await authority('next', { from: late });
    subject.offer(secretOf(a, { ...next, state: 'trusted' }), late);
    assert.deepEqual(ids(), ['a', 'next']);
    assert.equal(verdict(late), 'AuthorityExpiring');
    subject.offer(secretOf({ ...a, state: 'retiring' }, next), late);
    assert.equal(verdict(late), 'next');
  });

  it('a replica finds by itself that its authority has expired', () => {
    const { subject, verdict, ids } = holder();
    subject.offer(secretOf(a), now);
    assert.equal(verdict(now + 49 * hour), 'PoolExpired');
    assert.deepEqual(ids(), ['a']);
  });

  it('a replica finds by itself that a pool has become valid', async () => {
    const { subject, verdict, ids, changes } = holder();
    const future = await authority('future', { from: now + 3 * hour });
    subject.offer(secretOf(future), now);
    assert.equal(verdict(), 'PoolNotYetValid');
    assert.equal(ids(), undefined);
    const before = changes.count;
    assert.equal(verdict(now + 3 * hour), 'future');
    assert.deepEqual(ids(), ['future']);
    assert.equal(changes.count, before + 1);
  });

  describe('a replica that has just started', () => {
    const untimely: [name: string, at: number, reason: string][] = [
      ['in its last hour', now + 47 * hour + 1, 'AuthorityExpiring'],
      ['past its end', now + 49 * hour, 'PoolExpired'],
      ['before its beginning', now - 24 * hour, 'PoolNotYetValid'],
    ];
    for (const [name, at, reason] of untimely) {
      it(`a new replica publishes a pool ${name}, with all new roots in it, and signs no certificate with it`, () => {
        for (const inBundle of [[], [a], [a, b]]) {
          const { subject, verdict, ids } = holder(inBundle);
          subject.offer(secretOf(a, { ...b, state: 'trusted' }), at);
          assert.equal(verdict(at), reason);
          assert.deepEqual(ids(), ['a', 'b']);
          assert.equal(subject.publishable().ok, true);
        }
      });

      it(`a new replica accepts no pool ${name} that lacks a published root, as long as it is published`, () => {
        const { subject, verdict, ids, sight, changes } = holder([a, b]);
        subject.offer(secretOf(a), at);
        assert.equal(verdict(at), reason);
        assert.equal(ids(), undefined);
        assert.equal(subject.publishable().ok, false);
        sight.inBundle = [a];
        const before = changes.count;
        assert.equal(verdict(at), reason);
        assert.deepEqual(ids(), ['a']);
        assert.equal(changes.count, before + 1);
      });
    }

    it('a new replica waits until it knows what is published', () => {
      const at = now + 49 * hour;
      const { subject, verdict, ids, sight } = holder();
      subject.offer(secretOf(a), at);
      verdict(at);
      assert.equal(ids(), undefined);
      sight.inBundle = [];
      verdict(at);
      assert.deepEqual(ids(), ['a']);
    });

    it('a new replica compares a later pool with the pool that it uses, and not with the current bundle', () => {
      const at = now + 49 * hour;
      const { subject, ids, sight } = holder([a]);
      subject.offer(secretOf(a, { ...b, state: 'trusted' }), at);
      sight.inBundle = [];
      subject.offer(secretOf(a), at);
      assert.deepEqual(ids(), ['a', 'b']);
      assert.equal(subject.publishable().ok, false);
    });
  });

  it('a new replica signs nothing with a tainted authority, nor when none is active, and keeps their roots', () => {
    const { subject, verdict } = holder();
    subject.offer(secretOf({ ...a, tainted: true }, { ...b, state: 'trusted' }), now);
    assert.equal(verdict(), 'PoolNotSigning');
    assert.equal(subject.current()?.roots.length, 2);
    subject.offer(secretOf({ ...a, state: 'trusted' }, { ...b, state: 'retired' }), now);
    assert.equal(verdict(), 'PoolNotSigning');
    assert.equal(subject.current()?.roots.length, 1);
  });

  describe('a pool whose sequence does not follow', () => {
    const unraised: [name: string, secret: Secret][] = [
      ['an older copy of it', secretAt(4, a)],
      ['other content under its sequence', secretAt(5, a)],
    ];
    for (const [name, secret] of unraised) {
      it(`a replica keeps the last good pool for the bundles, and signs nothing, after ${name}`, () => {
        const { subject, verdict, ids } = holder();
        subject.offer(secretAt(5, a, { ...b, state: 'trusted' }), now);
        subject.offer(secret, now);
        assert.equal(verdict(), 'PoolSequenceNotRaised');
        assert.deepEqual(ids(), ['a', 'b']);
        const publishable = subject.publishable();
        assert.equal(publishable.ok ? 'published' : publishable.problem.reason, 'PoolSequenceNotRaised');
        subject.offer(secretAt(6, a, { ...b, state: 'retired' }), now);
        assert.equal(verdict(), 'a');
        assert.equal(subject.current()?.roots.length, 1);
      });

      it(`a new replica takes nothing from ${name} if others have published the pool`, () => {
        const published = parsePool(secretAt(5, a, { ...b, state: 'trusted' }), { trustDomain, now });
        assert.ok(published.ok);
        const { subject, verdict, ids } = holder(undefined, markOf(published.pool));
        subject.offer(secret, now);
        assert.equal(verdict(), 'PoolSequenceNotRaised');
        assert.equal(ids(), undefined);
      });
    }

    it('a replica accepts the same pool again, and one in which an authority has been tainted', () => {
      const { subject, verdict } = holder();
      subject.offer(secretAt(5, a, { ...b, state: 'trusted' }), now);
      subject.offer(undefined, now);
      subject.offer(secretAt(5, a, { ...b, state: 'trusted' }), now);
      assert.equal(verdict(), 'a');
      subject.offer(secretAt(5, { ...a, tainted: true }, { ...b, state: 'trusted' }), now);
      assert.equal(verdict(), 'PoolNotSigning');
    });

    it('a pool with a wrong sequence does not become valid later, and replaces nothing in the last hour either', async () => {
      const { subject, verdict, ids } = holder();
      subject.offer(secretAt(5, a), now);
      subject.offer(secretAt(4, await authority('future', { from: now + 3 * hour })), now);
      assert.equal(verdict(now + 3 * hour), 'PoolSequenceNotRaised');
      const late = now + 47 * hour + 1;
      subject.offer(secretAt(5, a, { ...b, state: 'trusted' }), late);
      assert.equal(verdict(late), 'PoolSequenceNotRaised');
      assert.deepEqual(ids(), ['a']);
    });
  });

  describe('a pool that lacks a published root', () => {
    it('a replica keeps the last good pool for the bundles, and signs nothing, until the pool names the root', () => {
      const { subject, verdict, ids } = holder();
      subject.offer(secretOf(a), now);
      subject.offer(secretOf(b), now);
      assert.equal(verdict(), 'PoolRootsMissing');
      assert.deepEqual(ids(), ['a']);
      assert.equal(subject.publishable().ok, false);
      const { privateKey: _, ...anchor } = a;
      subject.offer(secretOf({ ...anchor, state: 'retiring' }, b), now);
      assert.equal(verdict(), 'b');
      assert.equal(subject.current()?.roots.length, 2);
    });

    it('a published root is removed once the pool has it as retired, even if the bundle still shows it', () => {
      const { subject, verdict } = holder([a], { sequence: 1, content: 'other' });
      subject.offer(secretAt(2, { ...a, state: 'retired' }, b), now);
      assert.equal(verdict(), 'b');
      assert.equal(subject.current()?.roots.length, 1);
    });

    it('a published root is removed once it has ended', async () => {
      const { subject, verdict, ids } = holder();
      const later = now + 49 * hour;
      subject.offer(secretOf(a), now);
      subject.offer(secretOf(await authority('next', { from: later })), later);
      assert.equal(verdict(later), 'next');
      assert.deepEqual(ids(), ['next']);
    });

    it('a pool without a published root is refused by a new replica, because the bundle shows the root', () => {
      const { subject, verdict, ids, sight, changes } = holder([a], { sequence: 1, content: 'other' });
      subject.offer(secretAt(2, b), now);
      assert.equal(verdict(), 'PoolRootsMissing');
      assert.equal(ids(), undefined);
      const before = changes.count;
      sight.inBundle = [b];
      assert.equal(verdict(), 'b');
      assert.equal(changes.count, before + 1);
    });

    it('a new replica takes the pool of which the bundle was made, with a foreign root beside it', () => {
      const parsed = parsePool(secretAt(2, b), { trustDomain, now });
      assert.ok(parsed.ok);
      const { subject, verdict } = holder([a, b], markOf(parsed.pool));
      subject.offer(secretAt(2, b), now);
      assert.equal(verdict(), 'b');
    });

    it('a replica ignores a foreign root that comes into the bundle while it runs', () => {
      const { subject, verdict, sight } = holder();
      subject.offer(secretAt(2, b), now);
      sight.inBundle = [a];
      sight.mark = { sequence: 3, content: 'forged' };
      subject.offer(secretAt(4, b), now);
      assert.equal(verdict(), 'b');
    });
  });

  it('a replica takes a pool again once a forged mark of the bundle is corrected', () => {
    const { subject, verdict, sight } = holder(undefined, { sequence: 999, content: 'forged' });
    subject.offer(secretAt(5, a), now);
    assert.equal(verdict(), 'PoolSequenceNotRaised');
    sight.mark = undefined;
    assert.equal(verdict(), 'a');
  });
});
