import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { asNext, describeChange, dropEnded, nextSignsFrom, succeed } from '../../dev/succession.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const delays = { propagationSeconds: 6, lifetimeSeconds: 60 };
const start = 1_800_000_000;

/** A CA and a JWT key. The succession reads their states and dates only. */
function authorities(number: number, now: number): AuthorityRecord[] {
  const at = rfc3339(now);
  const common = {
    state: 'active',
    tainted: false,
    createdAt: at,
    publishedAt: at,
    activatedAt: at,
  } as const;
  return [
    { ...common, id: `ca-${number}`, kind: 'X509', certificate: `certificate ${number}` },
    { ...common, id: `jwt-${number}`, kind: 'JWT-ES256', publicKey: `key ${number}` },
  ];
}

const fresh = () => newPool('dev.localhost', ...authorities(1, start), ...authorities(2, start).map(asNext));
const statesOf = ({ authorities: all }: PoolDocument) =>
  all.map(({ id, state }) => `${id} ${state}`).join(', ');
const idsIn = ({ authorities: all }: PoolDocument) => all.map(({ id }) => id);

describe('the succession of a development pool', () => {
  it('succession of a development pool lets the next authorities sign, and publishes others', () => {
    const pool = fresh();
    const after = succeed(pool, authorities(3, start + 10), { tainted: false }, start + 10);
    assert.equal(
      statesOf(after),
      'ca-1 retiring, jwt-1 retiring, ca-2 active, jwt-2 active, ca-3 trusted, jwt-3 trusted',
    );
    assert.deepEqual(describeChange(pool, after), [
      'ca-1 signs no more',
      'jwt-1 signs no more',
      'ca-2 signs now',
      'jwt-2 signs now',
      'ca-3 is published and signs next',
      'jwt-3 is published and signs next',
    ]);
    assert.equal(nextSignsFrom(after, delays), start + 16);
  });

  it('succession lets the first next authorities sign at once, because every bundle had them', () => {
    assert.ok(nextSignsFrom(fresh(), delays) <= start);
  });

  const rows: [tainted: boolean, keptSeconds: number][] = [
    [false, delays.lifetimeSeconds],
    [true, delays.propagationSeconds],
  ];
  for (const [tainted, keptSeconds] of rows) {
    it(`succession keeps ${tainted ? 'tainted' : 'old'} authorities for ${keptSeconds} s`, () => {
      const pool = succeed(fresh(), authorities(3, start + 10), { tainted }, start + 10);
      const at = (now: number) => dropEnded(pool, delays, now);
      assert.equal(at(start + 10 + keptSeconds), pool);
      const after = at(start + 11 + keptSeconds);
      assert.deepEqual(idsIn(after), ['ca-2', 'jwt-2', 'ca-3', 'jwt-3']);
      assert.ok(after.sequence > pool.sequence);
      assert.deepEqual(describeChange(pool, after), [
        'ca-1 is no longer trusted',
        'jwt-1 is no longer trusted',
      ]);
    });
  }

  it('a development pool always has an active and a next authority of each kind, and trusts the earlier ones', () => {
    const step = fc.record({
      seconds: fc.integer({ min: 0, max: 40 }),
      act: fc.constantFrom('rotate', 'taint', 'wait'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let pool = fresh();
        let now = start;
        let made = 2;
        const signedUntil = new Map<string, number>();
        for (const { seconds, act } of steps) {
          now += seconds;
          const mayRotate = act === 'rotate' && nextSignsFrom(pool, delays) <= now;
          if (mayRotate || act === 'taint') {
            made += 1;
            for (const { id, state } of pool.authorities) {
              const keptSeconds = act === 'taint' ? delays.propagationSeconds : delays.lifetimeSeconds;
              if (state === 'active') signedUntil.set(id, now + keptSeconds);
            }
            pool = succeed(pool, authorities(made, now), { tainted: act === 'taint' }, now);
          }
          pool = dropEnded(pool, delays, now);
          for (const kind of ['X509', 'JWT-ES256']) {
            const states = pool.authorities.filter((each) => each.kind === kind).map(({ state }) => state);
            assert.equal(states.filter((state) => state === 'active').length, 1);
            assert.equal(states.filter((state) => state === 'trusted').length, 1);
          }
          const ids = new Set(idsIn(pool));
          for (const [id, until] of signedUntil) assert.equal(ids.has(id), until >= now, `${id} at ${now}`);
        }
      }),
    );
  });
});
