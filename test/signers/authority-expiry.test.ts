import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { newPool } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { setAuthorityExpiry } from '../../signer/signers/create-signer.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 22, 12) / 1000;
const day = 86_400;

const authority = async (id: string, state: 'active' | 'trusted' | 'retiring', days: number) => ({
  ...(await createAuthority({ id, trustDomain, now, lifetimeSeconds: days * day })),
  state,
});

test('the metric of when an authority ends carries its state, so that an alert can leave out retiring ones', async () => {
  const metrics = createMetrics();
  const scrape = async (...authorities: Awaited<ReturnType<typeof authority>>[]) => {
    const compiled = compilePool(newPool(trustDomain, ...authorities), trustDomain);
    assert.ok(compiled.ok);
    metrics.authorityExpiry.reset();
    setAuthorityExpiry(metrics, 'kubespiffe.io/spiffe', compiled.pool);
    const rendered = await metrics.render();
    return [
      ...rendered.matchAll(
        /^kubespiffe_authority_expiry_timestamp_seconds\{(.+),signer="kubespiffe\.io\/spiffe"\} (\d+)$/gm,
      ),
    ].map(([, labels, end]) => [labels, Math.round((Number(end) - now) / day)]);
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
