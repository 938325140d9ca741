import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { markVerified, testCertificate } from '../../signer/authority/preview.ts';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { recordSigned } from '../../tools/pool/signed-until.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const first = await createAuthority({ id: 'ca-1', trustDomain, now });
const inPreview = async (): Promise<AuthorityRecord> => ({
  ...(await createAuthority({ id: 'ca-2', trustDomain, now })),
  state: 'preview',
});
const next = await inPreview();

describe('the verification of a CA in preview', () => {
  it('a verification is recorded for the CA whose certificate was verified, and not for a later one with its id', async () => {
    const test = await testCertificate(newPool(trustDomain, first, next), 'ca-2', now, randomBytes);
    assert.ok(test.ok, JSON.stringify(test));
    const same = markVerified(newPool(trustDomain, first, next), next, now);
    assert.ok(same.ok);
    assert.equal(same.document.authorities[1]?.verifiedAt, rfc3339(now));
    const other = markVerified(newPool(trustDomain, first, await inPreview()), next, now);
    assert.ok(!other.ok);
    assert.match(other.what, /ca-2 is not the one whose certificate was verified/);
  });

  it('a verification is refused for a CA that is tainted, which no longer signs', async () => {
    const pool = newPool(trustDomain, first, { ...next, tainted: true });
    for (const outcome of [
      await testCertificate(pool, 'ca-2', now, randomBytes),
      markVerified(pool, next, now),
    ]) {
      assert.ok(!outcome.ok);
      assert.match(outcome.what, /ca-2 is tainted/);
    }
  });

  it('a CA in preview signs no test certificate if that cannot be recorded', async () => {
    const refuse = async () => {
      const call = { method: 'GET', path: '/api/v1/namespaces/kubespiffe/configmaps/pool-signed-until' };
      throw new ApiStatusError(call, { status: 403, body: {}, retryAfterMs: undefined });
    };
    const place = { namespace: 'kubespiffe', name: 'pool' };
    const ends = { trustDomain, now, until: now + 900 };
    await assert.rejects(
      recordSigned({ request: refuse } as unknown as Transport, place, next, ends),
      /pool-signed-until cannot be written, so nothing is signed/,
    );
  });
});
