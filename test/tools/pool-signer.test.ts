import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { poolSignerIn } from '../../tools/cluster/pool-signer.ts';
import { refuseUnlessReplaced } from '../../tools/commands/ca-evict.ts';
import { timingOf } from '../../tools/pool-change.ts';
import { aWorld } from './world.ts';

const pool = { namespace: 'kubespiffe', name: 'kubespiffe-pool' };

async function signerWith(flags: readonly string[], place = pool) {
  const { config } = (await aWorld({}, flags)).settings;
  return poolSignerIn(config, place);
}

describe('how long a command waits before a new CA may sign', () => {
  it('is as long as the settings of the signer say', async () => {
    const signer = await signerWith(['--root-propagation-delay', '20m']);
    assert.equal(timingOf({ signer }).rootPropagationSeconds, 1_200);
  });

  it('is the longest of the signers that sign from the pool', async () => {
    const flags = [
      '--service-dns-root-propagation-delay',
      '30m',
      '--service-dns-pool',
      'kubespiffe/kubespiffe-pool',
    ];
    const signer = await signerWith(flags);
    assert.equal(timingOf({ signer }).rootPropagationSeconds, 1_800);
  });

  it('is what the option says, and the usual time where the settings are not known', async () => {
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

  it('is refused while the root of the next CA is too new to sign, by the settings of the signer', async () => {
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
