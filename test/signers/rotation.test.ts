import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { type AuthorityRecord, newPool, type PoolDocument } from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { newPoolSecret, poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import { createServerClock } from '../../signer/kube/clock.ts';
import type { ApiRequest } from '../../signer/kube/transport.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { createRotation, type RotationNeeds } from '../../signer/signers/rotation.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { waitFor } from '../cluster/process.ts';
import { createFakeTime } from '../kube/fake-time.ts';
import { onlyMember } from '../trust/membership.ts';

const trustDomain = 'example.org';
const day = 86_400;
const place = { namespace: 'kubespiffe', name: 'pool' };

interface Scene {
  /** How far the clock of the replica, and that of the API server, are ahead of the right time, in milliseconds. */
  readonly ahead: { own: number; server: number };
  /** The authorities with their states, in words. */
  states(): readonly string[];
  /** Goes on in steps of 5 s until the states are these. */
  until(expected: readonly string[]): Promise<void>;
  /** Goes on in so many steps of 5 s. */
  go(steps: number): Promise<void>;
}

/** An automatic rotation of a pool. The API server has the Secret of the pool and no more. */
async function withRotation(
  start: PoolDocument,
  time: ReturnType<typeof createFakeTime>,
  act: (scene: Scene) => Promise<void>,
): Promise<void> {
  const ahead = { own: 0, server: 0 };
  const own = { ...time, now: () => time.now() + ahead.own };
  const clock = createServerClock(own);
  let version = 1;
  let secret = {
    ...newPoolSecret(place, start),
    metadata: { ...place, resourceVersion: '1' },
  } as unknown as Secret;
  const document = () => JSON.parse(poolJsonIn(secret) ?? '') as PoolDocument;
  const states = () => document().authorities.map(({ id, state }) => `${id} ${state}`);
  const compiled = () => {
    const read = compilePool(document(), trustDomain);
    assert.ok(read.ok);
    return read.pool;
  };
  let pool = compiled();
  const request = async ({ method, path, body }: ApiRequest) => {
    clock.observe(Math.floor((time.now() + ahead.server) / 1000) * 1000, 0);
    if (!path.includes('/secrets/')) {
      const status = { status: 404, body: { details: { name: 'record' } }, retryAfterMs: undefined };
      throw new ApiStatusError({ method, path }, status);
    }
    if (method === 'PUT') {
      version += 1;
      secret = { ...(body as Secret), metadata: { ...place, resourceVersion: String(version) } } as Secret;
      pool = compiled();
    }
    return { status: 200, body: secret };
  };
  const rotation = createRotation({
    ...{ pool: place, signerName: 'example.org/spiffe', namespace: 'kubespiffe', replica: 'a', time: own },
    view: { current: () => pool, onChange: () => {} },
    rotation: {
      ...{ isAutomatic: true, issuer: undefined },
      policy: {
        ...{
          lifetimeSeconds: 365 * day,
          prepareAfterSeconds: 0,
          previewSeconds: 0,
          requiresVerification: false,
        },
        ...{ activateAfterSeconds: 120 * day, jwtActivateAfterSeconds: 30 * day, retireAfterSeconds: 3_600 },
      },
    },
    timing: { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 },
    published: {
      inAll: () => undefined,
      keysInAll: () => new Set<string>(),
      inAny: () => undefined,
      isVisible: () => true,
      since: () => new Map(),
    },
    transport: { request },
    clock,
    ...{ membership: onlyMember, rankFor: () => 0, takeoverDelayMs: 1_000, condition: { show: () => {} } },
    metrics: { rotationStep: { set: () => {} }, rotationSteps: { inc: () => {} } },
    ...{ events: { record: () => {} }, audit: () => {}, pods: { get: () => undefined } },
    log: { info: () => {}, warn: () => {} },
  } as unknown as RotationNeeds);
  const stop = new AbortController();
  const running = rotation.run(stop.signal);
  const step = async () => {
    rotation.look();
    await time.advance(5_000);
  };
  const scene: Scene = {
    ahead,
    states,
    async until(expected) {
      // Keys are made by threads of Node, whose answers no fake time brings.
      const arrived = async () => {
        await step();
        return states().join() === expected.join();
      };
      await waitFor(expected.join(), arrived, { everyMs: 2 }).catch(() => {
        assert.deepEqual(states(), expected);
      });
    },
    async go(steps) {
      for (let done = 0; done < steps; done += 1) await step();
    },
  };
  await request({ method: 'GET', path: '/secrets/' } as ApiRequest);
  await act(scene);
  stop.abort();
  await running;
}

it('a CA whose next one cannot be made delays neither JWT keys nor authorities that are to be retired', async () => {
  const time = createFakeTime();
  const now = time.now() / 1000;
  const { privateKey: _, ...rest } = await createAuthority({ id: 'ca-1', trustDomain, now: now - 5 * day });
  const outside: AuthorityRecord = { ...rest, keyRef: 'pkcs11:token=kubespiffe;object=ca-1' };
  const jwt = await createJwtAuthority({ key: 'es256', now: now - 5 * day });
  const old = await createAuthority({ id: 'ca-0', trustDomain, now: now - 9 * day });
  const leaves: AuthorityRecord = { ...old, state: 'retiring', deactivatedAt: rfc3339(now - 5 * day) };
  const expected = ['ca-1 active', 'ca-0 retired', 'jwt-es256-1 active', 'jwt-es256-2 trusted'];
  await withRotation(newPool(trustDomain, outside, leaves, jwt), time, ({ until }) => until(expected));
});

it('a jump of the clock brings no step forward, and each step is taken once the clocks are right', async () => {
  const time = createFakeTime();
  const first = await createAuthority({ id: 'ca-1', trustDomain, now: time.now() / 1000 });
  await withRotation(newPool(trustDomain, first), time, async ({ ahead, states, go, until }) => {
    const inReserve = ['ca-1 active', 'ca-2 trusted'];
    await until(inReserve);
    for (const clock of ['own', 'server'] as const) {
      for (const days of [200, -200]) {
        ahead[clock] = days * day * 1_000;
        await go(60);
        assert.deepEqual(states(), inReserve, `${clock} ${days} d`);
        ahead[clock] = 0;
        await go(60);
        assert.deepEqual(states(), inReserve, `${clock} after ${days} d`);
      }
    }
    await time.advance(120 * day * 1_000);
    await until(['ca-1 retiring', 'ca-2 active', 'ca-3 trusted']);
  });
});
