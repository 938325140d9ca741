import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ClientHttp2Stream } from 'node:http2';
import { test } from 'node:test';
import { loadCredentials } from '../../signer/kube/credentials.ts';
import { runReflector } from '../../signer/kube/reflector.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createTransport } from '../../signer/kube/transport.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { createAccount } from './kube-client.ts';

const configMaps = '/api/v1/namespaces/default/configmaps';

test('an API server that sends GOAWAY all the time, as behind a load balancer: no write fails or is done twice', async (t) => {
  const controlPlane = await startControlPlane({
    controllers: false,
    apiServerFlags: ['--goaway-chance=0.02'],
  });
  t.after(() => controlPlane.stop());
  await createAccount(controlPlane, 'writer');
  const kubeconfig = await controlPlane.kubeconfigFor({ namespace: 'default', name: 'writer' });
  const codes: string[] = [];
  const transport = createTransport({
    time: realTime,
    credentials: await loadCredentials({ time: realTime, kubeconfig, env: {} }),
    onCall: ({ verb, code }) => {
      if (verb === 'POST') codes.push(code);
    },
  });
  t.after(() => transport.close());
  const connections = new Set<unknown>();
  const count = (message: unknown) =>
    connections.add((message as { stream: ClientHttp2Stream }).stream.session);
  subscribe('http2.client.stream.start', count);
  t.after(() => unsubscribe('http2.client.stream.start', count));

  const store = createStore<string>({ time: realTime });
  const stop = new AbortController();
  t.after(() => stop.abort());
  const following = runReflector<string>(
    {
      time: realTime,
      transport,
      locate: async () => ({ path: configMaps }),
      store,
      fields: true,
      project: (raw) => (raw as { metadata: { name: string } }).metadata.name,
      log: { warn: () => undefined, debug: () => undefined },
    },
    stop.signal,
  );
  await store.synced;
  const names = Array.from({ length: 1000 }, (_, number) => `object-${number}`);
  const next = names.values();
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      for (const name of next) {
        // A second attempt at a name would be answered with 409.
        await transport.request({ method: 'POST', path: configMaps, body: { metadata: { name } } });
      }
    }),
  );
  // A request that GOAWAY refused twice is sent a third time by us: an error, then its 201. None is answered twice.
  assert.deepEqual(
    codes.filter((code) => code !== 'error'),
    names.map(() => '201'),
  );
  await waitFor('the watch to have seen all', () => names.every((name) => store.get(`default/${name}`)));
  assert.ok(connections.size > 5, `${connections.size} connections`);
  stop.abort();
  await following;
});
