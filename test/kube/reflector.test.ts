import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ApiConnectionError } from '../../signer/kube/api-error.ts';
import { type ReflectorState, type RestartCause, runReflector } from '../../signer/kube/reflector.ts';
import { createStore } from '../../signer/kube/store.ts';
import type { WatchEvent } from '../../signer/kube/transport.ts';
import { createFakeTime, settle } from './fake-time.ts';
import { type Answer, createScriptedApi, type HeldWatch } from './scripted-api.ts';

interface Thing {
  readonly name: string;
  readonly version: string;
}

function thing(name: string, resourceVersion: string, extra: object = {}) {
  return { metadata: { name, namespace: 'ns', resourceVersion }, ...extra };
}

function list(resourceVersion: string, ...items: object[]): Answer {
  return { status: 200, body: { metadata: { resourceVersion }, items } };
}

const event = (type: WatchEvent['type'], object: object): WatchEvent => ({ type, object });
const bookmark = (resourceVersion: string) => event('BOOKMARK', { metadata: { resourceVersion } });
const gone: Answer = { status: 410 };

function start(options: { locate?: () => Promise<{ path: string } | undefined> } = {}) {
  const time = createFakeTime();
  const api = createScriptedApi();
  const store = createStore<Thing>({ time });
  const stop = new AbortController();
  const states: ReflectorState[] = [];
  const restarts: RestartCause[] = [];
  const warnings: string[] = [];
  let notServed = 0;
  const done = () =>
    runReflector<Thing>(
      {
        transport: api.transport,
        locate: options.locate ?? (async () => ({ path: '/things', query: { fieldSelector: 'a=b' } })),
        store,
        fields: true,
        project: (raw) => {
          const { metadata, spec } = raw as {
            metadata: { name: string; resourceVersion: string };
            spec?: string;
          };
          if (spec === 'throw') throw new Error('cannot be read');
          if (spec === 'leave out') return undefined;
          return { name: metadata.name, version: metadata.resourceVersion };
        },
        log: { warn: (fields) => warnings.push(JSON.stringify(fields)), debug: () => undefined },
        onState: (state) => states.push(state),
        onRestart: (cause) => restarts.push(cause),
        onNotServed: () => {
          notServed += 1;
        },
        time,
      },
      stop.signal,
    );
  const latest = (): HeldWatch => {
    const watch = api.watches.at(-1);
    assert.ok(watch, 'a watch is open');
    return watch;
  };
  return {
    time,
    api,
    store,
    states,
    restarts,
    warnings,
    latest,
    notServed: () => notServed,
    versionOf: (name: string) => store.get(`ns/${name}`)?.version,
    async run(body: () => Promise<void>) {
      const running = done();
      try {
        await settle();
        await body();
      } finally {
        stop.abort();
        await running;
      }
      assert.equal(states.at(-1)?.phase, 'stopped');
      assert.equal(time.pending(), 0, 'timers are left behind');
    },
  };
}

