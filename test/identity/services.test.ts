import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createServices } from '../../signer/identity/services.ts';
import { createJsonReader } from '../../signer/kube/json-reader.ts';
import { allServices, type ServiceFacts } from '../../signer/kube/services.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { Service } from '../../signer/kube/types.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function heapUsed(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

/** A Service as the API server sends it, read as the informer reads it. */
function read(name: string): ServiceFacts {
  const reader = createJsonReader(allServices.fields);
  const service = {
    metadata: { name, namespace: 'shop', uid: randomUUID(), resourceVersion: '7', labels: { team: 'shop' } },
    spec: {
      type: 'ClusterIP',
      clusterIP: '10.0.0.1',
      selector: { 'app.kubernetes.io/instance': 'shop', 'app.kubernetes.io/name': name },
      ports: [{ name: 'https', port: 443, protocol: 'TCP' }],
    },
    status: { loadBalancer: {} },
  };
  reader.push(Buffer.from(JSON.stringify(service)));
  const facts = allServices.project(reader.end() as Service, 'v1');
  assert.ok(facts);
  return facts;
}

test('a Service takes at most 1,100 bytes, in the store and in the index', () => {
  const count = 5_000;
  const before = heapUsed();
  const store = createStore<ServiceFacts>({ time: realTime });
  const services = createServices(store);
  for (let each = 0; each < count; each += 1) store.set(`shop/web-${each}`, read(`web-${each}`));
  const bytes = (heapUsed() - before) / count;
  assert.ok(bytes <= 1_100, `${bytes} bytes`);
  const labels = { 'app.kubernetes.io/instance': 'shop', 'app.kubernetes.io/name': 'web-7' };
  assert.deepEqual(services.selecting('shop', labels), [{ name: 'web-7', isHeadless: false }]);
});
