import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHealth } from '../../signer/observe/health.ts';

test('a replica without checks is not ready', () => {
  assert.equal(createHealth().ready().ok, false);
});

test('an expected check is not ok until it was set', () => {
  const health = createHealth(['pool', 'clock']);
  health.set('pool', true, 'authority a1 signs');
  assert.equal(health.ready().ok, false);
  assert.deepEqual(
    health.ready().checks.find((check) => check.name === 'clock'),
    { name: 'clock', ok: false, reason: 'not checked yet' },
  );
  health.set('clock', true, '12 ms ahead');
  assert.equal(health.ready().ok, true);
});

test('a check can fail again and reports why', () => {
  const health = createHealth(['pool']);
  health.set('pool', true, 'ok');
  health.set('pool', false, 'PoolExpired: the root ended yesterday');
  assert.deepEqual(health.ready(), {
    ok: false,
    checks: [{ name: 'pool', ok: false, reason: 'PoolExpired: the root ended yesterday' }],
  });
});

test('a listener of checks gets changes only, until it is removed', () => {
  const health = createHealth();
  const heard: string[] = [];
  const stop = health.onChange((check) => heard.push(`${check.name} ${check.ok} ${check.reason}`));
  health.set('pool', false, 'empty');
  health.set('pool', false, 'empty');
  health.set('pool', true, 'good');
  stop();
  health.set('pool', false, 'empty');
  assert.deepEqual(heard, ['pool false empty', 'pool true good']);
});
