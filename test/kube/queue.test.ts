import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createQueue, type Queue, type QueueNeeds } from '../../signer/kube/queue.ts';
import { createFakeTime, settle } from './fake-time.ts';

function makeQueue(options: Partial<QueueNeeds> = {}) {
  const time = createFakeTime();
  const queue = createQueue({ time, ...options });
  return { queue, time };
}

/** Keys `NAMESPACE/NODE/NUMBER`. */
function flowOf(key: string) {
  const [namespace = '', node = ''] = key.split('/');
  return { namespace, node };
}

const keysOf = (namespace: string, node: string, count: number) =>
  Array.from({ length: count }, (_, number) => `${namespace}/${node}/${number}`);

/** The order in which one worker gets what waits, until nothing does. */
async function orderOf(queue: Queue, onKey: (key: string) => void = () => undefined): Promise<string[]> {
  const order: string[] = [];
  const stop = new AbortController();
  const run = queue.run(
    async (key) => {
      order.push(key);
      onKey(key);
    },
    { concurrency: 1 },
    stop.signal,
  );
  await settle();
  stop.abort();
  await run;
  return order;
}

/** A worker whose runs the test ends one by one. */
function makeWorker() {
  const started: string[] = [];
  const signals: AbortSignal[] = [];
  const ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  return {
    started,
    signals,
    end: async (key: string) => {
      ends.get(key)?.resolve();
      await settle();
    },
    fail: async (key: string) => {
      ends.get(key)?.reject(new Error('failed'));
      await settle();
    },
    work: (key: string, signal: AbortSignal) => {
      started.push(key);
      signals.push(signal);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      ends.set(key, { resolve, reject });
      return promise;
    },
  };
}

