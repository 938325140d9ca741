import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import {
  longestCertificateSeconds,
  mayHaveSignedUntil,
  raisedUntil,
  readSignedUntil,
  signedUntilKey,
  signedUntilKeyOf,
  signedUntilStepSeconds,
  writeSignedUntil,
} from '../../signer/authority/signed-until.ts';
import { neededUntil } from '../../signer/authority/transitions.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const trustDomain = 'example.org';
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const ca = await createAuthority({ id: 'ca-1', trustDomain, now: now - 10 * day });
const jwt = await createJwtAuthority({ key: 'es256', now: now - 10 * day });
const retiring = (record: AuthorityRecord, deactivatedAt: number): AuthorityRecord => ({
  ...record,
  state: 'retiring',
  deactivatedAt: rfc3339(deactivatedAt),
});

describe('the record of what authorities have signed', () => {
  it('the record reads the times that it writes, and never earlier ones', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 4e9, noNaN: true }), (until) => {
        const read = readSignedUntil({ key: writeSignedUntil(until) }).get('key');
        assert.ok(read !== undefined && read >= until && read - until <= 1);
      }),
    );
  });

  it('the record has no entry if a value is not a time', () => {
    const data = { a: 'soon', b: '', c: 7, d: '2026-13-01T00:00:00Z', e: null, f: '2026-11-29T12:00:00Z' };
    assert.deepEqual([...readSignedUntil(data)], [['f', now]]);
    assert.equal(readSignedUntil(undefined).size, 0);
  });

  it('the record has one key for an authority, compiled or as written, and another key for another authority of the same id', async () => {
    const compiled = compilePool(newPool(trustDomain, ca, jwt), trustDomain);
    assert.ok(compiled.ok);
    const [one] = compiled.pool.authorities;
    const [key] = compiled.pool.jwt;
    assert.ok(one && key);
    assert.equal(signedUntilKey(one), signedUntilKeyOf(ca, trustDomain));
    assert.equal(signedUntilKey(key), signedUntilKeyOf(jwt, trustDomain));
    const namesake = await createAuthority({ id: 'ca-1', trustDomain, now });
    assert.notEqual(signedUntilKeyOf(namesake, trustDomain), signedUntilKeyOf(ca, trustDomain));
    for (const each of [one, key]) assert.match(signedUntilKey(each), /^[-._a-zA-Z0-9]{1,253}$/);
  });

  it('the record is raised a step ahead, never lowered, and covers everything before its first entry', () => {
    const until = now + day;
    const step = signedUntilStepSeconds;
    assert.equal(raisedUntil(now, { kind: 'X509', until, now }), until + step);
    assert.equal(raisedUntil(until + day, { kind: 'X509', until, now }), until + day);
    assert.equal(raisedUntil(undefined, { kind: 'X509', until, now }), now + longestCertificateSeconds);
    assert.equal(raisedUntil(undefined, { kind: 'JWT-ES256', until: now + 300, now }), now + 3600);
  });
});

describe('the time until which an authority is needed', () => {
  const lifetimes = (until: number | undefined) => {
    const data: Record<string, string> = {};
    for (const each of [ca, jwt]) {
      const key = signedUntilKeyOf(each, trustDomain);
      if (key !== undefined && until !== undefined) data[key] = rfc3339(until);
    }
    const proof = mayHaveSignedUntil(readSignedUntil(data), trustDomain);
    return { certificateSeconds: 7 * day, mayHaveSignedUntil: proof };
  };
  const needed = (record: AuthorityRecord, until: number | undefined) =>
    neededUntil(record, newPool(trustDomain, record), now, lifetimes(until));

  it('an authority is needed until the time in the record, and 30 s for replicas that have not seen yet that it stopped', () => {
    assert.equal(needed(retiring(ca, now - day), now + 60), now + 90);
  });
  it('an authority is needed for at least 30 s after it stopped, when the record can grow no more', () => {
    assert.equal(needed(retiring(ca, now - 10), now - day), now + 20);
  });
  it('a JWT key is needed also for the clock tolerance of verifiers', () => {
    assert.equal(needed(retiring(jwt, now - day), now + 60), now + 60 + 300 + 30);
  });
  it('an authority without an entry in the record is needed for the maximum lifetime', () => {
    assert.equal(needed(retiring(ca, now - day), undefined), now + 6 * day + 30);
  });
  it('a carried root is needed for the maximum lifetime, because CAs below it may have signed', () => {
    const { privateKey: _, ...anchor } = retiring(ca, now - day);
    assert.equal(needed(anchor, now - 10 * day), now + 6 * day + 30);
  });
  it('an authority in reserve that signed nothing by the record is not needed', () => {
    const { activatedAt: _, ...reserve } = ca;
    assert.equal(needed({ ...reserve, state: 'trusted' }, now - 10 * day), now - 10 * day + 30);
    assert.ok(needed({ ...reserve, state: 'trusted' }, undefined) > now + day);
  });
  it('an active authority is needed, with any entry in the record', () => {
    assert.equal(needed(jwt, now - day), Number.POSITIVE_INFINITY);
  });
});
