import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { createTraces } from '../../signer/observe/otlp.ts';
import type { StartSpan } from '../../signer/observe/span.ts';

const nowhere = {
  endpoint: 'http://127.0.0.1:9',
  ratio: 1,
  version: '0.1.0',
  replica: 'a',
  log: { info: () => undefined, warn: () => undefined },
  time: { now: Date.now, monotonic: () => performance.now() },
};
const aSpan = (startSpan: StartSpan, traceId?: string, traceparent?: string) =>
  startSpan({ name: 'a', kind: 'internal', startedAt: 0, attributes: {}, traceId, traceparent });

test('a collector that never answers holds up neither spans nor the end of the process', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  const metrics = createMetrics();
  const traces = createTraces({ ...nowhere, endpoint: `http://127.0.0.1:${port}`, metrics });
  const ending = new AbortController();
  const ended = traces.run(ending.signal);
  const startedAt = performance.now();
  for (let count = 0; count < 20_000; count += 1) {
    const span = aSpan(traces.startSpan);
    span?.child('b').end();
    span?.end();
    if (count % 1000 === 0) await new Promise(setImmediate);
  }
  const perSpanMs = (performance.now() - startedAt) / 40_000;
  assert.ok(perSpanMs < 0.2, `${perSpanMs} ms`);
  const endingAt = performance.now();
  ending.abort();
  await ended;
  assert.ok(performance.now() - endingAt < 10_000);
  assert.match(await metrics.render(), /^kubespiffe_spans_total\{outcome="recorded"\} 40000$/m);
  assert.match(await metrics.render(), /^kubespiffe_spans_total\{outcome="exported"\} 0$/m);
  silent.close();
});

test('every replica records the same share of the traces, chosen by their ids', () => {
  const replicas = ['a', 'b'].map((replica) =>
    createTraces({ ...nowhere, replica, ratio: 0.25, metrics: createMetrics() }),
  );
  const ids = Array.from({ length: 2_000 }, () => crypto.randomUUID().replaceAll('-', ''));
  const [first, second] = replicas.map(({ startSpan }) =>
    ids.filter((id) => aSpan(startSpan, id)?.traceId === id),
  );
  assert.deepEqual(first, second);
  assert.ok(Math.abs((first?.length ?? 0) - 500) < 150, `${first?.length}`);
});

const traceparents: [what: string, traceparent: string, taken: boolean][] = [
  ['a good one', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', true],
  ['that of a later version', '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more', true],
  ['an id of zeros', '00-00000000000000000000000000000000-00f067aa0ba902b7-01', false],
  ['a parent of zeros', '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01', false],
  ['version ff', 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', false],
  ['more than version 00 has', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more', false],
  ['two in one header', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, 00-a', false],
  ['a token', 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln', false],
];
for (const [what, traceparent, taken] of traceparents) {
  test(`the header traceparent: ${what} is ${taken ? 'continued' : 'ignored'}`, () => {
    const { startSpan } = createTraces({ ...nowhere, metrics: createMetrics() });
    const traceId = aSpan(startSpan, undefined, traceparent)?.traceId;
    assert.match(traceId ?? '', /^[0-9a-f]{32}$/);
    assert.equal(traceId === '4bf92f3577b34da6a3ce929d0e0e4736', taken);
  });
}
