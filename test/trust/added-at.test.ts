import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { addedAtAnnotation, addedAtIn, keysIn, shownSince } from '../../signer/trust/added-at.ts';
import type { ObservedBundle } from '../../signer/trust/bundle.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const now = Date.UTC(2026, 10, 30, 3) / 1000;
const [a, b, c] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];
const bundle = (roots: readonly string[], annotations: Record<string, string> = {}): ObservedBundle => ({
  ...{ name: 'roots', resourceVersion: '1', labels: {}, ends: new Map() },
  ...{ annotations, roots: new Set(roots) },
});

describe('the times at which roots were added to a bundle', () => {
  it('roots of a new bundle are dated by its first write, because a deleted bundle may have had other roots', () => {
    const written = addedAtAnnotation(new Set([a, b]), [], undefined, now);
    assert.deepEqual(
      addedAtIn(bundle([a, b], written), now),
      new Map([
        [a, now],
        [b, now],
      ]),
    );
  });

  it('roots that the bundle had without a time get no time', () => {
    assert.deepEqual(addedAtAnnotation(new Set([a]), [], bundle([a]), now), {});
  });

  it('the time of a root stays while the root stays, and goes with it', () => {
    const first = addedAtAnnotation(new Set([a, b]), [], bundle([a]), now);
    assert.deepEqual(first, { 'kubespiffe.io/added-at': `${b}=2026-11-30T03:00:00Z` });
    const second = addedAtAnnotation(new Set([a, b, c]), [], bundle([a, b], first), now + 60);
    assert.deepEqual(
      addedAtIn(bundle([a, b, c], second), now + 60),
      new Map([
        [b, now],
        [c, now + 60],
      ]),
    );
    const third = addedAtAnnotation(new Set([a, c]), [], bundle([a, b, c], second), now + 120);
    assert.deepEqual([...addedAtIn(bundle([a, c], third), now + 120)], [[c, now + 60]]);
  });

  it('JWT keys are dated too, from the first write of a replica that has the key', () => {
    const [key, next] = ['k', '-'].map((digit) => digit.repeat(43)) as [string, string];
    // An older version says nothing of keys: nobody knows since when they are served.
    assert.deepEqual([...keysIn(bundle([a]), now)], []);
    const first = addedAtAnnotation(new Set([a]), [key], bundle([a]), now);
    assert.deepEqual([...keysIn(bundle([a], first), now)], [key]);
    const second = addedAtAnnotation(new Set([a]), [key, next], bundle([a], first), now + 60);
    assert.deepEqual(
      [...addedAtIn(bundle([a], second), now + 60)],
      [
        [key, now],
        [next, now + 60],
      ],
    );
    const third = addedAtAnnotation(new Set([a]), [next], bundle([a], second), now + 90);
    assert.deepEqual([...addedAtIn(bundle([a], third), now + 90)], [[next, now + 60]]);
  });

  it('the time of a root is the latest of several bundles', () => {
    const at = (time: number) => bundle([a, b], { 'kubespiffe.io/added-at': `${b}=${rfc3339(time)}` });
    assert.deepEqual(
      [...shownSince([at(now), undefined, at(now + 5), at(now + 3)], now + 9)],
      [[b, now + 5]],
    );
  });

  it('a time does not count if it is far in the future or cannot be read', () => {
    const written = {
      'kubespiffe.io/added-at': `${a}=${rfc3339(now + 61)} ${b}=soon nothing ${c}=${rfc3339(now + 1)}`,
    };
    assert.deepEqual([...addedAtIn(bundle([a, b, c], written), now)], [[c, now + 1]]);
    assert.deepEqual([...addedAtIn(undefined, now)], []);
  });

  it('the dates of roots are never earlier than the write that added the root, after any later writes', () => {
    const write = fc.record({
      roots: fc.subarray([a, b, c], { minLength: 1 }),
      waited: fc.nat({ max: 600 }),
    });
    fc.assert(
      fc.property(fc.array(write, { minLength: 1, maxLength: 20 }), (writes) => {
        let at = now;
        let shown: ObservedBundle | undefined;
        const since = new Map<string, number>();
        for (const { roots, waited } of writes) {
          at += waited;
          for (const root of [a, b, c]) {
            if (!roots.includes(root)) since.delete(root);
            else if (!shown?.roots.has(root)) since.set(root, at);
          }
          shown = bundle(roots, addedAtAnnotation(new Set(roots), [], shown, at));
          assert.deepEqual(
            addedAtIn(shown, at),
            new Map(
              roots.flatMap((root) => {
                const time = since.get(root);
                return time === undefined ? [] : [[root, time] as const];
              }),
            ),
          );
        }
      }),
    );
  });
});
