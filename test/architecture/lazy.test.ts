import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exported } from '../../scripts/npm-package.ts';
import { loadedBy } from './imports.ts';

test('a signer in a pod without listeners and traces loads no YAML, and nothing of its endpoints and OpenTelemetry', () => {
  const loaded = loadedBy('signer/process.ts');
  assert.ok(loaded.has('signer/issuance/controller.ts') && loaded.has('pino'));
  const unwanted = [...loaded].filter(
    (one) =>
      one.startsWith('signer/token/') ||
      one.startsWith('@opentelemetry/') ||
      one.startsWith('@fastify/') ||
      ['fastify', 'jose', 'undici', 'yaml', 'zod', '@peculiar/x509', 'pkijs', 'asn1js'].includes(one),
  );
  assert.deepEqual(unwanted, []);
  assert.ok(loadedBy('signer/token/endpoints.ts').has('fastify'));
  assert.ok(loadedBy('signer/observe/otlp.ts').has('@opentelemetry/sdk-trace'));
  assert.ok(![...loadedBy('signer/token/endpoints.ts')].some((one) => one.startsWith('@opentelemetry/')));
});

test('a signer in a pod loads no HTTP/1.1 client, which only proxies and federation need', () => {
  const clients = [
    'node:http',
    'node:https',
    'undici',
    'client/https.ts',
    'client/proxy-tunnel.ts',
    'tools/http1.ts',
  ];
  const loaded = loadedBy('signer/process.ts');
  assert.ok(loaded.has('signer/kube/http2.ts'));
  assert.deepEqual(
    clients.filter((one) => loaded.has(one)),
    [],
  );
});

test('the commands load the libraries for certificates only if they make or show one', () => {
  const certificates = ['@peculiar/x509', 'reflect-metadata', 'pkijs', 'asn1js'];
  const loaded = loadedBy('tools/cli.ts');
  assert.ok(loaded.has('tools/commands/inspect.ts') && loaded.has('tools/commands/ca-create.ts'));
  assert.deepEqual(
    certificates.filter((one) => loaded.has(one)),
    [],
  );
  assert.ok(loadedBy('tools/inspect/contents.ts').has('pkijs'));
  assert.ok(loadedBy('signer/authority/create.ts').has('@peculiar/x509'));
});

test('the sidecar loads no YAML and no gRPC clients, and HTTPS only with a token endpoint', () => {
  const parts = ['listen', 'server', 'workload-source'].map((part) => `workload/api/${part}.ts`);
  const files = ['tools/run.ts', 'tools/commands/workload-api.ts', ...parts];
  const loaded = new Set(files.flatMap((file) => [...loadedBy(file)]));
  assert.ok(loaded.has('workload/x509-source.ts') && loaded.has('commander'));
  const unwanted = [...loaded].filter((one) =>
    ['yaml', 'node:http', 'node:https', '@grpc/grpc-js'].includes(one),
  );
  assert.deepEqual(unwanted, []);
  assert.ok(loadedBy('workload/api/token-endpoint.ts').has('node:https'));
});

test('the helper loads YAML, HTTP, HTTPS and pkijs only if its configuration needs them', () => {
  const loaded = new Set(
    ['parse-config', 'run'].flatMap((part) => [...loadedBy(`workload/helper/${part}.ts`)]),
  );
  assert.ok(loaded.has('workload/x509-source.ts') && loaded.has('workload/write-files.ts'));
  const unwanted = ['yaml', 'node:http', 'node:https', 'node:http2', '@grpc/grpc-js', 'pkijs'].filter((one) =>
    loaded.has(one),
  );
  assert.deepEqual(unwanted, []);
  assert.ok(loadedBy('workload/helper/pkcs12.ts').has('pkijs'));
  assert.ok(loadedBy('workload/helper/health.ts').has('node:http'));
});

test('the library loads HTTP/2 only for the socket of a Workload API, and never a gRPC library', () => {
  for (const name of exported) {
    const loaded = loadedBy(`workload/${name}.ts`);
    const grpc = [...loaded].filter((one) => one.startsWith('@grpc/'));
    assert.deepEqual([grpc, loaded.has('node:http2')], [[], name === 'workload-api'], name);
  }
});
