import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../signer/authority/create.ts';
import { newPool } from '../signer/authority/document.ts';
import { compilePool } from '../signer/authority/pool.ts';
import { refreshGauges } from '../signer/gauges.ts';
import { createMetrics } from '../signer/observe/metrics.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 22, 12) / 1000;
const day = 86_400;

const authority = async (id: string, state: 'active' | 'trusted' | 'retiring', days: number) => ({
  ...(await createAuthority({ id, trustDomain, now, lifetimeSeconds: days * day })),
  state,
});

test('the end of an authority is told with its state, so that one which nobody needs any more can be left out', async () => {
  const metrics = createMetrics();
  const scrape = async (...authorities: Awaited<ReturnType<typeof authority>>[]) => {
    const compiled = compilePool(newPool(trustDomain, ...authorities), trustDomain);
    assert.ok(compiled.ok);
    refreshGauges(metrics, {
      controller: { pending: () => ({ count: 0, queued: 0, oldestMs: 0 }) },
      clock: { skewMs: () => 0 },
      health: { ready: () => ({ ok: true, checks: [] }) },
      guard: { problem: () => undefined },
      permissions: { missing: () => [] },
      pool: { current: () => compiled.pool, confirmedAtMonotonic: () => 0 },
      configMaps: undefined,
      monotonic: () => 0,
    });
    const rendered = await metrics.render();
    return [...rendered.matchAll(/^kubespiffe_authority_expiry_timestamp_seconds\{(.+)\} (\d+)$/gm)].map(
      ([, labels, end]) => [labels, Math.round((Number(end) - now) / day)],
    );
  };

  const first = await authority('first', 'active', 10);
  const second = await authority('second', 'trusted', 300);
  assert.deepEqual(await scrape(first, second), [
    ['authority="first",state="active"', 10],
    ['authority="second",state="trusted"', 300],
  ]);
  assert.deepEqual(await scrape({ ...first, state: 'retiring' }, { ...second, state: 'active' }), [
    ['authority="first",state="retiring"', 10],
    ['authority="second",state="active"', 300],
  ]);
});
