import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { authorityHistory } from '../../signer/authority/history.ts';
import { rootOf } from '../../signer/authority/material.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const now = Date.UTC(2026, 10, 30, 3) / 1000;
const hour = 3_600;
const timing = {
  ...{ certificateSeconds: 24 * hour, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 },
  mayHaveSignedUntil: () => now + 2 * hour,
};

it('the life of an authority has what happened, until when something depends on it, and what is certain to come', async () => {
  const trustDomain = 'example.org';
  const made = await createAuthority({
    id: 'ca-1',
    trustDomain,
    now: now - hour,
    lifetimeSeconds: 48 * hour,
  });
  const old = { ...made, state: 'retiring' as const, deactivatedAt: rfc3339(now - 60) };
  const next = await createAuthority({ id: 'ca-2', trustDomain, now });
  const { activatedAt: _, ...reserve } = { ...next, state: 'trusted' as const };
  const key = await createJwtAuthority({ key: 'es256', now });
  const document = newPool(trustDomain, old, reserve, key);
  const lives = document.authorities.map((each) =>
    authorityHistory(each, document, { now, timing }).timeline.map(({ what, at }) => `${at - now} ${what}`),
  );
  assert.deepEqual(lives, [
    [
      ...['-3600 made', '-3600 published', '-3600 signs', '-60 no longer signs'],
      ...[
        '7200 its last certificate ends, at the latest',
        '7230 may be retired',
        '169200 its certificate ends',
      ],
    ],
    ['0 made', '0 published', '390 may be activated', '31536000 its certificate ends'],
    ['0 made', '0 published', '0 signs', '7200 its last token ends, at the latest'],
  ]);
});

it('a new bundle has no date for an authority that signs, and delays one that is to sign', async () => {
  const trustDomain = 'example.org';
  const first = await createAuthority({ id: 'ca-1', trustDomain, now: now - 2 * hour });
  const next = await createAuthority({ id: 'ca-2', trustDomain, now: now - hour });
  const document = newPool(trustDomain, first, { ...next, state: 'trusted' });
  const shownSince = new Map([first, next].map((each) => [rootOf(each) ?? '', now]));
  const from = document.authorities.map(
    (each) => authorityHistory(each, document, { now, timing: { ...timing, shownSince } }).readyFrom,
  );
  assert.deepEqual(from, [now - 2 * hour, now + 390]);
});

it('an authority that signs has no end of what it signed while nothing of that is valid', async () => {
  const trustDomain = 'example.org';
  const signing = await createJwtAuthority({ key: 'es256', now: now - hour });
  const old = { ...signing, id: 'jwt-es256-2', state: 'retiring' as const, deactivatedAt: rfc3339(now - 60) };
  const document = newPool(trustDomain, signing, old);
  const ended = { ...timing, mayHaveSignedUntil: () => now - 28 };
  const lives = document.authorities.map((each) =>
    authorityHistory(each, document, { now, timing: ended })
      .timeline.map(({ what }) => what)
      .filter((what) => what.startsWith('its last')),
  );
  assert.deepEqual(lives, [[], ['its last token ends, at the latest']]);
});
