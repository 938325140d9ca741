import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRenderer } from '../../../workload/helper/content.ts';
import { cacheTokens } from '../../../workload/jwt-cache.ts';
import { jwtSvid, makeTrustDomain } from '../api/workload.ts';

const lifetimeMs = 3_600_000;

/** Renders a file with a JWT-SVID that lives an hour, at times that the test chooses. */
async function openFile() {
  const domain = await makeTrustDomain('example.org');
  const startMs = Math.floor(Date.now() / 1000) * 1000;
  let nowMs = startMs;
  let isDown = false;
  let requests = 0;
  const ask = async () => {
    requests += 1;
    if (isDown) throw new Error('the endpoint is down');
    const iat = Math.floor(nowMs / 1000);
    const claims = { sub: 'spiffe://example.org/web', aud: ['api'], iat, exp: iat + lifetimeMs / 1000 };
    return { token: jwtSvid(domain, claims) };
  };
  const tokens = cacheTokens(ask, 'the endpoint', { now: () => nowMs });
  const render = createRenderer({ kind: 'jwtSvid', audience: ['api'] });
  return {
    requests: () => requests,
    beDown: (value: boolean) => {
      isDown = value;
    },
    /** @returns the content, and when it is due again, in milliseconds after the first time. */
    async renderAt(ms: number) {
      nowMs = startMs + ms;
      const { bytes, renewAt } = await render({ material: () => assert.fail('it is not needed'), tokens });
      return { bytes, dueMs: (renewAt ?? Number.NaN) - startMs };
    },
  };
}

describe('a file with a JWT-SVID', () => {
  it('a file with a JWT-SVID is due after half of its lifetime, also if it is rendered in between', async () => {
    const { renderAt, requests } = await openFile();
    const first = await renderAt(0);
    assert.equal(first.dueMs, lifetimeMs / 2);
    assert.deepEqual(await renderAt(lifetimeMs / 2 - 1), first);
    assert.equal(requests(), 1);
    const next = await renderAt(lifetimeMs / 2);
    assert.notEqual(next.bytes, first.bytes);
    assert.equal(next.dueMs, lifetimeMs);
  });

  it('a file with a JWT-SVID that cannot be renewed keeps the known one, and is due again after seconds', async () => {
    const { renderAt, requests, beDown } = await openFile();
    const first = await renderAt(0);
    beDown(true);
    const kept = await renderAt(lifetimeMs / 2);
    assert.deepEqual(kept, { bytes: first.bytes, dueMs: lifetimeMs / 2 + 5_000 });
    beDown(false);
    const next = await renderAt(kept.dueMs);
    assert.notEqual(next.bytes, first.bytes);
    assert.equal(next.dueMs, kept.dueMs + lifetimeMs / 2);
    assert.equal(requests(), 3);
  });
});
