import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type KeyRef, parseKeyRef } from '../../signer/keys/key-ref.ts';
import type { OpenKey } from '../../signer/keys/open-key.ts';
import { createRemoteKey } from '../../signer/keys/remote-key.ts';
import type { Time } from '../../signer/kube/time.ts';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';

const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const content = Buffer.from('what is to be signed');
const read = parseKeyRef('pkcs11:token=kubespiffe;object=ca-1');
assert.ok(read.ok);
const ref: KeyRef = read.value;

type Mood = 'well' | 'refuses' | 'hangs' | 'has another key' | 'does not open';

/** A backend on a clock that the test moves. It signs what it is given whole, since ECDSA of a digest needs no more. */
function makeBackend({ concurrency = 4, latencyMs = 0, openingMs = 0 } = {}) {
  let now = 0;
  const timers = new Set<{ at: number; run: () => void }>();
  const time: Time = {
    now: () => now,
    monotonic: () => now,
    jitter: () => 0,
    timer(run, ms) {
      const one = { at: now + ms, run };
      timers.add(one);
      return () => timers.delete(one);
    },
  };
  const seen = { opened: 0, closed: 0, underWay: 0, mostUnderWay: 0, states: [] as (string | undefined)[] };
  let mood: Mood = 'well';
  const after = (ms: number) => new Promise<void>((resolve) => time.timer(resolve, ms));
  async function open(): Promise<OpenKey> {
    if (mood === 'does not open') throw new Error('the token is not there');
    if (openingMs > 0) await after(openingMs);
    seen.opened += 1;
    return {
      async sign() {
        seen.underWay += 1;
        seen.mostUnderWay = Math.max(seen.mostUnderWay, seen.underWay);
        try {
          if (mood === 'hangs') await new Promise(() => undefined);
          if (latencyMs > 0) await after(latencyMs);
          if (mood === 'refuses') throw new Error('CKR_DEVICE_ERROR');
          // What is signed is known, so that no ECDSA over digests has to be written here.
          return sign('sha256', signing, mood === 'has another key' ? foreign.privateKey : own.privateKey);
        } finally {
          seen.underWay -= 1;
        }
      },
      publicKey: () => Promise.resolve(own.publicKey),
      close: () => {
        seen.closed += 1;
      },
    };
  }
  let signing: Buffer = probe;
  const key = createRemoteKey(ref, own.publicKey, keyTypes['ecdsa-p256'], {
    open,
    concurrency,
    timeoutMs: 10_000,
    onSigned: () => undefined,
    onState: (_, problem) => seen.states.push(problem),
    time,
  });
  return {
    key,
    seen,
    set: (next: Mood) => {
      mood = next;
    },
    /** @param what `content`, or the probe. */
    expect: (what: Buffer) => {
      signing = what;
    },
    async advance(ms: number) {
      const until = now + ms;
      for (;;) {
        await settled();
        const [next] = [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
        if (!next) break;
        timers.delete(next);
        now = next.at;
        next.run();
      }
      now = until;
      await settled();
    },
    /** As the loop of the signer does. */
    async tend() {
      signing = probe;
      const tending = key.tend();
      await this.advance(10_000);
      await tending;
      signing = content;
    },
  };
}

const probe = Buffer.from('kubespiffe looks whether this key signs');
const settled = () => new Promise((resolve) => setImmediate(resolve));
const isUnavailable = { code: 'KEY_UNAVAILABLE' };

async function ready(options?: Parameters<typeof makeBackend>[0]) {
  const backend = makeBackend(options);
  assert.equal(backend.key.problem(), 'the key is being opened');
  await backend.tend();
  assert.equal(backend.key.problem(), undefined);
  return backend;
}

describe('a key outside of the pool', () => {
  it('a remote key is opened on its first use, and not before', async () => {
    const backend = makeBackend();
    await backend.tend();
    assert.equal(backend.seen.opened, 0);
    backend.key.problem();
    await backend.tend();
    assert.equal(backend.seen.opened, 1);
    assert.ok(verify('sha256', content, own.publicKey, await backend.key.sign(content)));
  });

  it('a remote key signs nothing before it is open, and reports that it is being opened', async () => {
    await assert.rejects(makeBackend().key.sign(content), { ...isUnavailable, message: /being opened/ });
  });

  for (const [mood, says] of [
    ['refuses', /CKR_DEVICE_ERROR/],
    ['hangs', /did not sign within 10 s/],
    ['has another key', /keyRef names another key/],
  ] as const) {
    it(`a remote key counts as lost when its backend ${mood}, until it signs again`, async () => {
      const backend = await ready();
      backend.set(mood);
      const message = 'the log of the signer has the reason';
      const signing = assert.rejects(backend.key.sign(content), { ...isUnavailable, message });
      await backend.advance(10_000);
      await signing;
      assert.match(backend.key.problem() ?? '', says);
      assert.equal(backend.seen.closed, 1);
      backend.set('well');
      await backend.advance(1_000);
      await backend.tend();
      assert.equal(backend.key.problem(), undefined);
      await backend.key.sign(content);
      assert.deepEqual(backend.seen.states.length, 3);
    });
  }

  it('a lost key is tried again after 1, 2, 4 … and at most 30 s, and keeps its reason meanwhile', async () => {
    const backend = makeBackend();
    backend.set('does not open');
    backend.key.problem();
    const waits: number[] = [];
    let waited = 0;
    for (let seconds = 0; seconds < 150; seconds += 1) {
      const before = backend.seen.states.length;
      await Promise.all([backend.key.tend(), settled()]);
      if (backend.seen.states.length > before) {
        waits.push(waited);
        waited = 0;
      }
      assert.equal(backend.key.problem(), 'the token is not there');
      await backend.advance(1_000);
      waited += 1;
    }
    assert.deepEqual(waits, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
  });

  it('a remote key has at most the allowed signatures under way, and refuses when too many wait', async () => {
    const backend = await ready({ concurrency: 4, latencyMs: 20 });
    const all = Array.from({ length: 4 + 4 * 32 + 1 }, () => backend.key.sign(content));
    const outcomes = Promise.allSettled(all);
    await backend.advance(5_000);
    const refused = (await outcomes).flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    assert.equal(refused.length, 1);
    assert.match(refused[0].message, /128 signatures wait for it already/);
    assert.equal(backend.seen.mostUnderWay, 4);
    assert.equal(backend.key.problem(), undefined);
  });

  it('waiting signatures fail at once when the remote key is lost', async () => {
    const backend = await ready({ concurrency: 1, latencyMs: 20 });
    backend.set('refuses');
    const all = Promise.allSettled(Array.from({ length: 10 }, () => backend.key.sign(content)));
    await backend.advance(20);
    assert.ok((await all).every(({ status }) => status === 'rejected'));
  });

  it('a remote key is probed when it signed nothing for 30 s, so that a loss shows before a pod needs it', async () => {
    const backend = await ready();
    backend.set('refuses');
    await backend.tend();
    assert.equal(backend.key.problem(), undefined);
    await backend.advance(30_000);
    await backend.tend();
    assert.match(backend.key.problem() ?? '', /CKR_DEVICE_ERROR/);
  });

  it('a probe of a remote key keeps the limit of signatures under way', async () => {
    const backend = await ready({ concurrency: 4, latencyMs: 20 });
    await backend.advance(30_000);
    const all = Promise.allSettled(Array.from({ length: 4 }, () => backend.key.sign(content)));
    await settled();
    const tending = backend.key.tend();
    await backend.advance(20);
    backend.expect(probe);
    await backend.advance(20);
    await tending;
    assert.ok((await all).every(({ status }) => status === 'fulfilled'));
    assert.equal(backend.seen.mostUnderWay, 4);
    assert.equal(backend.key.problem(), undefined);
  });

  it('a remote key is closed after five minutes without use, and opened again for the next use', async () => {
    const backend = await ready();
    await backend.advance(300_000);
    await backend.tend();
    assert.deepEqual([backend.seen.opened, backend.seen.closed], [1, 1]);
    assert.equal(backend.key.problem(), 'the key is being opened');
    await backend.tend();
    assert.equal(backend.key.problem(), undefined);
  });

  for (const [what, closedAtMs, signatures] of [
    ['being opened', 10, 0],
    ['being probed for the first time', 30, 1],
  ] as const) {
    it(`a remote key that is closed while it is ${what} does not stay open, and is not used any more`, async () => {
      const backend = makeBackend({ openingMs: 20, latencyMs: 20 });
      backend.key.problem();
      const tending = backend.key.tend();
      await backend.advance(closedAtMs);
      backend.key.close();
      await backend.advance(10_000);
      await tending;
      assert.deepEqual([backend.seen.opened, backend.seen.closed], [1, 1]);
      assert.equal(backend.seen.mostUnderWay, signatures);
      assert.deepEqual(backend.seen.states, []);
      await assert.rejects(backend.key.sign(content), isUnavailable);
    });
  }

  it('a remote key gives a valid signature or none, with any behaviour of its backend, and recovers once that works', () => {
    const moods = fc.constantFrom<Mood>('well', 'refuses', 'hangs', 'has another key', 'does not open');
    const step = fc.record({ mood: moods, ms: fc.integer({ min: 0, max: 40_000 }), signs: fc.nat(6) });
    return fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        const backend = makeBackend({ concurrency: 2 });
        backend.key.problem();
        for (const { mood, ms, signs } of steps) {
          backend.set(mood);
          await backend.tend();
          const signing = Promise.allSettled(Array.from({ length: signs }, () => backend.key.sign(content)));
          await backend.advance(70_000 + ms);
          for (const each of await signing) {
            if (each.status === 'rejected') assert.equal(each.reason.code, 'KEY_UNAVAILABLE');
            else assert.ok(verify('sha256', content, own.publicKey, each.value));
          }
          backend.key.problem();
        }
        backend.set('well');
        await backend.advance(30_000);
        await backend.tend();
        assert.equal(backend.key.problem(), undefined);
        assert.ok(backend.seen.opened - backend.seen.closed === 1);
      }),
      { numRuns: 60 },
    );
  });
});
