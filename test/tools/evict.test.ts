import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { evictPods } from '../../tools/pool/evict.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';

const pod = (name: string) => ({ namespace: 'shop', name, uid: `uid-${name}` });
const notFound = { status: 404, body: { details: { name: 'web' } } };

/** Evicts with a clock that moves with the pauses. The real eviction API is in test/contract/ca-rotate.test.ts. */
async function evicted(names: string[], answers: Record<string, Answer[]>, more: object = {}) {
  const api = createScriptedApi();
  api.answer = ({ path }) => {
    const name = /pods\/([^/]+)\/eviction/.exec(path)?.[1] ?? '';
    return answers[name]?.shift() ?? { status: 201 };
  };
  let nowMs = 0;
  const results: string[] = [];
  const blocked = await evictPods(api.transport, names.map(pod), {
    ...{ perSecond: 2, isDryRun: false, deadlineMs: 10_000, now: () => nowMs },
    pause: async (ms: number) => {
      nowMs += ms;
    },
    onResult: ({ name }, result) => results.push(`${name} ${result}`),
    ...more,
  });
  return { api, results, blocked: blocked.map(({ name }) => name), seconds: nowMs / 1000 };
}

describe('evicting pods', () => {
  it('evicting pods takes a limited number a second, and none that has replaced one of them', async () => {
    const { api, results, seconds } = await evicted(['a', 'b', 'c', 'd'], {});
    assert.deepEqual(results, ['a evicted', 'b evicted', 'c evicted', 'd evicted']);
    assert.equal(seconds, 2);
    const bodies = api.requests.map(({ body }) => body as { deleteOptions: object });
    assert.deepEqual(bodies[0]?.deleteOptions, { preconditions: { uid: 'uid-a' } });
  });

  it('evicting pods tries again what a budget protects, and reports that once', async () => {
    const { results, blocked } = await evicted(['a', 'b'], { a: [{ status: 429 }, { status: 429 }] });
    assert.deepEqual(results, ['a blocked', 'b evicted', 'a evicted']);
    assert.deepEqual(blocked, []);
  });

  it('evicting pods ends at the deadline, and returns the pods that are left', async () => {
    const always = Array.from({ length: 100 }, () => ({ status: 429 }));
    const { blocked, seconds } = await evicted(['a'], { a: always });
    assert.deepEqual(blocked, ['a']);
    assert.ok(seconds >= 10 && seconds < 12, `${seconds} s`);
  });

  it('evicting pods ends at the deadline in the middle of a round, but tries each pod once', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `p${index}`);
    const answers = () => Object.fromEntries(names.map((name) => [name, [{ status: 429 }, { status: 429 }]]));
    const { api, blocked, seconds } = await evicted(names, answers());
    assert.deepEqual([api.requests.length, blocked.length, seconds], [30, 30, 15]);
    const later = await evicted(names, answers(), { deadlineMs: 17_000 });
    assert.deepEqual([later.api.requests.length, later.blocked.length, later.seconds], [34, 30, 17]);
  });

  it('evicting pods skips a pod that was deleted or replaced', async () => {
    const { results } = await evicted(['a', 'b'], { a: [notFound], b: [{ status: 409 }] });
    assert.deepEqual(results, ['a gone', 'b gone']);
  });

  for (const status of [403, 422, 500, 503]) {
    it(`evicting pods continues with others after a ${status}, and tries that pod again`, async () => {
      const { results, blocked } = await evicted(['a', 'b'], { a: [{ status }] });
      assert.deepEqual(results, ['a blocked', 'b evicted', 'a evicted']);
      assert.deepEqual(blocked, []);
    });
  }

  it('evicting pods ends with an error if the credentials are not valid', async () => {
    await assert.rejects(evicted(['a', 'b'], { a: [{ status: 401 }] }), { status: 401 });
  });

  it('evicting pods in a dry run only asks the API server', async () => {
    const { api, results } = await evicted(['a'], { a: [{ status: 429 }] }, { isDryRun: true });
    assert.deepEqual(results, ['a blocked']);
    const [body] = api.requests.map((each) => each.body as { deleteOptions: object });
    assert.deepEqual(body?.deleteOptions, { preconditions: { uid: 'uid-a' }, dryRun: ['All'] });
  });
});
