import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpsServer } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { realTime } from '../../signer/kube/time.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { createTraces } from '../../signer/observe/otlp.ts';
import type { StartSpan } from '../../signer/observe/span.ts';
import { createTestAuthority } from '../cluster/certificates.ts';

const nowhere = {
  endpoint: 'http://127.0.0.1:9',
  ratio: 1,
  version: '0.1.0',
  replica: 'a',
  log: { info: () => undefined, warn: () => undefined },
  time: realTime,
};
const aSpan = (startSpan: StartSpan, traceId?: string, traceparent?: string) =>
  startSpan({ name: 'a', kind: 'internal', startedAt: 0, attributes: {}, traceId, traceparent });

test('a collector that never answers delays neither spans nor the end of the process', async () => {
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

test('the standard variables of OTLP give headers, the CA of the collector, and the name of the process', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'otlp-'));
  const authority = await createTestAuthority('collector');
  await writeFile(join(folder, 'ca.pem'), authority.certificate);
  const { certificate, key } = await authority.issue({ commonName: 'localhost', names: ['localhost'] });
  const got = Promise.withResolvers<{ headers: NodeJS.Dict<string | string[]>; body: string }>();
  const collector = createHttpsServer({ cert: certificate, key }, async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString('latin1');
    response.end();
    got.resolve({ headers: request.headers, body });
  }).listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const variables = {
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=abc',
    OTEL_EXPORTER_OTLP_CERTIFICATE: join(folder, 'ca.pem'),
    OTEL_RESOURCE_ATTRIBUTES: 'k8s.cluster.name=prod',
    OTEL_SERVICE_NAME: 'other-name',
  };
  Object.assign(process.env, variables);
  t.after(async () => {
    for (const name of Object.keys(variables)) delete process.env[name];
    collector.close();
    await rm(folder, { recursive: true });
  });
  const { port } = collector.address() as { port: number };
  const endpoint = `https://localhost:${port}`;
  const traces = createTraces({ ...nowhere, endpoint, metrics: createMetrics() });
  aSpan(traces.startSpan)?.end();
  await traces.run(AbortSignal.abort());
  const { headers, body } = await got.promise;
  assert.equal(headers['x-key'], 'abc');
  assert.match(body, /k8s\.cluster\.name.*prod/s);
  assert.match(body, /service\.name.*other-name/s);
  assert.doesNotMatch(body, /kubespiffe-signer/);
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
  test(`the header traceparent with ${what} is ${taken ? 'continued' : 'ignored'}`, () => {
    const { startSpan } = createTraces({ ...nowhere, metrics: createMetrics() });
    const traceId = aSpan(startSpan, undefined, traceparent)?.traceId;
    assert.match(traceId ?? '', /^[0-9a-f]{32}$/);
    assert.equal(traceId === '4bf92f3577b34da6a3ce929d0e0e4736', taken);
  });
}
