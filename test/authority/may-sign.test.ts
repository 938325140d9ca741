import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { signingAuthorityAt, usualRootPropagationSeconds } from '../../signer/authority/may-sign.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const delay = usualRootPropagationSeconds;
const day = 86_400;
const first = await createAuthority({ id: 'first', trustDomain, now: now - 10 * day });
const next = await createAuthority({ id: 'next', trustDomain, now });
const retiring = { ...first, state: 'retiring' } as const;
const without = (record: AuthorityRecord, ...fields: (keyof AuthorityRecord)[]): AuthorityRecord =>
  Object.fromEntries(
    Object.entries(record).filter(([name]) => !(fields as string[]).includes(name)),
  ) as unknown as AuthorityRecord;

function outcome(records: readonly AuthorityRecord[], at: number) {
  const compiled = compilePool(newPool(trustDomain, ...records), trustDomain);
  assert.ok(compiled.ok, compiled.ok ? '' : compiled.problem.message);
  return signingAuthorityAt(compiled.pool, at, delay);
}

describe('when a CA may sign', () => {
  const rows: [title: string, records: AuthorityRecord[], at: number, expected: string][] = [
    ['the first CA of a pool signs at once', [next], now, 'next'],
    [
      'two CAs that were published together sign at once',
      [{ ...first, publishedAt: next.publishedAt, state: 'trusted' } as AuthorityRecord, next],
      now,
      'next',
    ],
    [
      'a CA beside an older one does not sign before the delay has passed',
      [retiring, next],
      now + delay - 1,
      'RootTooNew',
    ],
    ['a CA beside an older one signs when the delay has passed', [retiring, next], now + delay, 'next'],
    [
      'a CA beside an older one that is retired waits as well',
      [{ ...first, state: 'retired' }, next],
      now,
      'RootTooNew',
    ],
    [
      'a CA beside one that was never published signs at once',
      [{ ...first, state: 'prepared' }, next],
      now,
      'next',
    ],
    [
      'a CA beside one that is only in preview signs at once',
      [{ ...first, state: 'preview' }, next],
      now,
      'next',
    ],
    [
      'a CA beside a root of unknown age waits',
      [without(retiring, 'createdAt', 'publishedAt', 'activatedAt', 'privateKey'), next],
      now,
      'RootTooNew',
    ],
    [
      'a CA without publishedAt signs a delay after it became active',
      [retiring, without(next, 'publishedAt')],
      now + delay,
      'next',
    ],
    [
      'a CA without publishedAt waits for that time',
      [retiring, without(next, 'publishedAt')],
      now,
      'RootTooNew',
    ],
    [
      'a CA without any time signs, as in pools of old',
      [retiring, without(next, 'publishedAt', 'activatedAt', 'createdAt')],
      now,
      'next',
    ],
    [
      'a previous CA that is made active again signs at once',
      [first, { ...next, state: 'trusted' }],
      now,
      'first',
    ],
    [
      'a tainted CA does not sign after the delay either',
      [retiring, { ...next, tainted: true }],
      now + day,
      'PoolNotSigning',
    ],
  ];
  for (const [title, records, at, expected] of rows) {
    it(title, () => {
      const signing = outcome(records, at);
      assert.equal(signing.ok ? signing.authority.id : signing.problem.reason, expected);
    });
  }

  const messages: [title: string, records: AuthorityRecord[], remedy: string][] = [
    [
      'the time, and the previous CA that could sign meanwhile',
      [retiring, next],
      'wait until then, or make authority first active again in the meantime',
    ],
    ['no tainted CA', [{ ...retiring, tainted: true }, next], 'wait until then'],
    ['no CA without a key', [without(retiring, 'privateKey'), next], 'wait until then'],
    ['no CA that is in no bundle', [{ ...first, state: 'retired' }, next], 'wait until then'],
  ];
  for (const [title, records, remedy] of messages) {
    it(`the problem of a CA that must wait names ${title}`, () => {
      const signing = outcome(records, now + 1);
      assert.ok(!signing.ok);
      assert.deepEqual(signing.problem, {
        reason: 'RootTooNew',
        field: 'pool.authorities[1].publishedAt',
        what: `is so recent that verifiers may not have the root of authority next before ${rfc3339(now + delay)}`,
        remedy,
        message: signing.problem.message,
      });
    });
  }
});
