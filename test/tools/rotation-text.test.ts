import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import type { RotationConfig } from '../../signer/config/rotation.ts';
import { describeNext } from '../../tools/pool/rotation-text.ts';

const now = Date.UTC(2026, 10, 30) / 1000;
const day = 86_400;
const trustDomain = 'example.org';
const timing = { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 };
const rotation: RotationConfig = {
  isAutomatic: false,
  issuer: undefined,
  policy: {
    ...{ lifetimeSeconds: 365 * day, prepareAfterSeconds: 0, previewSeconds: 0, requiresVerification: false },
    ...{ activateAfterSeconds: 120 * day, jwtActivateAfterSeconds: 30 * day, retireAfterSeconds: 3_600 },
  },
};

describe('what comes next for an authority', () => {
  const next = async (made: number, config: RotationConfig | undefined, without: object = {}) => {
    const ca = { ...(await createAuthority({ id: 'ca-1', trustDomain, now: made })), ...without };
    const key = await createJwtAuthority({ key: 'es256', now: made });
    const document = newPool(trustDomain, ca as AuthorityRecord, key);
    const facts = { now, timing };
    const signer = config && { rotation: config, timing };
    return [ca.kind, key.kind].map((kind) => describeNext(document, kind, facts, signer));
  };

  it('the next step after a pool was made is a reserve, with the time at which it is to sign', async () => {
    assert.deepEqual(await next(now, rotation), [
      'prepare a new authority in reserve, to sign from 2027-03-30T00:00:00Z (120d)',
      'prepare a new authority in reserve, to sign from 2026-12-30T00:00:00Z (30d)',
    ]);
  });

  it('the next step is taken by the signer itself if the rotation is automatic', async () => {
    const [text] = await next(now, { ...rotation, isAutomatic: true });
    assert.match(text ?? '', /\(120d\), which the signer does by itself$/);
  });

  it('the next step is due at once if the active authority has signed for long enough', async () => {
    const due = ['prepare a new authority', 'prepare a new authority'];
    assert.deepEqual(await next(now - 121 * day, rotation), due);
  });

  it('the next step is no rotation if the settings of the signer are unknown, unless no authority signs', async () => {
    const none = 'no rotation is under way';
    assert.deepEqual(await next(now, undefined), [none, none]);
    assert.deepEqual(await next(now, undefined, { tainted: true }), ['prepare a new authority', none]);
  });
});
