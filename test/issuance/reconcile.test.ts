import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { identify } from '../../signer/identity/identify.ts';
import type { Next } from '../../signer/issuance/next-step.ts';
import { createOwnership } from '../../signer/issuance/ownership.ts';
import { createReconcile } from '../../signer/issuance/reconcile.ts';
import type { CertificateRequest } from '../../signer/issuance/request.ts';
import { createRequestStates, type Phase } from '../../signer/issuance/request-state.ts';
import type { Signing } from '../../signer/issuance/signing.ts';
import type { PreparedAnswer, WriteOutcome } from '../../signer/issuance/status.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import type { Reason } from '../../signer/observe/reasons.ts';
import type { Span, StartSpan } from '../../signer/observe/span.ts';
import { timeWith } from '../kube/fake-time.ts';
import { createScriptedApi } from '../kube/scripted-api.ts';
import { anOpenRequest, aPod, aSupportedKey } from './examples.ts';

const key = { form: 'spki', base64: Buffer.from(aSupportedKey.spki).toString('base64') } as const;
/** A request that is denied for what it says itself: nothing has to be signed. */
const request = anOpenRequest({ key, annotationProblem: 'example.org/a' });

/** A replica that may sign nothing, in front of a status writer that is a script. */
function aReconciler(startSpan?: StartSpan) {
  const clock = { ms: 0 };
  const time = timeWith({ monotonic: () => clock.ms, now: () => clock.ms });
  const requests = createStore<CertificateRequest>({ time: realTime });
  const pods = createStore<PodFacts>({ time: realTime });
  pods.set('shop/web-0', aPod());
  const states = createRequestStates({ time });
  const metrics = createMetrics();
  const world = {
    clock,
    states,
    metrics,
    outcome: { kind: 'written' } as WriteOutcome,
    written: [] as PreparedAnswer[],
    reported: [] as Reason[],
    taken: [] as string[],
    hasRediscovered: false,
    see(different: Partial<typeof request> = {}) {
      const seen = { ...request, ...different };
      requests.set(`shop/${seen.name}`, seen);
      return states.see(seen).state;
    },
    reconcile: undefined as unknown as (key: string) => Promise<Next>,
  };
  const reconcile = createReconcile(
    {
      requests,
      states,
      ownership: createOwnership({
        self: 'a',
        members: () => ['a'],
        takeoverDelayMs: 1000,
        time,
      }),
      membership: { self: 'a' },
      pods,
      transport: createScriptedApi().transport,
      servedVersions: () => ['v1'],
      identify: (pod) => identify(pod, { trustDomain: 'example.org' }),
      guard: { refusal: () => undefined },
      signing: {
        sign: async () => ({ ok: false, reason: 'PoolUnusable', detail: 'no pool' }),
      } as unknown as Signing,
      status: {
        write: async (_address, answer) => {
          world.written.push(answer);
          return world.outcome;
        },
      },
      report: ({ reason }) => {
        world.reported.push(reason);
        return undefined;
      },
      metrics,
      signerName: 'kubespiffe.io/spiffe',
      rediscover: () => {
        world.hasRediscovered = true;
      },
      startSpan,
      time,
    },
    (keys) => world.taken.push(...keys),
  );
  world.reconcile = (each) => reconcile(each, AbortSignal.timeout(10_000));
  return world;
}

describe('a write of an answer', () => {
  const rows: [
    outcome: string,
    WriteOutcome | ((written: PreparedAnswer) => WriteOutcome),
    Next,
    Phase['kind'],
    Reason | undefined,
  ][] = [
    [
      'that the API server accepted',
      { kind: 'written' },
      { kind: 'after', ms: 10_000 },
      'confirmed',
      'InvalidUnverifiedUserAnnotations',
    ],
    [
      'that the request holds already',
      { kind: 'answered', by: 'a', certificateChain: undefined },
      { kind: 'done' },
      'closed',
      'InvalidUnverifiedUserAnnotations',
    ],
    [
      'to a request with the answer of another replica',
      { kind: 'answered', by: 'b', certificateChain: 'OTHER' },
      { kind: 'done' },
      'closed',
      undefined,
    ],
    [
      'to a request with the same denial by another replica',
      { kind: 'answered', by: 'b', certificateChain: undefined },
      { kind: 'done' },
      'closed',
      undefined,
    ],
    ['to a request that is gone', { kind: 'gone' }, { kind: 'done' }, 'closed', undefined],
    [
      'through an API version that is not served any more',
      { kind: 'not-served' },
      { kind: 'back-off', retryAfterMs: undefined },
      'waiting',
      'ApiUnavailable',
    ],
    [
      'that is forbidden',
      { kind: 'forbidden', detail: 'no' },
      { kind: 'back-off', retryAfterMs: undefined },
      'waiting',
      'SignerForbidden',
    ],
    [
      'that the API server rejects',
      { kind: 'rejected', detail: 'no' },
      { kind: 'back-off', retryAfterMs: undefined },
      'waiting',
      'StatusRejected',
    ],
    [
      'that the API server defers',
      { kind: 'unavailable', detail: 'busy', retryAfterMs: 7000, isRefusal: true },
      { kind: 'back-off', retryAfterMs: 7000 },
      'waiting',
      'ApiUnavailable',
    ],
  ];
  for (const [name, outcome, next, phase, reason] of rows) {
    it(`an answer ${name} leaves the request ${phase}`, async () => {
      const world = aReconciler();
      const state = world.see();
      world.outcome = outcome as WriteOutcome;
      assert.deepEqual(await world.reconcile('shop/req-1'), next);
      assert.equal(state.phase.kind, phase);
      assert.deepEqual(world.reported, reason ? [reason] : []);
      assert.equal(world.hasRediscovered, world.outcome.kind === 'not-served');
      const isElsewhere = world.outcome.kind === 'answered' && reason === undefined;
      assert.match(
        await world.metrics.render(),
        new RegExp(
          `^kubespiffe_answered_elsewhere_total\\{signer="kubespiffe.io/spiffe"\\} ${isElsewhere ? 1 : 0}$`,
          'm',
        ),
      );
    });
  }

  it('an answer that the API server took makes those that failed before be tried at once, each once', async () => {
    const world = aReconciler();
    world.outcome = { kind: 'unavailable', detail: 'down', retryAfterMs: undefined, isRefusal: false };
    for (const name of ['down-1', 'down-2']) {
      world.see({ uid: name, name });
      await world.reconcile(`shop/${name}`);
    }
    world.outcome = { kind: 'written' };
    world.see();
    await world.reconcile('shop/req-1');
    assert.deepEqual(world.taken, ['shop/down-1', 'shop/down-2']);
    world.outcome = { kind: 'unavailable', detail: 'webhook', retryAfterMs: undefined, isRefusal: false };
    await world.reconcile('shop/down-1');
    world.outcome = { kind: 'written' };
    await world.reconcile('shop/down-2');
    assert.deepEqual(world.taken.length, 2);
  });
});

