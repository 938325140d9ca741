import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { createAuthority, newPool } from '../../signer/authority/create.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { newPoolSecret } from '../../signer/authority/pool-secret.ts';
import { createPoolView } from '../../signer/authority/view.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { createLogger } from '../../signer/observe/log.ts';
import { settle } from '../kube/fake-time.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';

/** Which of two tellings of the pool is the newer one, where the order of answers and events is decisive. */
describe('the view of the pool, with answers and events in any order', () => {
  let sound: PoolDocument;
  let tainted: PoolDocument;

  before(async () => {
    const now = Math.floor(Date.now() / 1000);
    sound = newPool('example.org', await createAuthority({ id: '1', trustDomain: 'example.org', now }));
    const authorities = sound.authorities.map((each) => ({ ...each, tainted: true }));
    tainted = { ...sound, sequence: sound.sequence + 1, authorities };
  });

  const secretOf = (document: PoolDocument, resourceVersion: string): Secret => {
    const secret = newPoolSecret({ namespace: 'kubespiffe', name: 'pool' }, document);
    return { ...secret, metadata: { ...secret.metadata, resourceVersion } };
  };
  const gone: Answer = { status: 404, body: { kind: 'Status', details: { name: 'pool' } } };

  /** A view that follows the sound pool at version 100 while `body` runs. */
  async function viewing(
    body: (parts: {
      readonly api: ReturnType<typeof createScriptedApi>;
      readonly view: ReturnType<typeof createPoolView>;
      readonly verdict: () => string;
      /** Lets a live read wait for its answer. */
      readonly held: () => PromiseWithResolvers<Answer>;
    }) => Promise<void>,
  ): Promise<void> {
    const api = createScriptedApi();
    const live: (Answer | Promise<Answer>)[] = [];
    api.answer = ({ path }) =>
      path.endsWith('/pool')
        ? (live.shift() ?? { status: 200, body: secretOf(sound, '100') })
        : { status: 200, body: { metadata: { resourceVersion: '100' }, items: [secretOf(sound, '100')] } };
    const view = createPoolView({
      transport: api.transport,
      namespace: 'kubespiffe',
      name: 'pool',
      trustDomain: 'example.org',
      rootPropagationSeconds: 0,
      published: {
        known: Promise.resolve(),
        mark: () => undefined,
        rootEnds: () => new Map(),
      },
      time: realTime,
      log: createLogger({ level: 'error', destination: process.stdout }),
    });
    const stop = new AbortController();
    const running = view.run(stop.signal);
    const verdict = () => {
      const outcome = view.signable(Math.floor(Date.now() / 1000));
      return outcome.ok ? 'signs' : outcome.problem.reason;
    };
    const held = () => {
      const answer = Promise.withResolvers<Answer>();
      live.push(answer.promise);
      return answer;
    };
    try {
      await settle();
      assert.equal(verdict(), 'signs');
      await body({ api, view, verdict, held });
    } finally {
      stop.abort();
      await running;
    }
  }

  it('the view of the pool takes a live read that is older than the last one, as after a restore of etcd', () =>
    viewing(async ({ view, verdict, held }) => {
      held().resolve({ status: 200, body: secretOf(tainted, '7') });
      await view.readLive();
      assert.equal(verdict(), 'PoolNotSigning');
    }));

  it('the view takes another pool under a version that was seen, as after a restore of etcd', () =>
    viewing(async ({ view, verdict, held }) => {
      held().resolve({ status: 200, body: secretOf(tainted, '100') });
      await view.readLive();
      assert.equal(verdict(), 'PoolNotSigning');
    }));

  it('the view reads live at once after an event that is older than the last one', () =>
    viewing(async ({ api, verdict, held }) => {
      held().resolve({ status: 200, body: secretOf(tainted, '7') });
      api.watches.at(-1)?.push({ type: 'MODIFIED', object: secretOf(sound, '6') });
      await settle();
      assert.equal(verdict(), 'PoolNotSigning');
    }));

  it('the view keeps its pool when a late event is older than the last one', () =>
    viewing(async ({ api, view, verdict, held }) => {
      held().resolve({ status: 200, body: secretOf(tainted, '200') });
      await view.readLive();
      held().resolve({ status: 200, body: secretOf(tainted, '200') });
      api.watches.at(-1)?.push({ type: 'MODIFIED', object: secretOf(sound, '150') });
      await settle();
      assert.equal(verdict(), 'PoolNotSigning');
    }));

  for (const [what, late] of [
    ['an older pool', () => ({ status: 200, body: secretOf(sound, '100') })],
    ['no pool', () => gone],
  ] as const) {
    it(`the view asks again when a live read answers with ${what} after a later read has answered`, () =>
      viewing(async ({ view, verdict, held }) => {
        const first = held();
        const second = held();
        const third = held();
        const reading = view.readLive();
        const overtaking = view.readLive();
        second.resolve({ status: 200, body: secretOf(tainted, '200') });
        await overtaking;
        first.resolve(late());
        await settle();
        assert.equal(verdict(), 'PoolNotSigning');
        third.resolve({ status: 200, body: secretOf(tainted, '200') });
        await reading;
        assert.equal(verdict(), 'PoolNotSigning');
      }));
  }
});
