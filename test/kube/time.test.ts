import assert from 'node:assert/strict';
import { test } from 'node:test';
import { realTime } from '../../signer/kube/time.ts';

const longestMs = 2 ** 31 - 1;

test('a timer that is longer than Node.js can wait at once runs after its whole time', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let runs = 0;
  realTime.timer(
    () => {
      runs += 1;
    },
    2 * longestMs + 1000,
  );
  t.mock.timers.tick(longestMs);
  t.mock.timers.tick(longestMs);
  t.mock.timers.tick(999);
  assert.equal(runs, 0);
  t.mock.timers.tick(1);
  assert.equal(runs, 1);
});

test('a timer that is longer than Node.js can wait at once can be cancelled in each of its parts', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const cancel = realTime.timer(() => assert.fail('it was cancelled'), 2 * longestMs);
  t.mock.timers.tick(longestMs);
  cancel();
  t.mock.timers.tick(longestMs);
});

for (const ms of [2 ** 31, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY, Number.NaN]) {
  test(`a timer of ${ms} ms does not run at once`, async (t) => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    t.after(() => process.off('warning', listen));
    let hasRun = false;
    const cancel = realTime.timer(() => {
      hasRun = true;
    }, ms);
    t.after(cancel);
    await new Promise<void>((resolve) => realTime.timer(resolve, 20));
    assert.equal(hasRun, false);
    assert.deepEqual(warnings, []);
  });
}
