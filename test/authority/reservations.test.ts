import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createReservations } from '../../signer/authority/reservations.ts';
import {
  longestCertificateSeconds,
  readSignedUntil,
  signedUntilStepSeconds,
  writeSignedUntil,
} from '../../signer/authority/signed-until.ts';
import { createFakeTime, timeWith } from '../kube/fake-time.ts';
import { createRecordApi, type Fate } from './record-api.ts';

const startsAt = Date.UTC(2026, 10, 29, 12) / 1000;
const day = 86_400;
const pool = { namespace: 'kubespiffe', name: 'pool' };
const authority = { kind: 'JWT-ES256', kid: 'key' } as const;
const ca = { kind: 'X509', signing: { sha256Hex: 'ca' } } as never;

function world() {
  const time = createFakeTime(startsAt * 1000);
  const { api, wipe } = createRecordApi();
  const replica = () => createReservations({ transport: api.transport, pool, time });
  return { api, wipe, time, replica };
}

describe('a replica that signs', () => {
  it('a replica makes no call for a certificate: 100,000 in a day need a raise of the record every half step', async () => {
    const { api, time, replica } = world();
    api.data = { key: writeSignedUntil(startsAt) };
    const { reserve } = replica();
    let waits = 0;
    for (let i = 0; i < 100_000; i += 1) {
      const pending = reserve(authority, startsAt + i * (day / 100_000) + 300);
      if (pending) waits += 1;
      await pending;
      if (i % 100 === 0) await time.advance((day / 1_000) * 1000);
    }
    const raises = day / (signedUntilStepSeconds / 2);
    assert.equal(waits, 1, 'only the first one waits');
    assert.ok(api.calls.length <= raises + 2, `${api.calls.length} calls, ${raises} half steps`);
  });

  it('a replica raises the record once for many waiting certificates', async () => {
    const { api, replica } = world();
    const { reserve } = replica();
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => reserve(ca, startsAt + 3600 + i)));
    assert.ok(api.calls.length <= 5, api.calls.join());
  });

  it('a raise covers what may have been signed before the record began', async () => {
    const { api, replica } = world();
    await replica().reserve(ca, startsAt + day);
    const until = readSignedUntil(api.data).get('ca');
    assert.equal(until, startsAt + longestCertificateSeconds);
  });

  it('a replica signs nothing while the record cannot be raised, and signs again when it can', async () => {
    const { api, replica } = world();
    const { reserve } = replica();
    api.fate = () => 'refused';
    await assert.rejects(async () => reserve(ca, startsAt + day), { code: 'API_STATUS' });
    api.fate = () => 'through';
    await reserve(ca, startsAt + day);
    assert.equal(reserve(ca, startsAt + day), undefined);
  });

  it('a replica needs no answer to a raise in the background, and tries again 2 s after a failure', async () => {
    const { api, time, replica } = world();
    api.data = { key: writeSignedUntil(startsAt) };
    const { reserve } = replica();
    await reserve(authority, startsAt + 300);
    const calls = api.calls.length;
    api.fate = () => 'refused';
    const late = startsAt + 300 + signedUntilStepSeconds * 0.6;
    for (let i = 0; i < 10; i += 1) {
      assert.equal(reserve(authority, late), undefined);
      await time.advance(100);
    }
    assert.equal(api.calls.length, calls + 1);
    await time.advance(2_000);
    api.fate = () => 'through';
    assert.equal(reserve(authority, late), undefined);
    await time.advance(0);
    assert.ok((readSignedUntil(api.data).get('key') ?? 0) >= late + signedUntilStepSeconds);
  });

  it('a replica restores what it knows if the record was reset to an older state', async () => {
    const { api, replica } = world();
    api.data = { key: writeSignedUntil(startsAt) };
    const { reserve } = replica();
    await reserve(authority, startsAt + day);
    api.data = { key: writeSignedUntil(startsAt) };
    await reserve(authority, startsAt + day + signedUntilStepSeconds * 2);
    assert.ok((readSignedUntil(api.data).get('key') ?? 0) >= startsAt + day + signedUntilStepSeconds * 2);
  });
});

describe('the record, with several replicas that crash at any point', () => {
  const sign = fc.record({
    kind: fc.constant('sign' as const),
    replica: fc.nat({ max: 2 }),
    lifetime: fc.integer({ min: 60, max: longestCertificateSeconds }),
  });
  const crash = fc.record({ kind: fc.constant('crash' as const), replica: fc.nat({ max: 2 }) });
  const pass = fc.record({ kind: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: day }) });
  const wiped = fc.constant({ kind: 'wipe' } as const);
  const steps = fc.array(
    fc.oneof({ arbitrary: sign, weight: 6 }, crash, pass, { arbitrary: wiped, weight: 1 }),
    { minLength: 1, maxLength: 40 },
  );
  const fates = fc.infiniteStream(fc.constantFrom<Fate>('through', 'through', 'through', 'lost', 'refused'));

  it('the record is never below what was signed, with any results of its calls', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), steps, fates, fc.boolean(), async (scheduler, script, fate, isNew) => {
        let nowMs = startsAt * 1000;
        const time = timeWith({ now: () => nowMs, monotonic: () => nowMs });
        const { api, wipe } = createRecordApi((call) => scheduler.schedule(Promise.resolve()).then(call));
        const next = fate[Symbol.iterator]();
        api.fate = () => next.next().value ?? 'through';
        if (isNew) api.data = { ca: writeSignedUntil(startsAt) };
        /** What others can see: signatures, those of a version without a record among them. */
        const signed = isNew ? [] : [startsAt + longestCertificateSeconds];
        const start = () => ({
          isAlive: true,
          ...createReservations({ transport: api.transport, pool, time }),
        });
        const replicas = [start(), start(), start()];
        const holds = () => {
          const said = readSignedUntil(api.data).get('ca');
          const most = Math.max(0, ...signed);
          assert.ok(said === undefined || said >= most, `${said} is before ${most}`);
        };
        const sign = async (replica: (typeof replicas)[number], until: number) => {
          try {
            await replica.reserve(ca, until);
          } catch {
            return;
          }
          // The replica may have died while it waited, and then shows nothing.
          if (replica.isAlive) signed.push(until);
          holds();
        };
        const running: Promise<void>[] = [];
        for (const step of script) {
          const now = Math.floor(nowMs / 1000);
          const replica = 'replica' in step ? replicas[step.replica] : undefined;
          if (step.kind === 'sign' && replica) running.push(sign(replica, now + step.lifetime));
          if (step.kind === 'crash' && replica) {
            replica.isAlive = false;
            replicas[step.replica] = start();
          }
          if (step.kind === 'pass') nowMs += step.seconds * 1000;
          if (step.kind === 'wipe') wipe();
          if (scheduler.count() > 0) await scheduler.waitOne();
          holds();
        }
        await scheduler.waitFor(Promise.all(running));
        holds();
      }),
      { numRuns: 300 },
    );
  });
});