describe('queue', () => {
  test('the queue gives a key out once, for any number of times that it was added', async () => {
    const { queue } = makeQueue();
    const worker = makeWorker();
    const stop = new AbortController();
    for (let round = 0; round < 3; round += 1) queue.add('a');
    assert.equal(queue.depth(), 1);
    const run = queue.run(worker.work, { concurrency: 2 }, stop.signal);
    await settle();
    assert.deepEqual(worker.started, ['a']);
    await worker.end('a');
    stop.abort();
    await run;
  });

  test('a key that is added while in work is worked on once more afterwards', async () => {
    const { queue } = makeQueue();
    const worker = makeWorker();
    const stop = new AbortController();
    const run = queue.run(worker.work, { concurrency: 2 }, stop.signal);
    queue.add('a');
    await settle();
    queue.add('a', 'low');
    queue.add('a');
    await settle();
    assert.deepEqual(worker.started, ['a']);
    await worker.end('a');
    assert.deepEqual(worker.started, ['a', 'a']);
    await worker.end('a');
    stop.abort();
    await run;
  });

  test('the queue takes high before low, first come first served within each, and a key can move up', async () => {
    const { queue } = makeQueue();
    const order: string[] = [];
    const stop = new AbortController();
    queue.add('low 1', 'low');
    queue.add('low 2', 'low');
    queue.add('high 1');
    queue.add('moved up', 'low');
    queue.add('moved up');
    queue.add('high 2');
    queue.add('high 1', 'low');
    const run = queue.run(
      async (key) => {
        order.push(key);
      },
      { concurrency: 1 },
      stop.signal,
    );
    await settle();
    assert.deepEqual(order, ['high 1', 'moved up', 'high 2', 'low 1', 'low 2']);
    stop.abort();
    await run;
  });

  test('the queue never runs more workers than allowed', async () => {
    const { queue } = makeQueue();
    const worker = makeWorker();
    const stop = new AbortController();
    for (const key of ['a', 'b', 'c']) queue.add(key);
    const run = queue.run(worker.work, { concurrency: 2 }, stop.signal);
    await settle();
    assert.deepEqual(worker.started, ['a', 'b']);
    await worker.end('a');
    assert.deepEqual(worker.started, ['a', 'b', 'c']);
    for (const key of ['b', 'c']) await worker.end(key);
    stop.abort();
    await run;
  });

  test('the earliest of several delays of a key counts', async () => {
    const { queue, time } = makeQueue();
    queue.addAfter('a', 500);
    queue.addAfter('a', 100);
    queue.addAfter('a', 900);
    await time.advance(99);
    assert.equal(queue.depth(), 0);
    await time.advance(1);
    assert.equal(queue.depth(), 1);
    assert.equal(time.pending(), 0);
  });

  test('the queue backs off per key, and starts over when the key is forgotten', async () => {
    const { queue, time } = makeQueue();
    const at: number[] = [];
    const start = time.monotonic();
    const stop = new AbortController();
    const run = queue.run(
      async (key) => {
        at.push(time.monotonic() - start);
        if (at.length === 4) queue.forget(key);
        if (at.length < 6) queue.addRateLimited(key);
      },
      { concurrency: 1 },
      stop.signal,
    );
    queue.add('a');
    await time.advance(10_000);
    // Waits of 125, 250, 500 ms; forgotten; 125, 250 ms.
    assert.deepEqual(at, [0, 125, 375, 875, 1000, 1250]);
    stop.abort();
    await run;
  });

  test('the queue waits as long as the server asks, and backs off even when it asks for no wait', async () => {
    for (const [asked, expected] of [
      // Without what is asked: 125, 250, 500, 1000, 2000 ms.
      [0, [125, 375, 875, 1875, 3875]],
      [1000, [1000, 2000, 3000, 4000, 6000]],
    ] as const) {
      const { queue, time } = makeQueue();
      const at: number[] = [];
      const start = time.monotonic();
      const stop = new AbortController();
      const run = queue.run(
        async (key) => {
          at.push(time.monotonic() - start);
          if (at.length <= 5) queue.addRateLimited(key, asked);
        },
        { concurrency: 1 },
        stop.signal,
      );
      queue.add('a');
      await time.advance(10_000);
      assert.deepEqual(at, [0, ...expected], `asked for ${asked} ms`);
      stop.abort();
      await run;
    }
  });

  test('forgetting a key drops its delayed adds but not one that is due now', async () => {
    const { queue, time } = makeQueue();
    queue.addAfter('a', 100);
    queue.forget('a');
    queue.add('b');
    queue.forget('b');
    await time.advance(1000);
    assert.equal(queue.depth(), 1);
  });

  test('a worker that throws is reported, and its key is queued again', async () => {
    const { queue, time } = makeQueue();
    const worker = makeWorker();
    const errors: string[] = [];
    const stop = new AbortController();
    const run = queue.run(
      worker.work,
      { concurrency: 1, onError: (error, key) => errors.push(`${key}: ${error}`) },
      stop.signal,
    );
    queue.add('a');
    await settle();
    await worker.fail('a');
    assert.deepEqual(errors, ['a: Error: failed']);
    await time.advance(1000);
    assert.deepEqual(worker.started, ['a', 'a']);
    await worker.end('a');
    stop.abort();
    await run;
  });

  test('the queue leaves no timer behind that a worker sets while it drains', async () => {
    const { queue, time } = makeQueue();
    const stop = new AbortController();
    const worker = makeWorker();
    const run = queue.run(worker.work, { concurrency: 1 }, stop.signal);
    queue.add('a');
    await settle();
    stop.abort();
    queue.addAfter('a', 10_000);
    queue.addRateLimited('a');
    await worker.end('a');
    await run;
    assert.equal(time.pending(), 0);
  });

  test('on drain running workers finish and no new one starts', async () => {
    const { queue, time } = makeQueue();
    const worker = makeWorker();
    const stop = new AbortController();
    const run = queue.run(worker.work, { concurrency: 1 }, stop.signal);
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 10);
    await settle();
    stop.abort();
    let isDone = false;
    void run.then(() => {
      isDone = true;
    });
    await time.advance(100);
    assert.equal(isDone, false);
    assert.equal(worker.signals[0]?.aborted, false);
    await worker.end('a');
    await run;
    assert.deepEqual(worker.started, ['a']);
    assert.equal(time.pending(), 0);
  });

  test('the signal of a worker that does not finish is aborted', async () => {
    const { queue, time } = makeQueue();
    const stop = new AbortController();
    const run = queue.run(
      (_key, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
      { concurrency: 1 },
      stop.signal,
    );
    queue.add('a');
    await settle();
    stop.abort();
    await time.advance(4000);
    await run;
  });

  test('a thousand keys taken out and added again keep their order', async () => {
    const { queue } = makeQueue();
    const keys = Array.from({ length: 1000 }, (_, number) => `key-${number}`);
    const seen: string[] = [];
    const stop = new AbortController();
    for (const key of keys) queue.add(key);
    const run = queue.run(
      async (key) => {
        seen.push(key);
        if (seen.length <= 1000) queue.add(key);
      },
      { concurrency: 3 },
      stop.signal,
    );
    await settle();
    assert.deepEqual(seen, [...keys, ...keys]);
    stop.abort();
    await run;
  });
});