describe('a request that waits', () => {
  const rows: [what: string, different: Partial<typeof request>, Phase, Reason][] = [
    [
      'for facts, when its pod cannot be read',
      { annotationProblem: undefined, nodeName: 'another' },
      { kind: 'waiting', for: 'facts' },
      'PodNotVisible',
    ],
    [
      'for the signer, when nothing can be signed',
      { annotationProblem: undefined },
      { kind: 'waiting', for: 'signer' },
      'PoolUnusable',
    ],
  ];
  for (const [name, different, phase, reason] of rows) {
    it(`a request waits ${name}`, async () => {
      const world = aReconciler();
      const state = world.see(different);
      assert.deepEqual(await world.reconcile('shop/req-1'), { kind: 'back-off', retryAfterMs: undefined });
      assert.deepEqual(state.phase, phase);
      assert.deepEqual(world.reported, [reason]);
      assert.deepEqual(world.written, []);
    });
  }
});

describe('the spans of an attempt', () => {
  /** Writes down what happens to spans, each with its ancestors. */
  function recorder() {
    const events: string[] = [];
    const spanOf = (name: string, traceId: string): Span => {
      events.push(`begin ${name}`);
      return {
        traceId,
        child: (step) => spanOf(`${name} > ${step}`, traceId),
        set: () => undefined,
        fail: (problem) => void events.push(`fail ${name}: ${problem}`),
        end: () => void events.push(`end ${name}`),
      };
    };
    const begun: { startedAt: number; traceId: string | undefined }[] = [];
    const startSpan: StartSpan = ({ name, traceId, startedAt }) => {
      begun.push({ traceId, startedAt });
      return spanOf(name, traceId ?? '');
    };
    return { events, begun, startSpan };
  }

  it('the spans of an attempt are its steps, in a trace with the UID of the request that begins when it was first seen', async () => {
    const { events, begun, startSpan } = recorder();
    const world = aReconciler(startSpan);
    const uid = '0c9c5f3e-8d0e-4c8e-9d0a-0f6f7d8f3a11';
    world.clock.ms = 100;
    world.see({ uid });
    world.clock.ms = 150;
    await world.reconcile(`shop/${request.name}`);
    const root = 'PodCertificateRequest';
    assert.deepEqual(events, [
      `begin ${root}`,
      ...['decide', 'sign', 'write'].flatMap((step) => [`begin ${root} > ${step}`, `end ${root} > ${step}`]),
      `end ${root}`,
    ]);
    assert.deepEqual(begun, [{ traceId: '0c9c5f3e8d0e4c8e9d0a0f6f7d8f3a11', startedAt: 100 }]);
  });

  it('the span of a retry begins with the retry, and a step that throws is marked as failed', async () => {
    const { events, begun, startSpan } = recorder();
    const world = aReconciler(startSpan);
    world.outcome = { kind: 'unavailable', detail: 'away', retryAfterMs: undefined, isRefusal: true };
    world.see();
    await world.reconcile(`shop/${request.name}`);
    world.clock.ms = 400;
    Object.defineProperty(world, 'outcome', {
      get() {
        throw new Error('a bug');
      },
    });
    events.length = 0;
    await assert.rejects(world.reconcile(`shop/${request.name}`), /a bug/);
    assert.deepEqual(events.slice(-3), [
      'fail PodCertificateRequest > write: a bug',
      'end PodCertificateRequest > write',
      'end PodCertificateRequest',
    ]);
    assert.equal(begun.at(-1)?.startedAt, 400);
  });
});
