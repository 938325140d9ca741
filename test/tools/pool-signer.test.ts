import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { applyVerb } from '../../signer/authority/verbs.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { onlyVerified, poolSignerIn } from '../../tools/cluster/pool-signer.ts';
import { mismatchIn } from '../../tools/cluster/pool-trust-domain.ts';
import { refuseUnlessReplaced } from '../../tools/commands/ca-evict.ts';
import { timingOf } from '../../tools/pool/pool-change.ts';
import { aWorld } from './world.ts';

const pool = { namespace: 'kubespiffe', name: 'kubespiffe-pool' };

async function signerWith(flags: readonly string[], place = pool) {
  const { config } = (await aWorld({}, flags)).settings;
  return poolSignerIn(config, place);
}

describe('a new pool of another trust domain than that of its signers', () => {
  const mismatch = async (trustDomain: string | undefined, place = pool) =>
    mismatchIn((await aWorld({})).settings.config, place, trustDomain);

  it('a new pool of another trust domain than its signers is refused, and their trust domain is named', async () => {
    const found = await mismatch('exmaple.org');
    assert.equal(found?.signerName, 'kubespiffe.io/spiffe');
    assert.deepEqual(
      [found.made, found.wanted],
      ['exmaple.org', 'example.org'].map((name) => `the trust domain ${name}`),
    );
    assert.match(found.remedy, /--trust-domain example\.org/);
    assert.match((await mismatch(undefined))?.made ?? '', /no trust domain/);
  });

  it('a new pool is accepted if the signers have its trust domain, or another pool', async () => {
    assert.equal(await mismatch('example.org'), undefined);
    assert.equal(await mismatch('exmaple.org', { ...pool, name: 'another' }), undefined);
  });
});

describe('how long a command waits before a new CA may sign', () => {
  it('a command waits before a new CA signs as long as the settings of the signer say', async () => {
    const signer = await signerWith(['--root-propagation-delay', '20m']);
    assert.equal(timingOf({ signer }).rootPropagationSeconds, 1_200);
  });

  it('a command waits for the longest delay of the signers that sign from the pool', async () => {
    const flags = [
      '--service-dns-root-propagation-delay',
      '30m',
      '--service-dns-pool',
      'kubespiffe/kubespiffe-pool',
    ];
    const signer = await signerWith(flags);
    assert.equal(timingOf({ signer }).rootPropagationSeconds, 1_800);
  });

  it('a command waits as its option says, and for the usual time if the settings are not known', async () => {
    const signer = await signerWith(['--root-propagation-delay', '20m']);
    assert.equal(timingOf({ signer, propagationDelay: '3s' }).rootPropagationSeconds, 3);
    assert.equal(await signerWith([], { ...pool, name: 'another' }), undefined);
    const { rootPropagationSeconds, jwtPropagationSeconds } = timingOf({ signer: undefined });
    assert.deepEqual([rootPropagationSeconds, jwtPropagationSeconds], [390, 900]);
  });
});

describe('evicting the pods of a tainted CA', () => {
  const now = Date.UTC(2026, 10, 30, 3) / 1000;
  const trustDomain = 'example.org';

  async function poolAfter(seconds: number) {
    const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 86_400 });
    const next = await createAuthority({ id: 'ca-2', trustDomain, now: now - seconds });
    const stolen: AuthorityRecord = {
      ...first,
      state: 'retiring',
      tainted: true,
      deactivatedAt: rfc3339(now),
    };
    return newPool(trustDomain, stolen, next);
  }

  it('evicting is refused while the root of the next CA is too new to sign, by the settings of the signer', async () => {
    const timing = timingOf({ signer: await signerWith(['--root-propagation-delay', '20m']) });
    const tooNew = await poolAfter(600);
    assert.throws(
      () => refuseUnlessReplaced(tooNew, 'ca-1', { now, timing }),
      /nothing signs now, so new pods would wait: .*is so recent that verifiers may not have the root of authority ca-2/,
    );
    const old = await poolAfter(1_300);
    refuseUnlessReplaced(old, 'ca-1', { now, timing });
    refuseUnlessReplaced(tooNew, 'ca-1', { now, timing: timingOf({}) });
  });
});

describe('a root that no pod has verified in the preview bundle', () => {
  const now = Date.UTC(2026, 10, 30, 3) / 1000;
  const trustDomain = 'example.org';
  const asking = ['--ca-preview-verified', 'true'];

  async function trusted(
    state: 'prepared' | 'preview',
    more: object,
    flags: readonly string[],
    force?: true,
  ) {
    const signing = await createAuthority({ id: 'ca-1', trustDomain, now: now - 86_400 });
    const {
      publishedAt: _,
      activatedAt: __,
      ...next
    } = await createAuthority({ id: 'ca-2', trustDomain, now });
    const document = newPool(trustDomain, signing, { ...next, state, ...more });
    const signer = await signerWith(flags);
    const change = applyVerb(document, 'trust', 'ca-2', {
      now,
      timing: timingOf({ signer }),
      published: undefined,
    });
    return onlyVerified(change, document, 'ca-2', { signer, ...(force && { force }) });
  }

  it('an unverified root is published only by force if the signer has caPreviewVerified', async () => {
    for (const state of ['prepared', 'preview'] as const) {
      const refused = await trusted(state, {}, asking);
      assert.ok(!refused.ok);
      assert.match(refused.what, /no pod has verified authority ca-2 by the preview bundle/);
      assert.equal(/ca preview ca-2/.test(refused.remedy), state === 'prepared');
      const forced = await trusted(state, {}, asking, true);
      assert.equal(forced.ok && forced.consequence, refused.what);
    }
  });

  it('a root is published if the signer does not require a check, or a pod has verified it', async () => {
    for (const [more, flags] of [
      [{}, []],
      [{ verifiedAt: rfc3339(now) }, asking],
    ] as const) {
      const change = await trusted('preview', more, flags);
      assert.equal(change.ok && change.consequence, undefined);
      assert.ok(change.ok);
    }
  });
});