describe('a fair queue', () => {
  test('a fair queue gives one namespace its turn after one key of another, also if that has many', async () => {
    const { queue } = makeQueue({ flowOf });
    for (const key of keysOf('one', 'a', 10_000)) queue.add(key);
    queue.add('two/a/0');
    const order = await orderOf(queue);
    assert.equal(order.indexOf('two/a/0'), 1);
    assert.equal(order.length, 10_001);
  });

  test('a fair queue gives the nodes of a namespace their turns, and each node its keys in order of arrival', async () => {
    const { queue } = makeQueue({ flowOf });
    for (const key of keysOf('one', 'a', 3)) queue.add(key);
    for (const key of keysOf('one', 'b', 2)) queue.add(key);
    for (const key of keysOf('two', 'a', 2)) queue.add(key);
    assert.deepEqual(await orderOf(queue), [
      'one/a/0',
      'two/a/0',
      'one/b/0',
      'two/a/1',
      'one/a/1',
      'one/b/1',
      'one/a/2',
    ]);
  });

  test('a fair queue starves no namespace or node when others add one key again and again', async () => {
    for (const [steady, busy] of [
      ['one/a/0', ['two/a/0', 'three/a/0']],
      ['one/a/0', ['one/b/0', 'one/c/0']],
    ] as const) {
      const { queue } = makeQueue({ flowOf });
      queue.add(steady);
      for (const key of keysOf('one', 'a', 4)) queue.add(key);
      for (const key of busy) queue.add(key);
      let rounds = 0;
      const order = await orderOf(queue, (key) => {
        rounds += 1;
        if (rounds < 100 && !key.startsWith('one/a/')) queue.add(key);
      });
      assert.ok(order.indexOf('one/a/3') <= 10, order.slice(0, 20).join(' '));
    }
  });

  test('a fair queue gives every eighth turn to low priority while both wait', async () => {
    const { queue } = makeQueue({ flowOf });
    for (const key of keysOf('new', 'a', 70)) queue.add(key);
    for (const key of keysOf('retry', 'a', 3)) queue.add(key, 'low');
    const order = await orderOf(queue);
    assert.deepEqual(
      ['retry/a/0', 'retry/a/1', 'retry/a/2'].map((key) => order.indexOf(key)),
      [7, 15, 23],
    );
  });

  test('a fair queue takes a key that moves up out of its old turn', async () => {
    const { queue } = makeQueue({ flowOf });
    queue.add('one/a/0', 'low');
    queue.add('one/a/1', 'low');
    queue.add('one/a/1');
    assert.equal(queue.depth(), 2);
    assert.deepEqual(await orderOf(queue), ['one/a/1', 'one/a/0']);
    assert.equal(queue.depth(), 0);
  });

  test('a fair queue keeps a quarter of the workers free when a namespace releases none of its own', async () => {
    const { queue } = makeQueue({ flowOf });
    const worker = makeWorker();
    const stop = new AbortController();
    const run = queue.run(worker.work, { concurrency: 64 }, stop.signal);
    const startedOf = (namespace: string) =>
      worker.started.filter((key) => key.startsWith(`${namespace}/`)).length;
    for (const key of keysOf('hangs', 'a', 100)) queue.add(key);
    await settle();
    assert.equal(startedOf('hangs'), 49);
    for (const key of keysOf('other', 'a', 100)) queue.add(key);
    await settle();
    assert.equal(startedOf('other'), 12);
    await worker.end('other/a/0');
    assert.deepEqual([startedOf('hangs'), startedOf('other')], [49, 13]);
    queue.add('third/a/0');
    await settle();
    assert.equal(startedOf('third'), 1);

    stop.abort();
    for (const key of worker.started) await worker.end(key);
    await run;
  });

  test('a fair queue gives a namespace no more workers than its current limit, and the others theirs', async () => {
    const { queue } = makeQueue({ flowOf });
    const worker = makeWorker();
    const stop = new AbortController();
    let most = 2;
    const options = { concurrency: 64, concurrencyOfNamespace: () => most };
    const run = queue.run(worker.work, options, stop.signal);
    for (const key of [...keysOf('one', 'a', 20), ...keysOf('two', 'a', 20)]) queue.add(key);
    await settle();
    assert.deepEqual(worker.started.toSorted(), ['one/a/0', 'one/a/1', 'two/a/0', 'two/a/1']);
    most = 4;
    await worker.end('one/a/0');
    assert.equal(worker.started.filter((key) => key.startsWith('one/')).length, 5);
    assert.equal(worker.started.filter((key) => key.startsWith('two/')).length, 4);
    stop.abort();
    for (const key of [...worker.started]) await worker.end(key);
    await run;
  });

  test('a fair queue limits a namespace only while another one has keys too', async () => {
    const { queue, time } = makeQueue({ flowOf });
    const worker = makeWorker();
    const stop = new AbortController();
    const options = { concurrency: 64, concurrencyOfNamespace: (isAlone: boolean) => (isAlone ? 40 : 2) };
    const run = queue.run(worker.work, options, stop.signal);
    const startedOf = (namespace: string) => worker.started.filter((key) => key.startsWith(`${namespace}/`));
    for (const key of keysOf('one', 'a', 30)) queue.add(key);
    await settle();
    assert.equal(startedOf('one').length, 30);

    queue.add('two/a/0');
    for (const key of keysOf('one', 'b', 10)) queue.add(key);
    await settle();
    assert.equal(startedOf('two').length, 1);
    for (const key of startedOf('one').slice(0, 28)) await worker.end(key);
    assert.equal(startedOf('one').length, 30);
    await worker.end('one/a/28');
    assert.equal(startedOf('one').length, 31);

    await time.advance(60_000);
    queue.add('one/c/0');
    await settle();
    assert.equal(startedOf('one').length, 41);
    stop.abort();
    for (const key of [...worker.started]) await worker.end(key);
    await run;
  });

  test('a fair queue gives the only namespace all workers when there are few', async () => {
    const { queue } = makeQueue({ flowOf });
    const worker = makeWorker();
    const stop = new AbortController();
    for (const key of keysOf('one', 'a', 8)) queue.add(key);
    const run = queue.run(worker.work, { concurrency: 4 }, stop.signal);
    await settle();
    assert.equal(worker.started.length, 4);
    stop.abort();
    for (const key of worker.started) await worker.end(key);
    await run;
  });
});