describe('reflector', () => {
  test('a reflector lists in pages, then watches from the version of the list', async () => {
    const { api, store, run, latest, states } = start();
    api.answer = ({ query }) =>
      query?.continue === 'more'
        ? list('7', thing('b', '2'))
        : {
            status: 200,
            body: { metadata: { resourceVersion: '7', continue: 'more' }, items: [thing('a', '1')] },
          };
    await run(async () => {
      assert.deepEqual(
        api.requests.map(({ query }) => query),
        [
          { fieldSelector: 'a=b', limit: '500', continue: undefined },
          { fieldSelector: 'a=b', limit: '500', continue: 'more' },
        ],
      );
      assert.deepEqual(
        [...store.values()].map(({ name }) => name),
        ['a', 'b'],
      );
      assert.ok(store.isSynced());
      assert.deepEqual(latest().request.query, {
        fieldSelector: 'a=b',
        resourceVersion: '7',
        allowWatchBookmarks: 'true',
        timeoutSeconds: '275',
      });
    });
    assert.deepEqual(
      states.map(({ phase }) => phase),
      ['locating', 'listing', 'watching', 'stopped'],
    );
  });

  test('a reflector applies events: it deletes objects that are not kept, and skips unreadable ones', async () => {
    const { api, store, run, latest, versionOf, warnings } = start();
    api.answer = () => list('1', thing('a', '1'), thing('unreadable', '1', { spec: 'throw' }));
    await run(async () => {
      latest().push(
        event('ADDED', thing('b', '2')),
        event('MODIFIED', thing('a', '3')),
        event('ADDED', thing('c', '4', { spec: 'throw' })),
        event('ADDED', { noMetadata: true }),
        event('ADDED', thing('d', '5')),
        event('DELETED', thing('d', '6')),
        event('MODIFIED', thing('b', '7', { spec: 'leave out' })),
      );
      await settle();
      assert.deepEqual([...store.values()], [{ name: 'a', version: '3' }]);
      assert.equal(versionOf('a'), '3');
      assert.equal(warnings.length, 3);
    });
  });

  test('a reflector continues from the last version, bookmarks included, when the server closes the watch', async () => {
    const { api, run, latest, restarts, time } = start();
    api.answer = () => list('1');
    await run(async () => {
      latest().push(event('ADDED', thing('a', '5')), bookmark('9'));
      await settle();
      api.answer = () => list('12', thing('b', '10'));
      latest().close();
      await settle();
      assert.equal(latest().request.query.resourceVersion, '9');
      assert.deepEqual(
        api.requests.slice(1).map(({ query }) => query),
        [{ fieldSelector: 'a=b', limit: '1' }],
        'the version alone is asked for',
      );
      assert.deepEqual(restarts, ['closed']);
      await time.advance(2000);
      latest().close();
      await settle();
      assert.equal(api.watches.length, 3, 'a watch that was quiet but long is resumed at once');
    });
  });

  test('a reflector backs off when the server closes every watch at once', async () => {
    const { api, run, time } = start();
    api.answer = () => list('1');
    api.transport.watch = async (request) => {
      api.watches.push({ request } as HeldWatch);
      return (async function* () {})();
    };
    await run(async () => {
      await time.advance(60_000);
      assert.ok(api.watches.length < 25, `${api.watches.length} watches in a minute`);
    });
  });

  test('a reflector cuts a watch that is silent, and lists again', async () => {
    const { api, run, latest, restarts, time, versionOf } = start();
    api.answer = () => list('1');
    await run(async () => {
      const first = latest();
      await time.advance(60_000);
      first.push(bookmark('4'));
      await time.advance(99_999);
      assert.equal(first.request.signal.aborted, false);
      api.answer = () => list('9', thing('a', '8'));
      await time.advance(1);
      assert.equal(first.request.signal.aborted, true);
      assert.equal(versionOf('a'), '8');
      assert.equal(latest().request.query.resourceVersion, '9');
      assert.deepEqual(restarts, ['silent']);
    });
  });

  // As kube-apiserver does: a watch from a version that it has not reached is accepted, and silent.
  const restores: [how: string, end: (parts: ReturnType<typeof start>) => Promise<void>][] = [
    ['after the watch was closed in good order', async ({ latest }) => latest().close()],
    [
      'after one refused connection',
      async ({ latest, api }) => {
        let refusals = 1;
        api.refuseWatch = () => (refusals-- > 0 ? 'broken' : undefined);
        latest().fail(new Error('reset'));
      },
    ],
    [
      'after attempts that timed out',
      async ({ latest, api, time }) => {
        const { answer } = api;
        api.answer = () => new Promise((resolve) => time.timer(() => resolve('broken'), 5_000));
        latest().fail(new Error('reset'));
        await time.advance(8_000);
        api.answer = answer;
      },
    ],
    ['while the watch stays open and silent', async () => undefined],
    [
      'when an event comes with an older version',
      async ({ latest }) => latest().push(event('ADDED', thing('b', '30'))),
    ],
  ];
  for (const [how, end] of restores) {
    test(`a reflector lists again when etcd was restored from a backup, ${how}`, async () => {
      const parts = start();
      const { api, run, latest, time, store } = parts;
      api.answer = () => list('1740', thing('a', '1740'), thing('lost', '1000'));
      await run(async () => {
        await time.advance(5_000);
        api.answer = () => list('255', thing('a', '255'));
        await end(parts);
        await time.advance(100_000);
        assert.deepEqual([...store.values()], [{ name: 'a', version: '255' }]);
        assert.equal(latest().request.query.resourceVersion, '255');
      });
    });
  }

  for (const [how, make] of [
    ['as an ERROR event', (watch: HeldWatch) => watch.push(event('ERROR', { kind: 'Status', code: 410 }))],
    ['as a refusal of the watch', (watch: HeldWatch) => watch.close()],
  ] as const) {
    test(`a reflector lists again when its version is too old, reported ${how}, and deletes what is gone`, async () => {
      const { api, run, latest, restarts, time, store } = start();
      api.answer = () => list('1', thing('a', '1'), thing('b', '1'));
      await run(async () => {
        await time.advance(5000);
        api.answer = () => list('50', thing('b', '40'));
        let refusals = how.includes('refusal') ? 1 : 0;
        api.refuseWatch = () => (refusals-- > 0 ? gone : undefined);
        make(latest());
        await time.advance(200);
        assert.deepEqual([...store.values()], [{ name: 'b', version: '40' }]);
        assert.equal(latest().request.query.resourceVersion, '50');
        assert.ok(restarts.includes('expired'));
      });
    });
  }

  test('a reflector backs off when every watch is too old at once', async () => {
    const { api, run, time } = start();
    api.answer = () => list('1');
    api.refuseWatch = () => gone;
    await run(async () => {
      await time.advance(60_000);
      assert.ok(api.requests.length < 25, `${api.requests.length} lists in a minute`);
    });
  });

  test('a reflector begins the list again when its pages expire', async () => {
    const { api, run, store } = start();
    let expired = 0;
    api.answer = ({ query }) => {
      if (query?.continue === undefined) {
        const items = expired === 0 ? [thing('a', '1'), thing('gone since', '1')] : [thing('a', '1')];
        return { status: 200, body: { metadata: { resourceVersion: '1', continue: 'x' }, items } };
      }
      expired += 1;
      return expired === 1 ? gone : list('2', thing('b', '2'));
    };
    await run(async () => {
      assert.equal(store.size, 2);
      assert.equal(api.requests.length, 4);
    });
  });

  test('a reflector never waits less than the server asks', async () => {
    const { api, run, time, store } = start();
    api.answer = () => ({ status: 429, retryAfterMs: 7000 });
    await run(async () => {
      await time.advance(6999);
      assert.equal(api.requests.length, 1);
      api.answer = () => list('1');
      await time.advance(200);
      assert.ok(store.isSynced());
    });
  });

  test('a reflector backs off during errors, warns once, and keeps the store', async () => {
    const { api, run, latest, time, store, warnings } = start();
    api.answer = () => list('1', thing('a', '1'));
    await run(async () => {
      await time.advance(5000);
      api.refuseWatch = () => ({ status: 500 });
      api.answer = () => 'broken';
      latest().fail(new Error('reset'));
      await time.advance(60_000);
      assert.equal(store.size, 1);
      assert.ok(api.requests.length < 25, `${api.requests.length} requests`);
      assert.equal(warnings.length, 2, warnings.join('\n'));
      api.answer = () => list('9', thing('a', '9'));
      api.refuseWatch = () => undefined;
      await time.advance(10_000);
      latest().push(event('MODIFIED', thing('a', '10')));
      await settle();
      assert.equal(store.get('ns/a')?.version, '10');
    });
  });

  for (const seconds of [1, 5]) {
    test(`a reflector backs off and warns once when each attempt fails only after ${seconds} s`, async () => {
      const { api, run, latest, time, warnings, versionOf } = start();
      api.answer = () => list('1', thing('a', '1'));
      await run(async () => {
        await time.advance(5_000);
        let attempts = 0;
        const fail = async () => {
          attempts += 1;
          await new Promise<void>((resolve) => time.timer(resolve, seconds * 1000));
          throw new Error(`no answer within ${seconds * 1000 - attempts} ms`);
        };
        const { watch, request } = api.transport;
        api.transport.watch = fail;
        api.transport.request = fail;
        latest().close();
        await time.advance(600_000);
        Object.assign(api.transport, { watch, request });
        await time.advance(20_000);
        assert.ok(attempts < 600 / (seconds + 4) + 10, `${attempts} attempts in ten minutes`);
        assert.equal(warnings.length, 1, warnings.join('\n'));
        latest().push(event('MODIFIED', thing('a', '10')));
        await settle();
        assert.equal(versionOf('a'), '10');
      });
    });
  }

  test('a reflector warns once when watches are opened and break after a while, again and again', async () => {
    const { api, run, latest, time, warnings } = start();
    api.answer = () => list('1');
    await run(async () => {
      for (let round = 0; round < 100; round += 1) {
        await time.advance(2_000);
        latest().fail(new Error(`read tcp 10.0.0.1:${40_000 + round}: reset`));
        await time.advance(500);
      }
      assert.equal(warnings.length, 1, warnings.join('\n'));
    });
  });

  test('a reflector lists again when one version keeps failing, so that one bad event cannot block it', async () => {
    const { api, run, time, versionOf } = start();
    api.answer = () => list('1');
    const { watch } = api.transport;
    let bad = true;
    api.transport.watch = async (request) => {
      if (!bad) return watch(request);
      return (async function* () {
        yield* [];
        throw new Error('a line of the watch is not JSON');
      })();
    };
    await run(async () => {
      api.answer = ({ query }) => {
        bad = query?.limit === '1';
        return list('20', thing('a', '20'));
      };
      await time.advance(5000);
      assert.equal(versionOf('a'), '20');
    });
  });

  test('a reflector looks for its resource again after a plain 404, and follows it to another version', async () => {
    let path: string | undefined = '/v1beta1';
    const { api, run, latest, time, notServed, store } = start({
      locate: async () => (path === undefined ? undefined : { path }),
    });
    api.answer = ({ path: asked }) => (asked === path ? list('1', thing('a', asked)) : { status: 404 });
    await run(async () => {
      assert.equal(latest().request.path, '/v1beta1');
      path = undefined;
      api.refuseWatch = () => (path ? undefined : { status: 404 });
      latest().close();
      await time.advance(20_000);
      assert.ok(notServed() > 0);
      assert.equal(store.size, 1, 'what was known is kept');
      path = '/v1';
      await time.advance(10_000);
      assert.equal(latest().request.path, '/v1');
      assert.equal(store.get('ns/a')?.version, '/v1');
    });
  });

  test('a failed search for the resource of a reflector is retried', async () => {
    let isBroken = true;
    const { run, time, store, api } = start({
      locate: async () => {
        if (isBroken) throw new Error('not now');
        return { path: '/things' };
      },
    });
    api.answer = () => list('1');
    await run(async () => {
      await time.advance(3000);
      isBroken = false;
      await time.advance(10_000);
      assert.ok(store.isSynced());
    });
  });

  test('a reflector asks for smaller pages until they fit, and for larger ones after small pages', async () => {
    const { api, run, store, latest, time, warnings } = start();
    const names = Array.from({ length: 40 }, (_, index) => `t${index}`);
    const limits: number[] = [];
    let most = 10;
    api.answer = ({ query }) => {
      const first = Number(query?.continue ?? 0);
      const limit = Number(query?.limit);
      limits.push(limit);
      if (limit > most) return { status: 200, body: 'too large' };
      const next = first + limit;
      const items = names.slice(first, next).map((name) => thing(name, '1'));
      const more = next < names.length && { continue: String(next) };
      return { status: 200, body: { metadata: { resourceVersion: '7', ...more }, items } };
    };
    const { request } = api.transport;
    let bytes = 9 * 1024 * 1024;
    api.transport.request = <T>(asked: Parameters<typeof request>[0]) => {
      const reader = () => {
        const made = asked.reader?.() ?? assert.fail('a list is read as it comes');
        const push = (chunk: Buffer) => {
          if (!chunk.includes('too large'))
            return made.push(Buffer.concat([Buffer.alloc(bytes, ' '), chunk]));
          made.push(Buffer.from(`{"items":[${'{},'.repeat(24)}`));
          throw new ApiConnectionError('too-large', 'the answer is longer than 64 MiB');
        };
        return { ...made, push };
      };
      return request<T>({ ...asked, reader });
    };
    await run(async () => {
      assert.equal(store.size, 40);
      assert.deepEqual(limits, [500, 12, 6, 6, 6, 6, 6, 6, 6]);
      limits.length = 0;
      bytes = 100;
      most = 500;
      api.refuseWatch = () => (limits.length === 0 ? gone : undefined);
      latest().push(event('ERROR', { kind: 'Status', code: 410 }));
      await time.advance(5000);
      assert.deepEqual(limits, [6, 12, 24]);
      assert.equal(store.size, 40);
      assert.equal(warnings.filter((warning) => warning.includes('longer than 64 MiB')).length, 2);
    });
  });

  test('a page that is too large with one object is requested again with back-off', async () => {
    const { api, run, store, time } = start();
    api.transport.request = async (request) => {
      api.requests.push(request);
      throw new ApiConnectionError('too-large', 'the answer is longer than 64 MiB');
    };
    await run(async () => {
      await time.advance(60_000);
      assert.equal(store.isSynced(), false);
      assert.ok(api.requests.length < 30, `${api.requests.length} requests in a minute`);
      assert.equal(api.requests.at(-1)?.query?.limit, '1');
    });
  });

  for (const body of [
    {},
    null,
    [],
    'text',
    { metadata: {}, items: [] },
    { metadata: { resourceVersion: '1' } },
  ]) {
    test(`an answer that is not a list does not empty the store: ${JSON.stringify(body)}`, async () => {
      const { api, run, store, latest, time } = start();
      api.answer = () => list('1', thing('a', '1'));
      await run(async () => {
        api.answer = () => ({ status: 200, body });
        latest().push(event('ERROR', { kind: 'Status', code: 410 }));
        await time.advance(5000);
        assert.ok(api.requests.length > 1);
        assert.equal(store.size, 1);
      });
    });
  }

  test('an object that cannot be read, or on which a listener fails, does not stop a list', async () => {
    const { api, run, store, latest, warnings } = start();
    const things = ['a', 'b', 'c'].map((name) => thing(name, '1'));
    const bad = [{}, null, 'text', { metadata: {} }, thing('unreadable', '1', { spec: 'throw' })];
    api.answer = () => list('1', ...([things[0], ...bad, ...things.slice(1)] as object[]));
    store.subscribe(({ key }) => {
      if (key === 'ns/b') throw new Error('a bug of ours');
    });
    await run(async () => {
      assert.ok(store.isSynced());
      assert.deepEqual([...store.keys()], ['ns/a', 'ns/b', 'ns/c']);
      assert.equal(latest().request.query.resourceVersion, '1');
      assert.equal(warnings.length, bad.length + 1);
    });
  });

  test('a listener that throws does not end a reflector', async () => {
    const { api, run, latest, store } = start();
    api.answer = () => list('1');
    await run(async () => {
      const end = store.subscribe(() => {
        throw new Error('a bug of ours');
      });
      latest().push(event('ADDED', thing('a', '2')));
      await settle();
      end();
      latest().push(event('ADDED', thing('b', '3')));
      await settle();
      assert.equal(store.size, 2);
    });
  });

  test('a reflector stops at once in every state', async () => {
    for (const answers of [
      () => new Promise<Answer>(() => {}),
      () => list('1'),
      () => 'broken' as const,
      () => ({ status: 404 }),
    ]) {
      const { api, run } = start();
      let abandon: (reason: Error) => void = () => undefined;
      api.answer = answers;
      const { request } = api.transport;
      // As the real transport does: a call ends when its signal is aborted.
      api.transport.request = <T>(asked: Parameters<typeof request>[0]) =>
        Promise.race([
          request<T>(asked),
          new Promise<never>((_resolve, reject) => {
            abandon = reject;
            asked.signal?.addEventListener('abort', () => abandon(new Error('aborted')));
          }),
        ]);
      await run(async () => {});
    }
  });

  test('the store of a reflector ends equal to the server after any sequence of faults', async () => {
    const faults = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant('change' as const), name: fc.constantFrom('a', 'b', 'c', 'd') }),
        fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom('a', 'b', 'c', 'd') }),
        fc.record({ kind: fc.constantFrom('close', 'reset', 'expire', 'silence', 'down', 'gone') }),
        fc.record({ kind: fc.constant('restore' as const), by: fc.integer({ min: 1, max: 20 }) }),
      ),
      { maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(faults, async (script) => {
        const { api, run, time, store } = start();
        let server = new Map<string, string>();
        let history: WatchEvent[] = [];
        const states: (typeof server)[] = [];
        let version = 1;
        let compactedTo = 0;
        let trouble = 0;
        const versionOfEvent = (item: WatchEvent) =>
          Number((item.object as ReturnType<typeof thing>).metadata.resourceVersion);
        api.answer = () => {
          if (trouble-- > 0) return 'broken';
          return list(String(version), ...[...server].map(([name, at]) => thing(name, at)));
        };
        api.refuseWatch = () => (trouble-- > 0 ? { status: 503, retryAfterMs: 1000 } : undefined);
        const { watch } = api.transport;
        api.transport.watch = async (request) => {
          const since = Number(request.query.resourceVersion);
          const events = await watch(request);
          const held = api.watches.at(-1);
          if (since < compactedTo) held?.push(event('ERROR', { kind: 'Status', code: 410 }));
          else held?.push(...history.filter((item) => versionOfEvent(item) > since));
          return events;
        };
        const write = (type: WatchEvent['type'], name: string) => {
          version += 1;
          if (type === 'DELETED') server.delete(name);
          else server.set(name, String(version));
          const written = event(type, thing(name, String(version)));
          history.push(written);
          states[version] = new Map(server);
          const watch = api.watches.at(-1);
          if (Number(watch?.request.query.resourceVersion) < version) watch?.push(written);
        };
        const restore = (by: number) => {
          version = Math.max(1, version - by);
          server = new Map(states[version]);
          history = history.filter((item) => versionOfEvent(item) <= version);
          compactedTo = Math.min(compactedTo, version);
          api.watches.at(-1)?.fail(new Error('the API server was killed'));
        };
        await run(async () => {
          for (const step of script) {
            if (step.kind === 'change') write(server.has(step.name) ? 'MODIFIED' : 'ADDED', step.name);
            else if (step.kind === 'delete' && server.has(step.name)) write('DELETED', step.name);
            else if (step.kind === 'close') api.watches.at(-1)?.close();
            else if (step.kind === 'reset') api.watches.at(-1)?.fail(new Error('reset'));
            else if (step.kind === 'expire') compactedTo = version;
            else if (step.kind === 'silence') await time.advance(100_000);
            else if (step.kind === 'down') trouble = 3;
            else if (step.kind === 'restore') restore(step.by);
            else if (step.kind === 'gone')
              api.watches.at(-1)?.push(event('ERROR', { kind: 'Status', code: 410 }));
            await time.advance(150);
          }
          await time.advance(120_000);
          assert.deepEqual(new Map([...store.values()].map(({ name, version: at }) => [name, at])), server);
        });
      }),
      { numRuns: 60 },
    );
  });
});
